import { resolve } from 'node:path';
import { openCheckpoint } from '../checkpoint';
import { readValues, writeSafetensors } from '../checkpoint/values';
import { modelFor } from '../models';
import { withBatch, withoutBatch } from '../models/arguments';
import type { Given } from '../models/builder';
import { linearRecipes, prepare, runForward } from '../models/forward';
import { UsageError } from './command';
import type { Command } from './command';
import { significant } from './table';

export const forward: Command = {
  name: 'forward',
  usage: '<folder> --inputs in.safetensors --out out.safetensors [--config q.quant.yaml]',
  summary: 'One transformer forward pass. Inputs are named as the arguments of the diffusers forward; the output is "sample", float32.',
  options: { inputs: { type: 'string' }, out: { type: 'string' }, config: { type: 'string' } },
  async run(context) {
    const { inputs, out, config } = context.values;
    if (typeof inputs !== 'string' || typeof out !== 'string') {
      throw new UsageError('Name the inputs and the output: forward <folder> --inputs in.safetensors --out out.safetensors');
    }
    const checkpoint = await openCheckpoint(context.path('model folder'));
    const model = modelFor(checkpoint);
    const given: Record<string, Given> = {};
    for (const tensor of (await openCheckpoint(resolve(inputs))).tensors) {
      given[tensor.name] = await readValues(tensor);
    }
    const unbatched = withoutBatch(model, given);
    const recipes = typeof config === 'string' ? linearRecipes((await context.requirePlan(resolve(config))).plan) : {};
    const { sample, firstNonFinite, flops } = await runForward(prepare(checkpoint, unbatched), unbatched, context.engine, {
      recipes, cancellation: context.cancel.token, progress: (fraction) => context.progress(fraction, 'forward'),
    });
    const shape = withBatch(model, sample.shape);
    await writeSafetensors(resolve(out), { sample: { shape, data: sample.data } });
    const quantizedLayers = Object.keys(recipes).length;
    context.print({ out: resolve(out), shape, architecture: checkpoint.architecture, quantizedLayers, flops, firstNonFinite }, () =>
      `${checkpoint.architecture}: sample [${shape.join(', ')}] written to ${out}; ${significant(flops / 1e9)} GFLOP, ${quantizedLayers} layers quantized${firstNonFinite ? `; first non-finite output: ${firstNonFinite}` : ''}`);
    return firstNonFinite === null ? 0 : 1;
  },
};
