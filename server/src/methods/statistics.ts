/** What a recipe has to know about a layer's data before its codes can be found. */
import type { Quantizer, Recipe } from '../protocol';

/** activation-absmax: largest |x| per channel and time step. activation-samples: rows of the input. activation-second-moments: mean of x xᵀ. */
export type Statistic = 'weights' | 'activation-absmax' | 'activation-samples' | 'activation-second-moments';

const order: readonly Statistic[] = ['weights', 'activation-absmax', 'activation-samples', 'activation-second-moments'];

/** Derived from the parts of the recipe; empty for a recipe that needs no data at all, not even the weights, to fix its quantizer. */
export function statisticsFor({ smooth, permute, rotate, lowRank, weights, activations, solver }: Recipe): Statistic[] {
  const needed = new Set<Statistic>([
    ...ofSmoothing(smooth),
    ...(permute?.kind === 'zigzag' ? ['activation-absmax' as const] : []),
    ...ofRotation(rotate),
    ...(lowRank ? ['weights' as const] : []),
    ...ofWeights(weights),
    ...(activations.kind === 'int' && activations.range === 'static' ? ['activation-absmax' as const, 'activation-samples' as const] : []),
    ...(solver.kind === 'gptq' ? ['activation-second-moments' as const] : solver.kind === 'adaround' ? ['activation-samples' as const] : []),
  ]);
  return order.filter((statistic) => needed.has(statistic));
}

function ofSmoothing(smooth: Recipe['smooth']): Statistic[] {
  switch (smooth?.kind) {
    case undefined: return [];
    case 'absmax': return ['activation-absmax'];
    case 'smoothquant': return smooth.beta === 0 ? ['activation-absmax'] : ['weights', 'activation-absmax'];
    case 'search': return ['weights', 'activation-absmax', 'activation-samples'];
    case 'csb': return ['weights', 'activation-absmax'];
  }
}

function ofRotation(rotate: Recipe['rotate']): Statistic[] {
  switch (rotate?.kind) {
    case undefined: case 'rpbh': case 'hadamard': case 'random': return [];
    case 'outlier-aware': case 'adaptive': return ['activation-samples'];
    case 'pca': return ['activation-second-moments'];
  }
}

/** Quantizers that are fitted to the values, beyond one scale or norm. */
function ofWeights(weights: Quantizer): Statistic[] {
  return weights.kind === 'twin-log' || (weights.kind === 'int' && weights.clip === 'mse') ? ['weights'] : [];
}
