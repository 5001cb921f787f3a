/** A tool's recipe on one layer: where its widths do not go, what the tool, or we, take instead. */
import type { Granularity, Layer, Quantizer, Recipe } from '../../protocol';
import { fixedGroups } from '../../methods/widths';
import { refusalOf } from '../refusals';

export interface Fitted { recipe: Recipe; /** What had to change, as half a sentence. */ changes: readonly string[] }

/** undefined: nothing like it can be on this layer. @param fallback why is the refusal */
export function fitTo(layer: Layer, recipe: Recipe): Fitted | { refusal: string } {
  const shape = { inFeatures: layer.inFeatures, outFeatures: layer.outFeatures, role: layer.role, heads: null };
  const changes: string[] = [];
  const side = (quantizer: Quantizer, what: string): Quantizer => {
    if ((quantizer.kind !== 'int' && quantizer.kind !== 'float') || typeof quantizer.group !== 'number' || layer.inFeatures % quantizer.group === 0) {
      return quantizer;
    }
    const free = quantizer.kind === 'float' && fixedGroups[quantizer.format] !== undefined ? { ...quantizer, format: quantizer.format === 'mxfp8' ? 'fp8' as const : 'fp4' as const } : quantizer;
    const group: Granularity = largestDivisor(quantizer.group, layer.inFeatures) ?? 'row';
    changes.push(`groups of ${quantizer.group} do not divide ${layer.inFeatures} inputs: ${what} are ${free === quantizer ? '' : `${free.kind === 'float' ? free.format : ''} `}per ${group === 'row' ? 'row' : `group ${group}`}`);
    return { ...free, group };
  };
  let fitted: Recipe = { ...recipe, weights: side(recipe.weights, 'weights'), activations: side(recipe.activations, 'activations') };
  const rank = Math.min(layer.inFeatures, layer.outFeatures);
  if (fitted.lowRank && fitted.lowRank.rank >= rank) {
    changes.push(`a branch of rank ${fitted.lowRank.rank} would hold all of it, so it has none`);
    fitted = { ...fitted, lowRank: null };
  }
  if (fitted.rotate?.kind === 'hadamard' && refusalOf(fitted, shape)) {
    changes.push(`no Hadamard matrix is known for ${layer.inFeatures} inputs: RPBH instead`);
    fitted = { ...fitted, rotate: { kind: 'rpbh', seed: 0 } };
  }
  const refusal = refusalOf(fitted, shape);
  return refusal === undefined ? { recipe: fitted, changes } : { refusal };
}

/** Halved until it divides, as most tools do; undefined below 2. */
function largestDivisor(group: number, width: number): number | undefined {
  for (let half = group; half >= 2; half = Math.floor(half / 2)) {
    if (width % half === 0) {
      return half;
    }
  }
  return undefined;
}
