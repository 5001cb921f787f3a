/** Why the output of a quantized layer departs: which of its quantizers, and what in its input or weight does it. */
import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describeQuantizer } from '../config/describe';
import type { Engine, JobOptions } from '../engine/client';
import type { LinearRecipe } from '../engine/graph';
import type { ChannelRange, DepartureKind, IntQuantizer, LayerPlan } from '../protocol';
import { LayerProbe } from '../quantize/evaluate';
import { refOf, valuesIn, writeTensor } from '../quantize/files';

export function rangeOf(perChannel: Float32Array): ChannelRange {
  const sorted = perChannel.toSorted();
  const [median = 0, absMax = 0] = [sorted[Math.floor(sorted.length / 2)], sorted.at(-1)];
  return { absMax, channel: perChannel.indexOf(absMax), ratio: median > 0 ? absMax / median : null };
}

/** Of values [rows, width]. */
export function largestPerChannel(values: Float32Array, width: number): Float32Array {
  const largest = new Float32Array(width);
  values.forEach((value, i) => { largest[i % width] = Math.max(largest[i % width] ?? 0, Math.abs(value)); });
  return largest;
}

interface Departure { /** Undefined for a layer that is not quantized. */ layer: LayerPlan | undefined; recipe: LinearRecipe | undefined; /** Of the clean run, [rows, width]. */ input: Float32Array; output: number; inputError: number; range: ChannelRange; finite: boolean }

/** More tell no more. */
const maxRows = 256;
const largestHalf = 65504;

/** @param drift own error of a layer, on clean inputs, up to which the departure counts as that of the layers before it */
export async function describeDeparture({ layer, recipe, input, output, inputError, range, finite }: Departure, drift: number, folder: string, engine: Engine, options: JobOptions): Promise<{ kind: DepartureKind; explanation: string }> {
  const departs = finite ? `Its output departs by ${percent(output)} of the clean one's energy while its input does by ${percent(inputError)}.` : 'Quantized, its output is NaN or infinite; in full precision it is finite.';
  if (!layer || !recipe) {
    return { kind: finite ? 'drift' : 'overflow', explanation: `${departs} It is not quantized itself: the errors of the layers before it become large here. Give more bits to the layers that "sensitivity" ranks first.` };
  }
  const { weights, activations } = recipe;
  const sample = input.subarray(0, Math.min(maxRows, input.length / layer.inFeatures) * layer.inFeatures);
  const seen = await behindTransforms(sample, layer, recipe, folder, engine, options);
  const clipped = beyondRange(seen, layer, recipe) ?? beyondScale(seen, layer, recipe);
  if (clipped) {
    return { kind: 'clips', explanation: `${departs} ${clipped}` };
  }
  if (!finite) {
    return { kind: 'overflow', explanation: `${departs} Its inputs reach ${range.absMax.toPrecision(3)}. Keep it, or use more bits and wider scales for its weights (${describeQuantizer(weights)}) and activations (${describeQuantizer(activations)}).` };
  }
  const probe = new LayerProbe(engine, layer, sample);
  const own = await probe.outputError(recipe, options);
  const byWeights = await probe.outputError({ ...recipe, activations: { kind: 'keep', dtype: 'original' }, activationRange: null }, options);
  if (own < drift) {
    return { kind: 'drift', explanation: `${departs} On clean inputs it errs by ${percent(own)} only: the errors of earlier layers add up here. Give more bits to the layers that "sensitivity" ranks first.` };
  }
  if (byWeights > own / 2) {
    return { kind: 'departs', explanation: `${departs} Its weights (${describeQuantizer(weights)}) alone give ${percent(byWeights)}, its inputs reach ${range.absMax.toPrecision(3)}. Use groups, a rotation or more bits for its weights, or keep it.` };
  }
  const after = rangeOf(largestPerChannel(seen, layer.inFeatures));
  const outlier = after.ratio !== null && after.ratio > 10 ? `Channel ${after.channel} reaches ${after.absMax.toPrecision(3)}, ${after.ratio.toFixed(0)} × the median channel, and sets the scale` : `Its inputs reach ${after.absMax.toPrecision(3)}`;
  return { kind: 'departs', explanation: `${departs} Its activations (${describeQuantizer(activations)}) do it: ${byWeights === 0 ? 'its weights are kept' : `weights alone give ${percent(byWeights)}`}, both ${percent(own)}. ${outlier}${lost(seen, layer, activations)}. Smooth or rotate the layer, use more bits for its activations, or keep it.` };
}

