import { dirname } from 'node:path';
import { firstBad } from '../analysis/firstBad';
import type { FirstBad } from '../analysis/firstBad';
import { selectLayers } from '../analysis/report';
import { sensitivity as run } from '../analysis/sensitivity';
import type { Sensitivity, SensitivityUnit } from '../protocol';
import { UsageError } from './command';
import type { Command } from './command';
import { significant, table } from './table';

const units: readonly string[] = ['layer', 'block', 'role'] satisfies SensitivityUnit[];

export const sensitivity: Command = {
  name: 'sensitivity',
  usage: '<config> [--by layer|block|role] [--layers patterns] [--steps N] [--estimate] | --first-bad',
  summary: 'What quantizing each layer alone does to the final output of the model, with controls; or the first layer that breaks it.',
  options: { by: { type: 'string' }, layers: { type: 'string' }, steps: { type: 'string' }, estimate: { type: 'boolean' }, 'first-bad': { type: 'boolean' } },
  async run(context) {
    const by = context.values['by'] ?? 'layer';
    if (typeof by !== 'string' || !units.includes(by)) {
      throw new UsageError(`--by must be layer, block or role, not "${String(by)}".`);
    }
    const path = context.path('config');
    const loaded = await context.requirePlan(path);
    const only = new Set(selectLayers(loaded.plan, context.layerPatterns()).map((layer) => layer.name));
    const request = {
      loaded, base: dirname(path), only, steps: context.integer('steps', 1, 1000), cacheFolder: context.cacheFolder, cancellation: context.cancel.token,
      onProgress: (fraction: number, what: string) => context.progress(fraction, what),
    };
    if (context.values['first-bad'] === true) {
      const found = await firstBad(request, context.engine);
      context.print(found, () => describeBad(found));
      return found.first ? 1 : 0;
    }
    const result = await run({ ...request, by: by as SensitivityUnit, estimateOnly: context.values['estimate'] === true }, context.engine);
    context.print(result, () => describe(result));
    return result.controls.zeroSwap.differing > 0 || result.layers.some(({ score }) => score === null) ? 1 : 0;
  },
};

function describe({ by, layers, additivity, controls, items }: Sensitivity): string {
  const steps = layers[0]?.perStep ?? [];
  const rows = layers.map(({ name, score, perStep }) => [name, score === null ? 'not finite' : significant(score), ...perStep.map(({ latentRelativeMse }) => (latentRelativeMse === null ? 'not finite' : significant(latentRelativeMse)))]);
  const scores = table([by, `${layers.some(({ estimate }) => estimate) ? 'estimate' : 'error'} ↓`, ...steps.map(({ step }) => `step ${step}`)], rows);
  if (!additivity) {
    return `${scores}\n\nAn estimate from one step: errors of blocks, shared out by the error of each layer's own output. Without --estimate it is measured.`;
  }
  const noise = controls.noise.map(({ name, weights, noise: matched, ratio }) => `${name}: weights alone ${significant(weights)}, Gaussian noise of the same size ${significant(matched)} (× ${significant(ratio, 3)})`);
  return [
    scores, '', `Error of the clean picture that the guided output leads to, ‖swapped − clean‖² / ‖clean‖², mean of ${steps.length} steps of ${items.length} items: lower is better.`,
    `Additivity: the parts add up to ${significant(additivity.sumOfParts)}, all at once give ${significant(additivity.whole)} (ratio ${significant(additivity.ratio, 3)}).`,
    `Nothing swapped: ${controls.zeroSwap.differing} values differ in ${controls.zeroSwap.runs} measurements.`, ...noise,
  ].join('\n');
}

function describeBad({ findings, bounds }: FirstBad): string {
  const place = ({ at }: FirstBad['findings'][number]): string => (at ? ` (step ${at.step}, ${at.half}, item ${at.item})` : '');
  return findings.length === 0 ? `Nothing is wrong: weights are finite, and no output departs by more than ${100 * bounds.relativeMse} % of its energy.`
    : findings.map((each) => `${each.layer}${place(each)}: ${each.explanation}`).join('\n');
}
