import type { Recipe } from '../../../protocol';
import { nunchakuLite } from '../../dialects/nunchakuLite';
import { ConversionError } from '../lossy';
import { quantizationConfig, requireNumbers } from './writer';
import type { RecipeClass, Writer } from './writer';

const title = 'nunchaku_lite';

/** Two sections with full paths; what is in neither is kept. */
export const nunchakuLiteWriter: Writer = {
  id: nunchakuLite.id, dialect: nunchakuLite, says: 'SVDQuant W4A4 (int4 per 64 or NVFP4, one rank) and AWQ W4A16 (int4 per group), as lists of full names', fileName: 'config.json',
  write({ quantized }) {
    requireNumbers(quantized, title);
    const [svdq, awq] = [quantized.filter(({ recipe }) => isSvdq(recipe)), quantized.filter(({ recipe }) => isAwq(recipe))];
    const [first, second] = [svdq[0]?.recipe, awq[0]?.recipe.weights];
    if (!first && !second) {
      throw new ConversionError(`${title} has layers with 4-bit weights alone: inputs of 4 bits beside them (SVDQuant), or inputs as they are (AWQ). This config has none of the two. Give layers the scheme W4A4 or W4A16.`);
    }
    const nvfp4 = first?.weights.kind === 'float';
    const targets = (classes: readonly RecipeClass[]): string[] => classes.flatMap(({ layers }) => layers.map(({ name }) => name));
    return quantizationConfig({
      quant_method: 'nunchaku_lite', compute_dtype: 'bfloat16',
      ...(first ? { svdq_w4a4: { precision: nvfp4 ? 'nvfp4' : 'int4', group_size: nvfp4 ? 16 : 64, rank: first.lowRank?.rank ?? 0, targets: targets(svdq) } } : {}),
      ...(second ? { awq_w4a16: { precision: 'int4', group_size: second.kind === 'int' && typeof second.group === 'number' ? second.group : 64, targets: targets(awq) } } : {}),
    });
  },
};

function bits(quantizer: Recipe['weights']): number | undefined {
  return quantizer.kind === 'int' ? quantizer.bits : quantizer.kind === 'float' && !quantizer.format.endsWith('8') ? 4 : undefined;
}

function isSvdq({ weights, activations }: Recipe): boolean { return bits(weights) === 4 && bits(activations) === 4; }

function isAwq({ weights, activations }: Recipe): boolean { return bits(weights) === 4 && activations.kind === 'keep'; }
