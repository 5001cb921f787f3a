/** compressed-tensors' config and llm-compressor's recipe: groups of targets, most layers by their class, others by expressions. */
import { stringify } from 'yaml';
import type { Quantizer, Recipe } from '../../../protocol';
import { compressedTensors } from '../../dialects/compressedTensors';
import { llmCompressor } from '../../dialects/llmCompressor';
import { regexOf } from '../../patterns/languages';
import { apart, mainClass, quantizationConfig, requireNumbers } from './writer';
import type { WriteRequest, Writer } from './writer';

export const compressedTensorsWriter: Writer = {
  id: compressedTensors.id, dialect: compressedTensors, says: 'integers, float8, NVFP4 and MX per tensor, channel or group, inputs dynamic or static, by expressions', fileName: 'config.json',
  write: (request) => quantizationConfig({ quant_method: 'compressed-tensors', format: formatOf(request), ...groupsOf(request, 'compressed-tensors'), quantization_status: 'initialized' }),
};

export const llmCompressorWriter: Writer = {
  id: llmCompressor.id, dialect: llmCompressor, says: 'what compressed-tensors says, with GPTQ or to the nearest level', fileName: 'recipe.yaml',
  write(request) {
    const { solver } = mainClass(request, 'llm-compressor').recipe;
    const gptq = solver.kind === 'gptq' ? { dampening_frac: solver.damping, actorder: solver.actOrder ? 'static' : null } : {};
    return stringify({ quant_stage: { quant_modifiers: { [solver.kind === 'gptq' ? 'GPTQModifier' : 'QuantizationModifier']: { ...groupsOf(request, 'llm-compressor'), ...gptq } } } }, { lineWidth: 0 });
  },
};

/** Names before expressions before classes: the class stands for the most layers, and what is kept is ignored before all. */
function groupsOf(request: WriteRequest, title: string): Record<string, unknown> {
  requireNumbers(request.quantized, title);
  const main = mainClass(request, title);
  const expression = (glob: string): string => `re:${regexOf(glob)}$`;
  const [first, ...others] = [main, ...request.quantized.filter((each) => each !== main)];
  // Of expressions the first of the alphabet decides, so none may take a layer of another.
  const ordered = apart(others, request.checkpoint);
  const groups = [...first ? [{ targets: ['Linear'], recipe: first.recipe }] : [], ...ordered.map(({ of, globs }) => ({ targets: globs.map(expression), recipe: of.recipe }))];
  const ignored = apart(request.kept, request.checkpoint).flatMap(({ globs }) => globs);
  return {
    config_groups: Object.fromEntries(groups.map(({ targets, recipe }, i) => [`group_${i}`, {
      targets, ...(recipe.weights.kind === 'keep' ? {} : { weights: argsOf(recipe.weights, false) }), ...(recipe.activations.kind === 'keep' ? {} : { input_activations: argsOf(recipe.activations, true) }),
    }])),
    ignore: ignored.map((glob) => (glob.includes('*') ? expression(glob) : glob)),
  };
}

/** Fields of QuantizationArgs. */
function argsOf(quantizer: Quantizer, isInput: boolean): Record<string, unknown> {
  if (quantizer.kind === 'int') {
    const isStatic = quantizer.range === 'static';
    return { num_bits: quantizer.bits, type: 'int', symmetric: quantizer.symmetric, ...strategyOf(quantizer.group, isInput), dynamic: isInput && !isStatic, ...(quantizer.scale === 'fp16' ? {} : { scale_dtype: { bf16: 'torch.bfloat16', fp32: 'torch.float32' }[quantizer.scale] }) };
  }
  if (quantizer.kind !== 'float') {
    return {};
  }
  const { format } = quantizer;
  const base = { num_bits: format.endsWith('8') ? 8 : 4, type: 'float', symmetric: true };
  switch (format) {
    case 'nvfp4': return { ...base, strategy: 'tensor_group', group_size: 16, dynamic: isInput ? 'local' : false };
    case 'mxfp4': case 'mxfp8': return { ...base, strategy: 'group', group_size: 32, dynamic: isInput, scale_dtype: 'torch.uint8' };
    default: return { ...base, ...strategyOf(quantizer.group, isInput), dynamic: isInput };
  }
}

function strategyOf(group: number | 'row' | 'tensor', isInput: boolean): Record<string, unknown> {
  return typeof group === 'number' ? { strategy: 'group', group_size: group } : { strategy: group === 'tensor' ? 'tensor' : isInput ? 'token' : 'channel' };
}

function formatOf({ quantized }: WriteRequest): string {
  const formats = [...new Set(quantized.map(({ recipe }) => formatOfRecipe(recipe)))];
  return formats.length === 1 ? formats[0] ?? 'dense' : 'mixed-precision';
}

function formatOfRecipe({ weights, activations }: Recipe): string {
  if (weights.kind === 'float') {
    return { nvfp4: 'nvfp4-pack-quantized', mxfp4: 'mxfp4-pack-quantized', mxfp8: 'mxfp8-quantized', fp8: 'float-quantized', fp4: 'float-quantized' }[weights.format];
  }
  return activations.kind === 'keep' || (weights.kind === 'int' && weights.bits < 8) ? 'pack-quantized' : 'int-quantized';
}
