/** Which calls of Python are quantization configs, by the names that a package exports, and the order of their parameters. */
import type { Grammar } from './values';

export interface Constructor {
  /** Packages whose class of that name is meant. */
  packages: readonly string[];
  parameters: readonly string[];
  grammar: Grammar;
  /** Of a backend of diffusers: its `quant_method`. */
  method?: string;
  /** Of a function that is given a model and quantizes it: the id of its dialect. */
  quantizes?: string;
}

const diffusers = (method: string, parameters: readonly string[], more: Partial<Constructor> = {}): Constructor => ({ packages: ['diffusers'], parameters, grammar: 'plain', method, ...more });
const llmCompressor: Constructor = { packages: ['llmcompressor'], parameters: [], grammar: 'plain' };

/** Parameters in the order of diffusers 0.40 `quantization_config.py`, torchao 0.19 `quant_api.py`, AutoRound (2026-08), optimum-quanto 0.2, and llm-compressor (2026-08), whose modifiers take keywords alone. */
export const constructors: Readonly<Record<string, Constructor>> = {
  BitsAndBytesConfig: diffusers('bitsandbytes', ['load_in_8bit', 'load_in_4bit', 'llm_int8_threshold', 'llm_int8_skip_modules', 'llm_int8_enable_fp32_cpu_offload', 'llm_int8_has_fp16_weight', 'bnb_4bit_compute_dtype', 'bnb_4bit_quant_type', 'bnb_4bit_use_double_quant', 'bnb_4bit_quant_storage']),
  TorchAoConfig: diffusers('torchao', ['quant_type', 'modules_to_not_convert'], { grammar: 'torchao' }),
  QuantoConfig: diffusers('quanto', ['weights_dtype', 'modules_to_not_convert']),
  GGUFQuantizationConfig: diffusers('gguf', ['compute_dtype']),
  NVIDIAModelOptConfig: diffusers('modelopt', ['quant_type', 'modules_to_not_convert', 'weight_only', 'channel_quantize', 'block_quantize', 'scale_channel_quantize', 'scale_block_quantize', 'algorithm', 'forward_loop', 'modelopt_config', 'disable_conv_quantization']),
  AutoRoundConfig: diffusers('auto-round', ['bits', 'group_size', 'sym', 'backend']),
  NunchakuLiteQuantizationConfig: diffusers('nunchaku_lite', ['compute_dtype', 'svdq_w4a4', 'awq_w4a16']),
  SDNQConfig: diffusers('sdnq', ['weights_dtype'], { packages: ['diffusers', 'sdnq'] }),
  PipelineQuantizationConfig: { packages: ['diffusers'], parameters: ['quant_backend', 'quant_kwargs', 'components_to_quantize', 'quant_mapping'], grammar: 'plain' },
  FqnToConfig: { packages: ['torchao'], parameters: ['fqn_to_config', 'module_fqn_to_config'], grammar: 'torchao' },
  ModuleFqnToConfig: { packages: ['torchao'], parameters: ['module_fqn_to_config'], grammar: 'torchao' },
  QuantizationModifier: llmCompressor, GPTQModifier: llmCompressor, AWQModifier: llmCompressor, AutoRoundModifier: llmCompressor,
  AutoRound: {
    packages: ['auto_round'], grammar: 'plain', quantizes: 'auto-round-exporter',
    parameters: ['model', 'tokenizer', 'platform', 'scheme', 'layer_config', 'dataset', 'iters', 'seqlen', 'nsamples', 'batch_size', 'gradient_accumulate_steps', 'low_gpu_mem_usage', 'device_map', 'enable_torch_compile', 'seed', 'low_cpu_mem_usage', 'alg_configs', 'algorithm'],
  },
  quantize: { packages: ['optimum.quanto'], grammar: 'plain', quantizes: 'optimum-quanto-quantize', parameters: ['model', 'weights', 'activations', 'optimizer', 'include', 'exclude'] },
};

/** Arguments that are objects of the program: nothing in them is part of the config. */
export const objects: ReadonlySet<string> = new Set(['model', 'tokenizer', 'optimizer']);

/** Classes inside of configs whose arguments are usually not named. */
const parts: Readonly<Record<string, readonly string[]>> = {
  PerGroup: ['group_size'], PerAxis: ['axis'], PerRow: ['dim'], PerBlock: ['block_size'], Int4WeightOnlyConfig: ['group_size'], Int8WeightOnlyConfig: ['group_size'], Float8WeightOnlyConfig: ['weight_dtype'],
  Float8DynamicActivationFloat8WeightConfig: ['activation_dtype', 'weight_dtype', 'granularity'], Int8DynamicActivationInt8WeightConfig: ['act_mapping_type'], IntxWeightOnlyConfig: ['weight_dtype', 'granularity', 'mapping_type'],
  Int8DynamicActivationIntxWeightConfig: ['weight_dtype', 'weight_granularity', 'weight_mapping_type'],
  QuantizationScheme: ['bits', 'group_size', 'sym', 'data_type', 'act_bits', 'act_group_size', 'act_sym', 'act_data_type', 'act_dynamic'],
};

/** @param name dotted. @returns undefined for calls that are about something else */
export function constructorOf(name: string | undefined): { name: string; constructor: Constructor } | undefined {
  const last = name?.slice(name.lastIndexOf('.') + 1) ?? '';
  const found = Object.hasOwn(constructors, last) ? constructors[last] : undefined;
  return found?.packages.some((owner) => name?.startsWith(`${owner}.`)) ? { name: last, constructor: found } : undefined;
}

export function parametersOf(name: string | undefined): readonly string[] {
  const last = name?.slice(name.lastIndexOf('.') + 1) ?? '';
  return constructors[last]?.parameters ?? parts[last] ?? [];
}

/** What a name that a package exports means as a text: optimum-quanto takes its types as objects or by these names. @param name dotted */
export function constantOf(name: string | undefined): string | undefined {
  return /^optimum\.quanto\.(?:.*\.)?(q(?:int|float)\w+)$/.exec(name ?? '')?.[1];
}

/** A text that holds none of these is no Python file that says how something is quantized. `quantize` alone is said of much, so the package it is imported from stands for it. */
export const pythonMarks = new RegExp(`\\b(?:${Object.keys(constructors).filter((name) => name !== 'quantize').join('|')}|quanto|quant_cfg)\\b`);
