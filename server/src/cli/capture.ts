import { resolve } from 'node:path';
import { URI } from 'vscode-uri';
import { captureResult } from '../analysis/findings';
import { selectLayers } from '../analysis/report';
import { ranOn } from '../preview/device';
import { capture as capturePreview } from '../preview/service';
import { UsageError } from './command';
import type { Command } from './command';
import type { Finding } from '../protocol';
import { table } from './table';

export const capture: Command = {
  name: 'capture',
  usage: '<config> --out stats.safetensors [--layers patterns] [--sample rows]',
  summary: 'Activation statistics per layer and time step of the full-precision model, conditional and unconditional apart.',
  options: { out: { type: 'string' }, layers: { type: 'string' }, sample: { type: 'string' } },
  async run(context) {
    const { out } = context.values;
    if (typeof out !== 'string') {
      throw new UsageError('Name the file for the statistics: capture <config> --out stats.safetensors');
    }
    const path = context.path('config');
    const loaded = await context.requirePlan(path);
    const layers = selectLayers(loaded.plan, context.layerPatterns()).map((layer) => layer.name);
    if (layers.length === 0) {
      throw new UsageError(`--layers ${String(context.values['layers'])} matches none of the ${loaded.plan.layers.length} layers.`);
    }
    const { layers: captures, findings, ...about } = captureResult(await capturePreview({ uri: URI.file(path).toString(), loaded }, resolve(out), {
      layers, sampleRows: context.integer('sample', 1, 65536) ?? 16, cancellation: context.cancel.token, onProgress: (fraction, what) => context.progress(fraction, what),
    }, context.engine));
    context.print({ out: resolve(out), ...about, captures, findings }, () => `${table(['layer', 'half', 'step', 'rows', 'largest |x|', 'range', 'KS before', 'KS rotated', 'kurtosis', 'ρ'],
      captures.map((each) => [each.layer, each.half, String(each.step), String(each.rows), each.absMax.toFixed(3), each.channelRange?.toFixed(1) ?? '–', each.before.ks.toFixed(4), each.after.ks.toFixed(4),
        each.before.excessKurtosis.toFixed(2), each.rho.toFixed(2)]))}\n\n${describeFindings(findings)}\n\n${about.device ? `${ranOn(about.device)}\n` : ''}Written to ${out}`);
    return captures.some((each) => each.nonFinite > 0) || findings.some(({ code }) => code === 'weight/not-finite') ? 1 : 0;
  },
};

function describeFindings(findings: readonly Finding[]): string {
  return findings.length === 0 ? 'No findings at these thresholds.' : findings.map(({ layer, text }) => `${layer}: ${text}`).join('\n');
}
