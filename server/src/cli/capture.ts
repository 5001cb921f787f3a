import { resolve } from 'node:path';
import { writeSafetensors } from '../checkpoint/values';
import { selectLayers } from '../analysis/report';
import { captureActivations, captureTensors } from '../preview/capture';
import { previewSettings } from '../preview/settings';
import { UsageError } from './command';
import type { Command } from './command';
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
    const { plan, checkpoint, parsed } = await context.requirePlan(context.path('config'));
    if (!checkpoint) {
      throw new UsageError('The config names no checkpoint.');
    }
    const layers = selectLayers(plan, context.layerPatterns()).map((layer) => layer.name);
    if (layers.length === 0) {
      throw new UsageError(`--layers ${String(context.values['layers'])} matches none of the ${plan.layers.length} layers.`);
    }
    const settings = previewSettings(parsed.config.preview?.value ?? {}, checkpoint);
    const captures = await captureActivations(checkpoint, settings, context.engine, {
      layers, sampleRows: context.integer('sample', 1, 65536) ?? 64, cancellation: context.cancel.token, onProgress: (fraction, what) => context.progress(fraction, what),
    });
    const { tensors, metadata } = captureTensors(captures);
    await writeSafetensors(resolve(out), tensors, metadata);
    const summary = captures.map(({ absMax, meanSquare, sample, ...rest }) => ({ ...rest, absMax: absMax.reduce((most, value) => Math.max(most, value), 0) }));
    context.print({ out: resolve(out), settings, captures: summary }, () => `${table(['layer', 'half', 'step', 'rows', 'largest |x|', 'KS before', 'KS rotated', 'kurtosis', 'ρ'],
      summary.map((each) => [each.layer, each.half, String(each.step), String(each.rows), each.absMax.toFixed(3), each.before.ks.toFixed(4), each.after.ks.toFixed(4), each.before.excessKurtosis.toFixed(2), each.rho.toFixed(2)]))}\n\nWritten to ${out}`);
    return captures.some((each) => each.nonFinite > 0) ? 1 : 0;
  },
};
