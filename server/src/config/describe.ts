/** Parts of a recipe in a few words, for tables and hovers. */
import { statisticsFor } from '../methods/statistics';
import type { Statistic } from '../methods/statistics';
import type { LayerPlan, Quantizer, Recipe } from '../protocol';

export function describeQuantizer(quantizer: Quantizer): string {
  switch (quantizer.kind) {
    case 'keep': return quantizer.dtype === 'original' ? 'kept' : quantizer.dtype;
    case 'codebook': return `codebook ${quantizer.bits} bit`;
    case 'midrise': return `mid-rise ${quantizer.bits} bit`;
    case 'twin-log': return `twin-log ${quantizer.bits} bit${quantizer.form === 'released' ? ', as released' : ''}`;
    case 'float': return quantizer.format === 'fp4' || quantizer.format === 'fp8' ? `${quantizer.format} per ${granularity(quantizer.group)}` : quantizer.format;
    case 'int': {
      const extras = [
        quantizer.clip === undefined ? [] : [quantizer.clip === 'mse' ? 'clipped for least error' : `clipped to ${quantizer.clip}`],
        quantizer.range === 'static' ? ['static range'] : [],
        quantizer.shift === undefined ? [] : [`shifted by ${quantizer.shift}`],
      ].flat();
      const unsigned = !quantizer.symmetric || quantizer.shift !== undefined;
      return [`${unsigned ? 'uint' : 'int'}${quantizer.bits} per ${granularity(quantizer.group)}`, ...extras].join(', ');
    }
  }
}

function granularity(group: number | 'row' | 'tensor'): string {
  return typeof group === 'number' ? `group ${group}` : group;
}

/** What happens before and beside quantizing, in order; empty for a recipe that only rounds. */
export function describeTransforms({ smooth, permute, rotate, tail, lowRank, solver }: Recipe): string[] {
  return [
    ...(smooth ? [{ absmax: 'smoothed by absmax', smoothquant: 'smoothed', search: 'smoothed by search', csb: 'salience balanced' }[smooth.kind]] : []),
    ...(permute ? [permute.kind === 'zigzag' ? 'zigzag order' : 'random order'] : []),
    ...(rotate ? [{ rpbh: 'RPBH', hadamard: 'Hadamard', random: 'random rotation', 'outlier-aware': 'outlier-aware rotation', pca: 'PCA rotation', adaptive: 'adaptive rotation' }[rotate.kind]] : []),
    ...(tail ? [`${Number((100 * tail.fraction).toFixed(2))} % of the inputs in ${tail.dtype}`] : []),
    ...(lowRank ? [`rank-${lowRank.rank} branch in ${lowRank.dtype}`] : []),
    ...(solver.kind === 'rtn' ? [] : [{ gptq: 'GPTQ', adaround: 'AdaRound' }[solver.kind]]),
  ];
}

/** What runs on the inputs of a layer beside quantizing them, in order: nothing of it can be had from the weights alone. (`--fold` moves smoothing out of here where that is exact.) */
export function onlineParts({ smooth, permute, rotate, lowRank }: Recipe): string[] {
  return [
    ...(smooth ? ['smoothing'] : []), ...(permute ? ['reordering'] : []),
    ...(rotate ? [{ rpbh: 'RPBH rotation', hadamard: 'Hadamard rotation', random: 'dense rotation', 'outlier-aware': 'block rotations', pca: 'dense rotation', adaptive: 'Hadamard or block rotations' }[rotate.kind]] : []),
    ...(lowRank ? ['low-rank branch'] : []),
  ];
}

/** The same of a whole plan in one line: "At run time beside quantizing: smoothing in 36 layers"; none for plans that only round. */
export function describeOnline(layers: readonly Pick<LayerPlan, 'recipe'>[]): string[] {
  const counts = new Map<string, number>();
  layers.flatMap(({ recipe }) => onlineParts(recipe)).forEach((part) => counts.set(part, (counts.get(part) ?? 0) + 1));
  return counts.size > 0 ? [`At run time beside quantizing: ${[...counts].map(([part, count]) => `${part} in ${count} ${count === 1 ? 'layer' : 'layers'}`).join(', ')}`] : [];
}

const statisticNames: Record<Exclude<Statistic, 'weights'>, string> = {
  'activation-absmax': 'channel ranges', 'activation-samples': 'a sample of inputs', 'activation-second-moments': 'second moments of inputs',
};

/** What a recipe has to know of a layer's inputs before it can run: "channel ranges and a sample of inputs"; empty when nothing. */
export function describeNeeds(recipe: Recipe): string {
  const names = statisticsFor(recipe).flatMap((statistic) => (statistic === 'weights' ? [] : [statisticNames[statistic]]));
  return names.length > 1 ? `${names.slice(0, -1).join(', ')} and ${names.at(-1) ?? ''}` : names.join('');
}
