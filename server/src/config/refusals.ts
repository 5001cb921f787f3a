/** Combinations of a recipe and a layer that cannot be, each with its reason and what to do instead. */
import { blockOf } from '../checkpoint/superblocks';
import { hadamardOrder } from '../methods/hadamard';
import { fixedGroups, groupOf, maxBasis, tailWidth } from '../methods/widths';
import type { LayerShape } from '../methods/widths';
import type { Quantizer, Recipe } from '../protocol';

export function refusalOf(recipe: Recipe, layer: LayerShape): string | undefined {
  return ofTail(recipe, layer) ?? ofQuantizer(recipe.weights, 'weights', recipe, layer) ?? ofQuantizer(recipe.activations, 'activations', recipe, layer)
    ?? ofTransforms(recipe, layer) ?? ofShift(recipe) ?? ofLowRank(recipe, layer) ?? ofSolver(recipe, layer);
}

function ofTail(recipe: Recipe, layer: LayerShape): string | undefined {
  const { rotate, tail } = recipe;
  if (rotate?.kind === 'pca' && rotate.perHead && layer.heads === null) {
    return '"perHead" needs a layer whose inputs are the outputs of attention heads, and this one\'s are not (or the model\'s config.json does not say how many heads). Narrow the rule to attention outputs, or remove it.';
  }
  if (tail && rotate?.kind !== 'pca') {
    return 'A tail keeps the last inputs, which only "rotate: { kind: pca }" orders by their energy. Add that rotation or remove "tail".';
  }
  if (rotate?.kind === 'pca' && !tail) {
    return 'A PCA rotation gathers energy in the last inputs, which quantizing needs apart: add "tail: { fraction: 0.125 }", or use "rotate: { kind: random }".';
  }
  return tailWidth(recipe, layer) === null
    ? `A tail of ${tail?.fraction ?? 0} leaves no whole group of the width ${layer.inFeatures} to quantize. Use a smaller fraction or a smaller group.` : undefined;
}

function ofQuantizer(quantizer: Quantizer, side: 'weights' | 'activations', recipe: Recipe, layer: LayerShape): string | undefined {
  const tail = tailWidth(recipe, layer) ?? 0;
  const width = layer.inFeatures - tail;
  const group = groupOf(quantizer);
  switch (quantizer.kind) {
    case 'keep': case 'codebook': case 'midrise': return undefined;
    case 'twin-log':
      if (side === 'activations') {
        return 'Twin-log ranges are fitted to weights that stay as they are; activations change. Use "kind: int" or "kind: codebook" for activations.';
      }
      if (quantizer.form === 'released' && quantizer.bits === 8) {
        return 'Twin-log as released has 2^bits + 2 codes, more than a byte holds at 8 bits. Use 7 bits or less, or "form: corrected".';
      }
      return quantizer.bits < 2 ? 'Twin-log needs a level for either sign, so 2 bits or more. Use "kind: codebook" for 1 bit.' : undefined;
    case 'float': {
      const fixed = fixedGroups[quantizer.format];
      if (fixed !== undefined && quantizer.group !== fixed) {
        return `${quantizer.format} has groups of ${fixed}. Remove "group", or use ${quantizer.format === 'mxfp8' ? 'fp8' : 'fp4'}, whose groups are free.`;
      }
      return width % group === 0 ? undefined : groupRefusal(group, width, tail, fixed === undefined ? undefined : `Use "format: ${quantizer.format === 'mxfp8' ? 'fp8' : 'fp4'}", whose groups are free.`);
    }
    case 'int':
      if (width % group !== 0) {
        return groupRefusal(group, width, tail);
      }
      if (quantizer.shift !== undefined && !quantizer.symmetric) {
        return '"shift" makes the codes unsigned already, so "symmetric: false" beside it has no effect. Remove one of the two.';
      }
      if (quantizer.range === 'static' && quantizer.group !== 'tensor') {
        return 'A static range is one range for the whole tensor. Remove "group" or write "group: tensor".';
      }
      if (quantizer.clip === 'mse' && quantizer.group === 'tensor') {
        return '"clip: mse" searches the range of one group at a time, not of a whole tensor. Use "group: row" or a clip ratio.';
      }
      return quantizer.bits === 1 && quantizer.symmetric && quantizer.shift === undefined
        ? `1-bit symmetric integers have no positive level, so ${side} would be lost. Use "kind: codebook" or "symmetric: false".` : undefined;
  }
}

function groupRefusal(group: number, width: number, tail: number, remedy?: string): string {
  const left = tail > 0 ? ` that is left beside a tail of ${tail}` : '';
  const fitting = largestFitting([256, 128, 64, 32, 16, 8, 4, 2], group, width);
  const superblock = group === blockOf('Q4_K') ? ' (GGUF\'s K-quants, whose superblocks are as large, leave such layers in F16)' : '';
  return `A group of ${group} does not divide the width ${width}${left}${superblock}. ${remedy ?? `Use ${fitting ? `a group of ${fitting} or ` : ''}"row".`}`;
}