/** Rows as the activation quantizer sees them. */
async function behindTransforms(sample: Float32Array, { inFeatures }: LayerPlan, { transforms }: LinearRecipe, folder: string, engine: Engine, options: JobOptions): Promise<Float32Array> {
  if (transforms.length === 0) {
    return sample;
  }
  const home = join(folder, `reason-${randomUUID()}`);
  await mkdir(home, { recursive: true });
  try {
    const tensor = await writeTensor(home, 'sample', 'F32', [sample.length / inFeatures, inFeatures], sample);
    const out = join(home, 'transformed.safetensors');
    await engine.applyTransforms({ sample: refOf(tensor), transforms, out }, options);
    return await valuesIn(out, 'sample');
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

function beyondRange(seen: Float32Array, { name }: LayerPlan, { activations, activationRange }: LinearRecipe): string | undefined {
  if (!activationRange) {
    return undefined;
  }
  const { low, high } = activationRange;
  const outside = seen.reduce((count, value) => count + (value < low || value > high ? 1 : 0), 0) / seen.length;
  const [least, most] = limitsOf(seen);
  return least >= 2 * Math.min(low, 0) && most <= 2 * Math.max(high, 0) ? undefined
    : `The static range of its activations (${describeQuantizer(activations)}) clips: ${low.toPrecision(3)} to ${high.toPrecision(3)} from calibration, but inputs of ${name} go from ${least.toPrecision(3)} to ${most.toPrecision(3)}; ${percent(outside)} of the values lie outside. Calibrate with more steps and trajectories, or use dynamic ranges.`;
}

/** Scales and norms that FP16 cannot hold stop at its largest value, and what is larger is clipped. */
function beyondScale(seen: Float32Array, { inFeatures }: LayerPlan, { activations, activationRange }: LinearRecipe): string | undefined {
  if (activations.kind === 'codebook' || activations.kind === 'midrise') {
    const norm = Math.sqrt(rowsOf(seen, inFeatures).reduce((most, row) => Math.max(most, row.reduce((sum, value) => sum + value * value, 0)), 0));
    return activations.norm === 'fp16' && norm > largestHalf ? tooLarge('norm', norm) : undefined;
  }
  if (activations.kind === 'int' && !activationRange) {
    const scale = rowsOf(seen, inFeatures).reduce((most, row) => Math.max(most, stepOf(row, activations)), 0);
    return activations.group === 'row' && activations.scale === 'fp16' && scale > largestHalf ? tooLarge('scale', scale) : undefined;
  }
  return undefined;
}

function tooLarge(what: 'scale' | 'norm', value: number): string {
  return `The ${what} of its activations would be ${value.toPrecision(3)}, FP16 stops at ${largestHalf}: larger inputs are clipped. Store it wider ("${what}: fp32"), smooth the layer, or keep it.`;
}

/** How much of the input one integer scale for a token rounds to nothing. */
function lost(seen: Float32Array, { inFeatures }: LayerPlan, activations: LinearRecipe['activations']): string {
  if (activations.kind !== 'int' || activations.group !== 'row') {
    return '';
  }
  const zeros = rowsOf(seen, inFeatures).reduce((count, row) => {
    const step = stepOf(row, activations);
    return count + row.reduce((sum, value) => sum + (value !== 0 && Math.abs(value) < step / 2 ? 1 : 0), 0);
  }, 0);
  return `: ${percent(zeros / seen.length)} of the values round to zero`;
}

/** Of one token that shares a scale. */
function stepOf(row: Float32Array, { bits, symmetric }: IntQuantizer): number {
  const [low, high] = limitsOf(row);
  return symmetric ? Math.max(-low, high) / (2 ** (bits - 1) - 1) : (high - low) / (2 ** bits - 1);
}

/** Zero is among them. */
function limitsOf(values: Float32Array): [low: number, high: number] { return [values.reduce((a, b) => Math.min(a, b), 0), values.reduce((a, b) => Math.max(a, b), 0)]; }
function rowsOf(values: Float32Array, width: number): Float32Array[] { return Array.from({ length: values.length / width }, (_, i) => values.subarray(i * width, (i + 1) * width)); }

function percent(share: number): string { return `${Number((100 * share).toPrecision(3))} %`; }
