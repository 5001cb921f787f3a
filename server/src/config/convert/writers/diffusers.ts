/** Backends of diffusers that quantize every layer in one way, but for a list of names to keep. */
import { bitsandbytes, takes as takesOfBitsandbytes } from '../../dialects/bitsandbytes';
import type { Dialect } from '../../dialects/dialect';
import { modelopt, takes as takesOfModelopt } from '../../dialects/modelopt';
import { quanto, takes as takesOfQuanto } from '../../dialects/quanto';
import { takesParameter, torchao } from '../../dialects/torchao';
import { partsOfNames } from '../../patterns/languages';
import type { Recipe } from '../../../protocol';
import { torchaoConfigs } from './torchaoConfigs';
import { mainClass, namesOf, nearest, otherwiseOf, patternsFor, quantizationConfig, requireNumbers } from './writer';
import type { Writer } from './writer';

type Settings = Record<string, unknown>;

/** @param list key of the names to keep. @param settings all that could suit a recipe, the usual first */
function skipList(dialect: Dialect, says: string, list: string, takes: (entry: string, name: string) => boolean, settings: (recipe: Recipe) => Settings[]): Writer {
  const language = partsOfNames(takes);
  return {
    id: dialect.id, dialect, says, fileName: 'config.json',
    write(request) {
      requireNumbers(request.quantized, dialect.title);
      const main = mainClass(request, dialect.title);
      const chosen = nearest(settings(main.recipe).map((setting) => ({ setting, recipe: otherwiseOf(dialect, quantizationConfig(setting)).recipe })), main, dialect.title);
      const skipped = request.kept.length === 0 ? [] : patternsFor(request.checkpoint, namesOf(request.kept), new Set(), language);
      return quantizationConfig({ ...chosen, ...(skipped.length > 0 ? { [list]: skipped } : {}) });
    },
  };
}

const bnb: Settings = { quant_method: 'bitsandbytes' };
export const bitsandbytesWriter = skipList(bitsandbytes, 'NF4, FP4 or LLM.int8() for all layers but a list of names', 'llm_int8_skip_modules', takesOfBitsandbytes, () => [
  ...['nf4', 'fp4'].map((type) => ({ ...bnb, load_in_4bit: true, bnb_4bit_quant_type: type, bnb_4bit_compute_dtype: 'bfloat16' })), { ...bnb, load_in_8bit: true },
]);

export const torchaoWriter = skipList(torchao, 'one config of torchao (int1–8, float8, NVFP4, MX) for all layers but a list of names', 'modules_to_not_convert', takesParameter,
  (recipe) => torchaoConfigs(recipe).map((config) => ({ quant_method: 'torchao', quant_type: { default: config } })));

export const quantoWriter = skipList(quanto, 'int8, int4, int2 or float8 weights for all layers but those with one of the listed last segments', 'modules_to_not_convert', takesOfQuanto,
  () => ['int8', 'int4', 'int2', 'float8'].map((dtype) => ({ quant_method: 'quanto', weights_dtype: dtype })));

const weightTypes = ['FP8', 'INT8', 'INT4', 'NVFP4'];
export const modeloptWriter = skipList(modelopt, 'FP8, INT8, INT4 or NVFP4 for all layers but *name* and ModelOpt\'s own exclusions', 'modules_to_not_convert', takesOfModelopt, ({ weights }) => {
  const group = weights.kind === 'int' && typeof weights.group === 'number' ? [{ channel_quantize: -1, block_quantize: weights.group }] : [];
  const nv = { channel_quantize: -1, block_quantize: 16, scale_channel_quantize: -1, scale_block_quantize: 16 };
  return weightTypes.flatMap((type) => [type, ...weightTypes.map((inputs) => `${type}_${inputs}`)]).flatMap((type) => {
    const base = { quant_method: 'modelopt', quant_type: type, ...(type.includes('_') ? { weight_only: false } : {}) };
    return [base, { ...base, channel_quantize: 0 }, ...group.map((each) => ({ ...base, ...each })), ...type.startsWith('NVFP4') ? [{ ...base, ...nv }] : []];
  });
});
