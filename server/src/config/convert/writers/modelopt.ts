/** ModelOpt's recipe (entries from general to particular, the later wins) and hf_quant_config.json (one algorithm, or one for each layer by name). */
import { stringify } from 'yaml';
import type { Quantizer, Recipe } from '../../../protocol';
import { hfQuantConfig } from '../../dialects/hfQuantConfig';
import { modeloptRecipe } from '../../dialects/modeloptRecipe';
import { fnmatches } from '../../patterns/languages';
import { apart, json, mainClass, namesOf, nearest, otherwiseOf, patternsFor, requireNumbers } from './writer';
import type { RecipeClass, WriteRequest, Writer } from './writer';

export const modeloptRecipeWriter: Writer = {
  id: modeloptRecipe.id, dialect: modeloptRecipe, says: 'integers and small floats per tensor, channel or block, SmoothQuant or SVDQuant, Hadamard rotation, by globs', fileName: 'recipe.yaml',
  write(request) {
    requireNumbers(request.quantized, 'ModelOpt');
    const main = mainClass(request, 'ModelOpt');
    const order = [...request.classes].sort((a, b) => b.layers.length - a.layers.length);
    const entries = order.flatMap((of, i) => patternsFor(request.checkpoint, namesOf([of]), namesOf(order.slice(i + 1)), fnmatches).flatMap((glob) => entriesOf(glob, of)));
    return stringify({ metadata: { recipe_type: 'ptq', description: 'Exported by QuantScope' }, quantize: { algorithm: algorithmOf(main.recipe, request), quant_cfg: [{ quantizer_name: '*', enable: false }, ...entries] } }, { lineWidth: 0 });
  },
};

function entriesOf(glob: string, { recipe }: RecipeClass): unknown[] {
  return ([['weight_quantizer', recipe.weights], ['input_quantizer', recipe.activations]] as const).map(([name, quantizer]) => ({
    quantizer_name: `${glob}.${name}`, ...(quantizer.kind === 'keep' ? { enable: false } : { cfg: { ...attributesOf(quantizer, name === 'input_quantizer'), ...rotationOf(recipe) } }),
  }));
}

function attributesOf(quantizer: Quantizer, isInput: boolean): Record<string, unknown> {
  switch (quantizer.kind) {
    case 'int': return { num_bits: quantizer.bits, ...granularityOf(quantizer.group, isInput, quantizer.range === 'static') };
    case 'float': switch (quantizer.format) {
      case 'nvfp4': return { num_bits: 'e2m1', block_sizes: blocks(16, { type: 'dynamic', scale_bits: 'e4m3' }) };
      case 'mxfp4': return { num_bits: 'e2m1', block_sizes: blocks(32, { type: 'dynamic', scale_bits: 'e8m0' }) };
      case 'mxfp8': return { num_bits: 'e4m3', block_sizes: blocks(32, { type: 'dynamic', scale_bits: 'e8m0' }) };
      default: return { num_bits: quantizer.format === 'fp8' ? 'e4m3' : 'e2m1', ...granularityOf(quantizer.group, isInput, false) };
    }
    default: return {};
  }
}

/** Along the inputs. A map, because the key is a number. */
function blocks(size: number | null, more: Record<string, string> = {}): Map<number | string, unknown> { return new Map<number | string, unknown>([[-1, size], ...Object.entries(more)]); }

/** Weights along axis 0 or in blocks; inputs per token, or with one calibrated range for the tensor. */
function granularityOf(group: number | 'row' | 'tensor', isInput: boolean, isStatic: boolean): Record<string, unknown> {
  if (typeof group === 'number') {
    return { block_sizes: blocks(group, isInput ? { type: 'dynamic' } : {}) };
  }
  return group === 'tensor' ? isInput && !isStatic ? { type: 'dynamic' } : {} : isInput ? { type: 'dynamic', block_sizes: blocks(null) } : { axis: 0 };
}

function rotationOf({ rotate }: Recipe): Record<string, unknown> { return rotate ? { rotate: true } : {}; }

function algorithmOf({ lowRank, smooth }: Recipe, { quantized }: WriteRequest): unknown {
  if (lowRank) {
    const without = quantized.filter(({ recipe }) => !recipe.lowRank).flatMap(({ layers }) => layers.map(({ name }) => name));
    return { method: 'svdquant', lowrank: lowRank.rank, ...(without.length > 0 ? { skip_layers: without } : {}) };
  }
  return smooth?.kind === 'smoothquant' ? { method: 'smoothquant', alpha: smooth.alpha } : smooth ? { method: 'awq_lite' } : { method: 'max' };
}

const algorithms = ['FP8', 'FP8_PER_CHANNEL_PER_TOKEN', 'NVFP4', 'NVFP4_SVD', 'NVFP4_AWQ', 'W4A16_NVFP4', 'W4A16_AWQ', 'W4A8_AWQ', 'W8A16', 'W8A8_SQ_PER_CHANNEL', 'MXFP8', 'W4A8_NVFP4_FP8', 'W4A8_MXFP4_FP8'];

export const hfQuantConfigWriter: Writer = {
  id: hfQuantConfig.id, dialect: hfQuantConfig, says: 'one of ModelOpt\'s algorithms (FP8, NVFP4, W4A16_AWQ and so on) for all layers but globs, or for each layer by name', fileName: 'hf_quant_config.json',
  write(request) {
    requireNumbers(request.quantized, 'ModelOpt');
    const main = mainClass(request, 'ModelOpt');
    const group = main.recipe.weights.kind === 'int' && typeof main.recipe.weights.group === 'number' ? main.recipe.weights.group : 128;
    const algorithm = (of: RecipeClass): string => nearest(algorithms.map((setting) => ({ setting, recipe: otherwiseOf(hfQuantConfig, json({ quantization: { quant_algo: setting, group_size: setting.includes('NVFP4') ? 16 : group } })).recipe })), of, 'hf_quant_config.json');
    const own = algorithm(main);
    const groupOf = (name: string): Record<string, number> => (name.includes('NVFP4') ? { group_size: 16 } : /^W4/.test(name) ? { group_size: group } : {});
    const quantization = request.quantized.length === 1 ? { quant_algo: own, ...groupOf(own), exclude_modules: request.kept.length > 0 ? apart([{ ...main, layers: request.kept.flatMap(({ layers }) => layers) }], request.checkpoint, fnmatches).flatMap(({ globs }) => globs) : [] } :
      { quant_algo: 'MIXED_PRECISION', ...groupOf(own), quantized_layers: Object.fromEntries(request.quantized.flatMap((of) => { const name = algorithm(of); return of.layers.map((layer) => [layer.name, { quant_algo: name }]); })) };
    return json({ producer: { name: 'quantscope' }, quantization });
  },
};