function largestFitting(sizes: readonly number[], below: number, width: number): number | undefined {
  return sizes.find((size) => size < below && width % size === 0);
}

/** A dense random matrix of more than this many inputs takes longer to make than the layer to quantize. */
const maxDense = 4608;

function ofTransforms({ rotate, permute, smooth }: Recipe, { inFeatures: width, heads }: LayerShape): string | undefined {
  if (permute?.kind === 'zigzag' && width % permute.block !== 0) {
    return blockRefusal('permute', permute.block, width);
  }
  if (permute && rotate?.kind === 'pca') {
    return 'A PCA rotation is the same whatever the order of its inputs, so "permute" has no effect. Remove it.';
  }
  if (smooth && rotate?.kind === 'pca') {
    return 'A PCA rotation takes its basis from the second moments of the inputs as they are, so nothing can scale them before. Write "smooth: false", or rotate with "kind: outlier-aware".';
  }
  switch (rotate?.kind) {
    case 'hadamard': return hadamardOrder(width) ? undefined : hadamardRefusal(width);
    case 'random': return width <= maxDense ? undefined
      : `A dense random matrix for the width ${width} would take ${((4 * width ** 2) / 1e6).toFixed(0)} MB and minutes to make; the widest is ${maxDense}. Use "rotate: { kind: rpbh }", which works for every width.`;
    case 'outlier-aware': return width % rotate.block === 0 ? undefined : blockRefusal('rotate', rotate.block, width);
    case 'adaptive': return !hadamardOrder(width) ? hadamardRefusal(width) : width % 128 === 0 ? undefined
      : `The rotation for outliers works in blocks of 128, which do not divide the width ${width}. Use "rotate: { kind: rpbh }", or "kind: outlier-aware" with a smaller block.`;
    case 'pca': {
      const basis = rotate.perHead ? width / (heads ?? 1) : width;
      return basis <= maxBasis ? undefined
        : `A PCA basis of ${basis} inputs would take hours to find; the widest is ${maxBasis}. Use "rotate: { kind: rpbh }, tail: false", which works for every width, or "keep: bf16" for these layers.`;
    }
    case 'rpbh': case undefined: return undefined;
  }
}

/** What is shifted are the inputs themselves: hardly below zero, and so again after a scale per channel, but not after a rotation. */
function ofShift({ activations, rotate }: Recipe): string | undefined {
  if (activations.kind !== 'int' || activations.shift === undefined) {
    return undefined;
  }
  if (activations.range === 'static') {
    return 'A static range ends where the inputs do, so "shift" has no effect. Write "symmetric: false" in its place.';
  }
  return rotate ? 'Rotated inputs go as far below zero as above, and "shift" is for inputs that hardly do. Remove it, or write "rotate: false".' : undefined;
}

function blockRefusal(part: string, block: number, width: number): string {
  const fitting = largestFitting([512, 256, 128, 64, 32, 16, 8, 4, 2], block, width);
  return `A block of ${block} does not divide the width ${width}. ${fitting ? `Use a block of ${fitting}.` : part === 'rotate' ? 'Use "rotate: { kind: rpbh }", which works for every width.' : 'Use "permute: { kind: random }".'}`;
}

function hadamardRefusal(width: number): string {
  return `No Hadamard matrix is known here for the width ${width}. Use "rotate: { kind: rpbh }", which works for every width.`;
}

function ofLowRank(recipe: Recipe, layer: LayerShape): string | undefined {
  const { lowRank } = recipe;
  const width = layer.inFeatures - (tailWidth(recipe, layer) ?? 0);
  const full = Math.min(width, layer.outFeatures);
  return lowRank && lowRank.rank >= full
    ? `A branch of rank ${lowRank.rank} could hold the whole weight of ${layer.outFeatures} × ${width}. Use a rank below ${full}, or "keep: bf16" for these layers.` : undefined;
}

function ofSolver(recipe: Recipe, layer: LayerShape): string | undefined {
  const { solver, weights, lowRank } = recipe;
  const group = groupOf(weights);
  if (solver.kind === 'gptq' && solver.actOrder && !solver.staticGroups && group > 1 && group < layer.inFeatures - (tailWidth(recipe, layer) ?? 0)) {
    return '"actOrder" takes inputs out of order and "staticGroups: false" finds the scale of a group when its first input comes. Write "actOrder: false", or "staticGroups: true".';
  }
  if (solver.kind === 'adaround' && lowRank) {
    return 'AdaRound learns the rounding of the whole weight and a low-rank branch takes a part of it away. Use "solver: { kind: gptq }", or "lowRank: false".';
  }
  return solver.kind === 'adaround' && weights.kind !== 'int' && weights.kind !== 'keep'
    ? 'AdaRound rounds integers up or down; these weights are no integers. Use "solver: { kind: gptq }", or "weights: { kind: int }".' : undefined;
}
