/** Where black, flat or noisy pictures come from: the first layer of the forward pass whose weights or output are broken, in full precision or by quantizing. */
import { join } from 'node:path';
import { requireUnchanged } from '../checkpoint';
import type { Engine, JobOptions } from '../engine/client';
import type { LinearRecipe, Program } from '../engine/graph';
import { relativeMse } from '../preview/metrics';
import { JobDevice } from '../preview/device';
import type { ModelCall } from '../preview/pipelines';
import { comparedSteps } from '../preview/preview';
import { referenceTrajectory } from '../preview/trajectory';
import type { BadKind, BadLayer, ChannelRange, FirstBad, LayerPlan } from '../protocol';
import { withWorkFolder } from '../quantize/recipes';
import { describeDeparture, largestPerChannel, rangeOf } from './firstBadReason';
import { openSubject } from './sensitivity';
import type { SensitivityRequest } from './sensitivity';
import { Walk, cutsOf } from './sensitivity/sections';
import type { SectionOptions, Values } from './sensitivity/sections';

/** Relative MSE from which on an output has departed from the clean one, and how far the largest channel may stand out of the median one. */
export const bounds: FirstBad['bounds'] = { relativeMse: 0.5, channelRange: 100 };

export type FirstBadRequest = Omit<SensitivityRequest, 'by' | 'estimateOnly' | 'onRanking'>;

/** Looks at the first step and at the compared ones; quantized layers are those of the plan. @throws ModelError, CheckpointError, EngineError */
export async function firstBad(request: FirstBadRequest, engine: Engine): Promise<FirstBad> {
  return withWorkFolder(request.cacheFolder, async (folder) => {
    const device = await JobDevice.of(engine, 'float32');
    const options = { cancellation: request.cancellation, ...device.options };
    const { pipeline, layers, prepare } = await openSubject(request, folder, engine);
    const findings = await badWeights(pipeline.programs(0)[0]?.program.ops ?? [], layers, engine, { ...options, progress: (fraction) => request.onProgress?.(0.2 * fraction, 'weights') });
    const search: Search = { engine, folder, options, layers, recipes: {}, outlier: findings.find(({ kind }) => kind === 'outlier') ?? null };
    const blocks = new Map(pipeline.checkpoint.layers.map(({ name, block }) => [name, block]));
    const follow = async (item: number, step: number, x: Float32Array): Promise<BadLayer | null> => {
      for (const call of pipeline.callsAt(item, x, pipeline.sampler().timesteps[step] ?? 0)) {
        const cuts = cutsOf(call.program.program, (layer) => blocks.get(layer) ?? null).map(({ op }) => op);
        const found = await followCall(search, call, cuts, { item, step, half: call.half });
        if (found) {
          return found;
        }
      }
      return null;
    };
    const followRuns = async (): Promise<BadLayer | null> => {
      for (const [item, name] of pipeline.items.entries()) {
        const { samples, outputs } = await referenceTrajectory(join(folder, 'trajectories'), pipeline, item, engine, () => options, device.identity);
        const steps = stepsToLookAt(comparedSteps(pipeline.settings), outputs);
        for (const [i, step] of steps.entries()) {
          request.onProgress?.(0.2 + (0.8 * (item + i / steps.length)) / pipeline.items.length, `${name}, step ${step}`);
          const found = await follow(item, step, samples[step] ?? new Float32Array());
          if (found) {
            return found;
          }
        }
      }
      return null;
    };
    // Nothing can be calibrated on a model that is broken by itself.
    let found = await follow(0, 0, pipeline.noise());
    if (!found) {
      search.recipes = await prepare();
      found = await followRuns();
    }
    await requireUnchanged(pipeline.checkpoint);
    const all = [...findings.filter(({ kind }) => kind !== 'outlier'), ...(found ? [found] : []), ...(search.outlier ? [search.outlier] : [])];
    return { first: all[0] ?? null, findings: all, bounds };
  });
}

/** The first and the compared ones, up to the first whose output is not finite. */
export function stepsToLookAt(compared: readonly number[], outputs: readonly Float32Array[]): number[] {
  const broken = outputs.findIndex((output) => !output.every(Number.isFinite));
  return [...new Set([0, ...compared, ...(broken < 0 ? [] : [broken])])].filter((step) => broken < 0 || step <= broken).sort((a, b) => a - b);
}

