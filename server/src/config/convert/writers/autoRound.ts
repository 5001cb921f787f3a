import type { Quantizer } from '../../../protocol';
import { describeQuantizer } from '../../describe';
import { autoRound } from '../../dialects/autoRound';
import { ConversionError, layersPlace } from '../lossy';
import { apart, mainClass, quantizationConfig, remedyOf, requireNumbers, wholeName } from './writer';
import type { RecipeClass, Writer } from './writer';

/** Names of modules that hold what is quantized, settings of their own for some, and a list of what is left alone. */
export const autoRoundWriter: Writer = {
  id: autoRound.id, dialect: autoRound, says: 'integers of 1 to 8 bits per group or row, weights alone, by expressions', fileName: 'config.json',
  write(request) {
    requireNumbers(request.quantized, autoRound.title);
    const main = mainClass(request, autoRound.title);
    const others = apart(request.quantized.slice(1), request.checkpoint);
    const kept = apart(request.kept, request.checkpoint).flatMap(({ globs }) => globs.map((glob) => wholeName(glob)));
    // An entry is compared with the beginning of a name: the first segment of every name that is quantized.
    const modules = [...new Set(request.quantized.flatMap(({ layers }) => layers.map(({ name }) => name.split('.')[0] ?? name)))];
    return quantizationConfig({
      quant_method: 'auto-round', ...settingsOf(main), backend: 'auto', block_name_to_quantize: modules,
      ...(others.length > 0 ? { extra_config: Object.fromEntries(others.flatMap(({ of, globs }) => globs.map((glob) => [wholeName(glob), settingsOf(of)]))) } : {}),
      ...(kept.length > 0 ? { modules_to_not_convert: kept } : {}),
    });
  },
};

function settingsOf({ recipe: { weights }, layers }: RecipeClass): Record<string, unknown> {
  if (!isInteger(weights)) {
    throw new ConversionError(`${autoRound.title} cannot say ${describeQuantizer(weights)} weights (${layersPlace(layers)}). ${remedyOf(weights)}`);
  }
  return { bits: weights.bits, group_size: typeof weights.group === 'number' ? weights.group : -1, sym: weights.symmetric };
}

function isInteger(quantizer: Quantizer): quantizer is Extract<Quantizer, { kind: 'int' }> { return quantizer.kind === 'int'; }
