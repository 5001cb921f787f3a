/** How a recipe divides the input coordinates of a layer: the tail in high precision, the rest in groups. */
import type { FloatFormat, Layer, Quantizer, Recipe } from '../protocol';

/** What a recipe must know about a layer. `heads`: how many attention heads its inputs consist of, or null when they come from no attention. */
export interface LayerShape { inFeatures: number; outFeatures: number; role: Layer['role']; heads: number | null }

/** Eigenvectors of more than this many inputs take hours. DiRotQ's widest basis has as many. */
export const maxBasis = 12_288;

/** Block formats come with groups of a fixed size. */
export const fixedGroups: Readonly<Partial<Record<FloatFormat, number>>> = { nvfp4: 16, mxfp4: 32, mxfp8: 32 };

/** Consecutive coordinates that share a scale, where the quantizer fixes such a number. */
export function groupOf(quantizer: Quantizer): number {
  return (quantizer.kind === 'int' || quantizer.kind === 'float') && typeof quantizer.group === 'number' ? quantizer.group : 1;
}

/**
 * Coordinates that stay in high precision, the last ones: the fraction, rounded up until groups divide the rest (DiRotQ: 192 of 1152 for groups of 64).
 * With one basis per head every head gives equally many. Null when nothing would be left to quantize.
 */
export function tailWidth({ tail, rotate, weights, activations }: Pick<Recipe, 'tail' | 'rotate' | 'weights' | 'activations'>, { inFeatures, heads }: Pick<LayerShape, 'inFeatures' | 'heads'>): number | null {
  if (!tail) {
    return 0;
  }
  const parts = rotate?.kind === 'pca' && rotate.perHead ? heads ?? 1 : 1;
  const width = Math.floor(inFeatures / parts);
  const groups = [groupOf(weights), groupOf(activations)];
  // The share as written: 1152 · 0.1 is not one coordinate more because 0.1 is no binary number.
  for (let high = Math.ceil(width * tail.fraction - 1e-9); high < width; high++) {
    if (groups.every((group) => (parts * (width - high)) % group === 0)) {
      return parts * high;
    }
  }
  return null;
}