/** Every linear once: NaN and infinite weights, weights that are all zero, one input channel far beyond the others. */
async function badWeights(ops: Program['ops'], layers: readonly LayerPlan[], engine: Engine, job: JobOptions): Promise<BadLayer[]> {
  const linears = new Map(ops.flatMap((op) => (op.op === 'linear' && op.weight ? [[op.name, op.weight] as const] : [])));
  const found: BadLayer[] = [];
  const add = (layer: string, kind: BadKind, range: ChannelRange | null, explanation: string): void => { found.push({ layer, kind, at: null, range, inputError: null, outputError: null, explanation }); };
  let done = 0;
  for (const [name, tensor] of linears) {
    const { absMax } = await engine.columnRange({ tensor }, { cancellation: job.cancellation });
    job.progress?.(++done / linears.size);
    const broken = [...absMax.keys()].filter((column) => !Number.isFinite(absMax[column]));
    const range = rangeOf(absMax);
    if (broken.length > 0) {
      add(name, 'weights', null, `${broken.length} of the ${absMax.length} columns of its weight hold NaN or infinite values, the first is column ${broken[0]}: everything behind it is lost. Download or convert the checkpoint again.`);
    } else if (range.absMax === 0) {
      add(name, 'zero', range, 'All of its weight is zero: it gives its bias alone, whatever goes in. Check how the checkpoint was converted.');
    } else if (standsOut(range, layers.find((layer) => layer.name === name)?.recipe, 'weights') && !found.some(({ kind }) => kind === 'outlier')) {
      add(name, 'outlier', range, `The weights of input channel ${range.channel} reach ${range.absMax.toPrecision(3)}, ${range.ratio?.toFixed(0)} × what the median channel does: one scale for a row leaves nothing for the others. Rotate the layer, use groups, or keep it.`);
    }
  }
  return found;
}

interface Search { engine: Engine; folder: string; options: SectionOptions; layers: readonly LayerPlan[]; recipes: Record<string, LinearRecipe>; /** The first one seen. */ outlier: BadLayer | null }

/** Both models side by side, from cut to cut, each on what it made itself. */
async function followCall(search: Search, call: ModelCall, cuts: readonly number[], at: NonNullable<BadLayer['at']>): Promise<BadLayer | null> {
  const { engine, options, recipes } = search;
  const { ops, buffers } = call.program.program;
  const quantizes = Object.keys(recipes).length > 0;
  const [clean, quantized] = [new Walk(call, engine), new Walk(call, engine, recipes)];
  for (const [i, from] of [0, ...cuts].entries()) {
    const to = cuts[i] ?? ops.length;
    const linears = ops.slice(from, to).flatMap((op) => (op.op === 'linear' ? [op] : []));
    const seen = linears.flatMap(({ x, out }) => [x, out]);
    const reference = await clean.advance(to, options, seen);
    for (const { name, x, out } of linears) {
      const [input, output] = [valueOf(reference, x), valueOf(reference, out)];
      const range = rangeOf(largestPerChannel(input, buffers[x]?.at(-1) ?? 1));
      if (!output.every(Number.isFinite)) {
        const before = input.every(Number.isFinite) ? 'Its input is finite' : 'Its input holds them already, and no linear before it gave any: they come from the norm, gate or attention in front of it';
        return { layer: name, kind: 'not finite', at, range, inputError: null, outputError: null, explanation: `In full precision its output is NaN or infinite. ${before}; the largest |input| is ${range.absMax.toPrecision(3)}. Check this layer's weight and bias, and the checkpoint's dtype.` };
      }
      if (!search.outlier && (buffers[x]?.length ?? 0) > 1 && standsOut(range, search.layers.find((layer) => layer.name === name)?.recipe, 'activations')) {
        search.outlier = { layer: name, kind: 'outlier', at, range, inputError: null, outputError: null, explanation: `Channel ${range.channel} of its input reaches ${range.absMax.toPrecision(3)}, ${range.ratio?.toFixed(0)} × what the median channel does: one scale for a token leaves nothing for the others. Smooth or rotate the layer, or keep it.` };
      }
    }
    if (!quantizes) {
      continue;
    }
    const own = await quantized.advance(to, options, seen);
    for (const { name, x, out } of linears) {
      const [input, output] = [relativeMse(valueOf(own, x), valueOf(reference, x)), relativeMse(valueOf(own, out), valueOf(reference, out))];
      if (!(output <= bounds.relativeMse) && !(input > bounds.relativeMse)) {
        const finite = valueOf(own, out).every(Number.isFinite);
        const range = rangeOf(largestPerChannel(valueOf(own, x), buffers[x]?.at(-1) ?? 1));
        const layer = search.layers.find((each) => each.name === name);
        const { kind, explanation } = await describeDeparture({ layer, recipe: recipes[name], input: valueOf(reference, x), output, inputError: input, range, finite }, bounds.relativeMse / 2, search.folder, engine, options);
        return { layer: name, kind, at, range, inputError: finiteOr(input), outputError: finiteOr(output), explanation };
      }
    }
  }
  return null;
}

/** Matters where this side is quantized as it is. */
function standsOut({ ratio }: ChannelRange, recipe: LayerPlan['recipe'] | undefined, side: 'weights' | 'activations'): boolean {
  return recipe !== undefined && recipe[side].kind !== 'keep' && !recipe.smooth && !recipe.rotate && ratio !== null && ratio > bounds.channelRange;
}

function valueOf(values: Values, buffer: number): Float32Array { return values.get(buffer) ?? new Float32Array(); }
function finiteOr(value: number): number | null { return Number.isFinite(value) ? value : null; }
