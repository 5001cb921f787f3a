import { dirname, resolve } from 'node:path';
import { openCheckpoint, requireUnchanged } from '../checkpoint';
import { readValues, writeSafetensors } from '../checkpoint/values';
import type { LinearRecipe } from '../engine/graph';
import { decoderFor, modelFor } from '../models';
import { withBatch, withoutBatch } from '../models/arguments';
import type { Given } from '../models/builder';
import { prepare, runForward } from '../models/forward';
import type { Model } from '../models/model';
import type { Checkpoint } from '../protocol';
import { deviceText } from '../preview/device';
import { deployedText, describeDeployed } from '../preview/deployed';
import { relativeMse } from '../preview/metrics';
import { engineRecipes, prepareRecipes, requestFor, withWorkFolder } from '../quantize/recipes';
import { UsageError } from './command';
import type { Command, CommandContext } from './command';
import { significant } from './table';

export const forward: Command = {
  name: 'forward',
  usage: '<folder> --inputs in.safetensors --out out.safetensors [--config q.quant.yaml] [--as-deployed]',
  summary: 'One transformer forward pass. Inputs are named as the arguments of the diffusers forward; the output is "sample", float32.',
  options: { inputs: { type: 'string' }, out: { type: 'string' }, config: { type: 'string' }, 'as-deployed': { type: 'boolean' } },
  async run(context) {
    const { config } = context.values;
    if (typeof config !== 'string') {
      return runOnce(context, modelFor, {});
    }
    const loaded = await context.requirePlan(resolve(config));
    return withWorkFolder(context.cacheFolder, async (folder) => {
      const request = requestFor(loaded, dirname(resolve(config)), { folder, cancellation: context.cancel.token, onProgress: (fraction, what) => context.progress(fraction, what) });
      return runOnce(context, modelFor, engineRecipes(await prepareRecipes(request, context.engine)));
    });
  },
};

export const decode: Command = {
  name: 'decode',
  usage: '<folder> --inputs in.safetensors --out out.safetensors',
  summary: 'The decoder alone: input "latents" (already unscaled), output "sample", float32.',
  options: { inputs: { type: 'string' }, out: { type: 'string' } },
  run: (context) => runOnce(context, decoderFor, {}),
};

async function runOnce(context: CommandContext, find: (checkpoint: Checkpoint) => Model, recipes: Record<string, LinearRecipe>): Promise<number> {
  const { inputs, out } = context.values;
  if (typeof inputs !== 'string' || typeof out !== 'string') {
    throw new UsageError('Name the inputs and the output: --inputs in.safetensors --out out.safetensors');
  }
  const checkpoint = await openCheckpoint(context.path('model folder'));
  const model = find(checkpoint);
  const given: Record<string, Given> = {};
  for (const tensor of (await openCheckpoint(resolve(inputs))).tensors) {
    given[tensor.name] = await readValues(tensor);
  }
  const unbatched = withoutBatch(model, given);
  const prepared = prepare(model, checkpoint, unbatched);
  const run = (asDeployed: boolean): ReturnType<typeof runForward> => runForward(prepared, unbatched, context.engine, {
    recipes, asDeployed, device: 'float32', cancellation: context.cancel.token, progress: (fraction) => context.progress(fraction, model.classes[0] ?? ''),
  });
  const fake = context.values['as-deployed'] === true ? await run(false) : undefined;
  const { sample, firstNonFinite, flops, integers, device } = await run(fake !== undefined);
  const deployed = fake && describeDeployed(integers, relativeMse(sample.data, fake.sample.data));
  await requireUnchanged(checkpoint);
  const shape = withBatch(model, sample.shape);
  await writeSafetensors(resolve(out), { sample: { shape, data: sample.data } });
  const quantizedLayers = Object.keys(recipes).length;
  context.print({ out: resolve(out), shape, architecture: model.classes[0], quantizedLayers, flops, firstNonFinite, device, ...(deployed ? { deployed } : {}) }, () =>
    `${model.classes[0] ?? ''}: sample [${shape.join(', ')}] written to ${out}; ${significant(flops / 1e9)} GFLOP, ${quantizedLayers} layers quantized${device ? `, on ${deviceText(device)}` : ''}${firstNonFinite ? `; first non-finite output: ${firstNonFinite}` : ''}${deployed ? `\n${deployedText(deployed)}` : ''}`);
  return firstNonFinite === null ? 0 : 1;
}
