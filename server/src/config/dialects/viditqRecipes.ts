/** What ViDiT-Q's settings do to a layer, in our recipes. */
import { keepOriginal } from '../../methods/method';
import type { Quantizer, Recipe } from '../../protocol';
import type { Fields } from './fields';
import { equivalent, int } from './recipes';
import type { Equivalent } from './recipes';

const smoothing = (alpha: number): Partial<Recipe> => ({ smooth: { kind: 'smoothquant', alpha, beta: Number((1 - alpha).toFixed(12)) } });
const perStep = 'its factors come from statistics per range of time steps';

/** Bits of a layer's weights and activations → its recipe. Ranges go from the smallest to the largest value unless `sym` says otherwise. */
export function readRecipe(quant: Fields): (weightBits: number | null, activationBits: number | null, methods: readonly { name: string; alpha: number | undefined }[]) => Equivalent | undefined {
  const fieldsOf = (part: string): Fields | undefined => quant.peek(part)?.peek('quantizer') ?? quant.peek(part);
  const [weights, inputs] = [fieldsOf('weight'), fieldsOf(quant.has('activation') ? 'activation' : 'act')];
  const quantizer = (fields: Fields | undefined, bits: number | null): Quantizer | undefined => (bits === 16 || (bits === null && !fields?.has('n_bits')) ? keepOriginal :
    bits !== null && bits >= 1 && bits <= 8 ? int(bits, fields?.scalar('per_group') === 'tensor' ? 'tensor' : 'row', { symmetric: fields?.scalar('sym') === true }) : undefined);
  const everywhere = inputs?.peek('smooth_quant');
  const alpha = everywhere?.scalar('alpha');
  const smooth = everywhere && everywhere.scalar('enable') !== false && typeof alpha === 'number' && alpha >= 0 && alpha <= 1 ? smoothing(alpha) : {};
  return (weightBits, activationBits, methods) => {
    const [w, i] = [quantizer(weights, weightBits), quantizer(inputs, activationBits)];
    const last = methods.at(-1);
    const own: Partial<Recipe> = last ? { ...last.name === 'quarot' ? {} : smoothing(last.alpha ?? 0.5), ...last.name === 'smooth_quant' ? {} : { rotate: { kind: 'hadamard', seed: 0 } } } : smooth;
    return w && i ? equivalent(w, i, own.smooth ? [perStep] : [], own) : undefined;
  };
}

/** Of a file that gives bits layer by layer, for weights alone. */
export function layerRecipe(bits: number): Equivalent | undefined {
  return bits >= 1 && bits <= 8 ? equivalent(int(bits, 'row', { symmetric: false }), keepOriginal, ['the bits of activations are in another file']) : undefined;
}
