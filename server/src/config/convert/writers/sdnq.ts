import type { Recipe } from '../../../protocol';
import { matcher, sdnq } from '../../dialects/sdnq';
import { globCandidates } from '../../patterns/cover';
import type { PatternLanguage } from '../../patterns/cover';
import { remedyOf, apart, mainClass, namesOf, patternsFor, quantizationConfig, requireNumbers } from './writer';
import type { RecipeClass, Writer } from './writer';
import { ConversionError, layersPlace } from '../lossy';
import { describeQuantizer } from '../../describe';

const title = 'SDNQ';

/** Entries with a star are anchored at the start alone and compared with the parameter's name, so they end in `.weight`. A leading dot means that the name starts with what follows. */
const language: PatternLanguage = {
  candidates: (name) => [...globCandidates(name).flatMap((glob) => (glob.includes('*') ? [`${glob.replace(/\*+/g, '*')}.weight`] : [`${glob}.weight`])), ...name.split('.').filter((segment) => !/^\d+$/.test(segment)), ...prefixes(name)],
  compile(pattern) {
    // Made here of names and stars, so the language's own expressions mean the same and are much faster.
    const takes = matcher(pattern, (expression) => { const regex = new RegExp(`^(?:${expression})`); return (text) => regex.test(text); });
    return (name) => takes(`${name}.weight`);
  },
};

function prefixes(name: string): string[] {
  const segments = name.split('.');
  return segments.slice(0, -1).map((_, i) => `.${segments.slice(0, i + 1).join('.')}.`);
}

/** Settings of the most layers, other settings for patterns, and a list to keep instead of SDNQ's own. */
export const sdnqWriter: Writer = {
  id: sdnq.id, dialect: sdnq, says: 'integers of 1 to 8 bits and small floats, Hadamard groups, low-rank branch and 8-bit products, each for patterns of names', fileName: 'config.json',
  write(request) {
    requireNumbers(request.quantized, title);
    const main = mainClass(request, title);
    const others = apart(request.quantized.slice(1), request.checkpoint, language);
    const least = Math.min(...request.quantized.flatMap(({ layers }) => layers.map(({ params }) => params)));
    const narrowest = Math.min(...request.quantized.flatMap(({ layers }) => layers.map(({ inFeatures }) => inFeatures)));
    return quantizationConfig({
      quant_method: 'sdnq', ...settingsOf(main), add_skip_keys: false,
      ...(least < 16384 ? { minimum_allowed_numel: least } : {}), ...(narrowest < 32 ? { minimum_allowed_channel_size: narrowest } : {}),
      ...(request.kept.length > 0 ? { modules_to_not_convert: patternsFor(request.checkpoint, namesOf(request.kept), new Set(), language) } : {}),
      ...(others.length > 0 ? { modules_quant_config: Object.fromEntries(others.flatMap(({ of, globs }) => globs.map((pattern) => [pattern, settingsOf(of)]))) } : {}),
    });
  },
};

function settingsOf({ recipe, layers }: RecipeClass): Record<string, unknown> {
  const { weights, activations, lowRank, rotate } = recipe;
  const dtype = dtypeOf(recipe);
  if (dtype === undefined) {
    throw new ConversionError(`${title} cannot say ${describeQuantizer(weights)} weights (${layersPlace(layers)}). ${remedyOf(weights)}`);
  }
  return {
    weights_dtype: dtype, group_size: (weights.kind === 'int' || weights.kind === 'float') && typeof weights.group === 'number' ? weights.group : -1,
    use_quantized_matmul: activations.kind !== 'keep', use_svd: lowRank !== null, ...(lowRank ? { svd_rank: lowRank.rank } : {}), use_hadamard: rotate !== null, ...(rotate ? { hadamard_group_size: 256 } : {}),
  };
}

function dtypeOf({ weights }: Recipe): string | undefined {
  return weights.kind === 'int' ? `${weights.symmetric ? 'int' : 'uint'}${weights.bits}` : weights.kind === 'float' ? weights.format.endsWith('8') ? 'float8_e4m3fn' : 'float4_e2m1fn' : undefined;
}
