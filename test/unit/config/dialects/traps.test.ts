/** Every trap known of the tools has a code; every code has a fixture that falls into it and one that does not. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { dialects } from '../../../../server/src/config/dialects';
import { dialectCodes } from '../../../../server/src/config/dialects/codes';

/** By tool: the trap, and its codes. */
const traps: Record<string, readonly (readonly [trap: string, ...codes: string[]])[]> = {
  'all tools': [
    ['an entry takes nothing', 'dialect/matches-nothing'], ['proj_out takes every block\'s too', 'dialect/takes-more'], ['transformer_blocks.1 takes others too', 'dialect/unanchored-index'], ['blocks 37 to 39 of 30', 'dialect/no-such-block'],
    ['earlier or later entries decide', 'dialect/shadowed', 'dialect/repeated'], ['a rank above what a layer can have', 'dialect/rank'], ['broken text', 'dialect/json', 'dialect/duplicate-key', 'dialect/type', 'dialect/value', 'dialect/missing-key', 'dialect/unknown-key'],
    ['broken patterns', 'dialect/pattern', 'dialect/pattern-not-read'], ['no layers to compare with', 'dialect/no-checkpoint', 'dialect/checkpoint', 'dialect/packed-checkpoint'],
  ],
  diffusers: [['a method that no loader knows', 'dialect/unknown-method'], ['a method that an older one does not know', 'dialect/diffusers'], ['an argument beside a config in the file', 'python/ignored', 'torchao/not-quantized'], ['a config for another kind of model', 'python/pipeline-wants', 'python/model-wants'],
    ['PipelineQuantizationConfig', 'pipeline/both', 'pipeline/neither', 'pipeline/kwargs', 'pipeline/signatures', 'pipeline/backend', 'pipeline/component', 'pipeline/library']],
  bitsandbytes: [
    ['4 and 8 bit exclude each other', 'bitsandbytes/both-widths', 'bitsandbytes/no-width'], ['6 is no float', 'bitsandbytes/threshold'], ['any quant type passes', 'bitsandbytes/quant-type'], ['fp4 by default', 'bitsandbytes/default-fp4'],
    ['float32 by default', 'bitsandbytes/compute-dtype', 'bitsandbytes/compute-dtype-key'], ['8 bit beside a skip list', 'bitsandbytes/int8-skip'], ['no GPU, offloading', 'python/no-gpu', 'python/offload'], ['shapes and states', 'bitsandbytes/quant-state', 'bitsandbytes/not-quantized'], ['versions', 'bitsandbytes/old'],
  ],
  torchao: [
    ['string shorthands', 'torchao/string-type'], ['one key, default', 'torchao/default-key'], ['the object grammar', 'torchao/grammar', 'torchao/unknown-type', 'python/tuple'], ['IntxWeightOnlyConfig(dtype)', 'torchao/intx-dtype'], ['layers that do not fit are left alone', 'torchao/group-width'],
    ['safetensors from 0.16 on, pickle before', 'torchao/safetensors', 'torchao/pickle'], ['versions', 'torchao/old', 'torchao/import', 'torchao/moved'], ['versions of a config object', 'torchao/config-class', 'torchao/config-version'], ['FqnToConfig', 'torchao/fqn', 'fqn/default'],
  ],
  quanto: [['deprecated', 'quanto/deprecated'], ['versions', 'quanto/old'], ['dotted paths', 'quanto/dotted'], ['saved by optimum-quanto', 'qmap/diffusers', 'qmap/type'],
    ['optimum-quanto from Python', 'optimum-quanto/no-weights', 'optimum-quanto/pipeline'], ['never frozen, never calibrated', 'optimum-quanto/freeze', 'optimum-quanto/calibration'], ['groups that do not fit', 'optimum-quanto/group-width']],
  gguf: [['float32 by default', 'gguf/compute-dtype'], ['not serialisable; config= and subfolder=', 'gguf/not-saved'], ['no skip list', 'gguf/skip-list']],
  modelopt: [
    ['unknown names become FP8', 'modelopt/quant-type', 'modelopt/activation-type'], ['weight_only by default', 'modelopt/weight-only'], ['a list since 0.44', 'modelopt/list-config'], ['its own list', 'modelopt/builtin-skips'], ['saved as pickle', 'modelopt/pickle'],
    ['two generations', 'recipe/legacy-mapping'], ['cfg or enable', 'recipe/entry', 'recipe/empty-cfg'], ['later entries replace', 'recipe/replaces'], ['registered classes', 'recipe/parent-class'], ['numbers of bits', 'recipe/num-bits'],
    ['axis and block_sizes', 'recipe/axis-and-blocks', 'recipe/block-sizes', 'recipe/block-width'], ['imports', 'recipe/import'], ['hf_quant_config.json', 'hfquant/deprecated', 'hfquant/algorithm', 'hfquant/mixed', 'hfquant/group-size', 'hfquant/group-width'],
    ['three readings of exclude_modules', 'hfquant/loaders-differ'], ['block numbers of its script for Wan', 'dialect/last-blocks'],
  ],
  'auto-round': [['backends', 'autoround/backend'], ['spelling', 'autoround/spelling'], ['lists of the exporter', 'autoround/exporter-list'], ['groups', 'autoround/group'],
    ['schemes of the exporter', 'autoround-export/scheme', 'autoround-export/bits', 'autoround-export/overridden', 'autoround-export/activations'], ['layers that do not fit', 'autoround-export/width'], ['what to ignore', 'autoround-export/comma', 'autoround-export/fp-layers'],
    ['diffusion models', 'autoround-export/model', 'autoround-export/batch-size', 'autoround-export/format']],
  nunchaku_lite: [
    ['a section', 'nunchaku/section', 'nunchaku/targets'], ['precision', 'nunchaku/precision'], ['groups', 'nunchaku/group-size', 'nunchaku/width'], ['rank', 'nunchaku/rank'], ['one method per target', 'nunchaku/target-twice'], ['fused projections', 'nunchaku/fused'], ['GPUs', 'nunchaku/gpu'],
  ],
  sdnq: [['dtypes', 'sdnq/dtype', 'sdnq/codebook'], ['its own list', 'sdnq/builtin-skips'], ['Hadamard groups', 'sdnq/hadamard']],
  deepcompressor: [
    ['fixed vocabulary', 'deepcompressor/role'], ['dtype grammar', 'deepcompressor/dtype'], ['parallel lists', 'deepcompressor/parallel-lists', 'deepcompressor/scale-dtype'], ['skips are cleared', 'deepcompressor/skips-cleared'], ['outputs', 'deepcompressor/opts'],
    ['static', 'deepcompressor/static'], ['structs', 'deepcompressor/model'], ['no config for a fine-tune', 'deepcompressor/pipeline'], ['extra_wgts', 'deepcompressor/include-skipped'], ['groups', 'deepcompressor/group-width'], ['merged files', 'deepcompressor/merged', 'deepcompressor-run/order', 'deepcompressor-run/overrides', 'deepcompressor-run/defaults', 'deepcompressor-run/file', 'deepcompressor-run/place'], ['the command line', 'deepcompressor-run/flag', 'deepcompressor-run/arguments'], ['floating point results', 'deepcompressor/float-model', 'deepcompressor/not-saved'], ['FluxAttention, out of memory', 'deepcompressor/diffusers'], ['rope shapes', 'deepcompressor/old'], ['days of run time', 'deepcompressor/slow'],
  ],
  nunchaku: [
    ['precision does not fit the GPU', 'svdq/gpu'], ['a header from scanned types', 'svdq/tensors'], ['rank', 'svdq/rank'], ['skip_refiners', 'svdq/skip-refiners'], ['four entries', 'svdq/header', 'svdq/model-class', 'svdq/method'], ['types and groups', 'svdq/dtype', 'svdq/group-size'],
    ['the folder form', 'svdq/older-folder'], ['loaders', 'svdq/diffusers', 'svdq/fp4-loaders'],
  ],
  'compressed-tensors': [
    ['rules between fields', 'ct/args'], ['presets', 'ct/preset'], ['groups of weights and activations', 'ct/group-sizes'], ['widths', 'ct/group-width', 'ct/block-width'], ['mixed precision', 'ct/mixed'], ['recipes', 'ct/several-modifiers', 'ct/targets', 'ct/no-scheme', 'ct/awq'],
    ['rotations', 'ct/transform', 'ct/transform-size'],
  ],
  comfyui: [
    ['formats', 'comfy/version', 'comfy/format', 'comfy/storage', 'comfy/side-tensor', 'comfy/group-width'], ['names with prefix', 'comfy/prefix', 'comfy/no-such-layer'], ['scales without metadata', 'comfy/no-metadata'], ['the old marker', 'comfy/scaled-fp8'],
    ['ConvRot groups', 'comfy/convrot-group'], ['packed widths mislead detection', 'comfy/detection'], ['scale order', 'comfy/scale-order', 'comfy/scale-shape'], ['nibble order', 'dialect/half-order'], ['renamed text encoders', 'comfy/text-encoder'], ['fallback to fp16', 'comfy/gpu'], ['a note that is no weight', 'comfy/attention-note'],
  ],
  convert_to_quant: [['formats', 'ctq/format'], ['embedders without the switch', 'ctq/embedders']],
  'vidit-q': [['bits', 'viditq/bits', 'viditq/mixed-precision', 'viditq/mixed-index'], ['w4a8.yaml says 6', 'viditq/file-name'], ['commented-out sections', 'viditq/empty-section'], ['empty expressions', 'viditq/empty-regex']],
  'stable-diffusion.cpp': [['commas and equals signs', 'sdcpp/broken-rule', 'sdcpp/space'], ['case of types', 'sdcpp/type'], ['never converted', 'sdcpp/never-converted'], ['norms are converted', 'sdcpp/norms'], ['blocks', 'ggml/block-width']],
  'llama-quantize': [
    ['overlaps', 'llama/overlap'], ['lower-cased', 'llama/lower-case'], ['ignored rules', 'llama/ignored'], ['syntax', 'llama/malformed', 'llama/type'], ['IQ types', 'llama/iq'], ['diffusers names', 'llama/diffusers-names'], ['five dimensions, long names', 'llama/five-dimensions', 'llama/long-name'],
    ['what the converter keeps', 'ggml/other-tensors', 'llama/reshaped'],
  ],
};

describe('traps of other tools', () => {
  const named = Object.values(traps).flatMap((of) => of.flatMap(([, ...codes]) => codes));

  it('have codes, and each of those stands for one', () => {
    assert.deepEqual(named.filter((code) => !(code in dialectCodes)), []);
    assert.deepEqual(Object.keys(dialectCodes).filter((code) => !named.includes(code)), []);
    assert.equal(new Set(named).size, named.length);
  });

  it('have a fixture that falls into each and one that does not', () => {
    // `describeTraps` takes both in one row, which `besideTrap` writes for what lies beside a file. Those four are about files and are tested with folders.
    const rows = readdirSync(__dirname).filter((name) => name !== 'traps.test.ts').map((name) => readFileSync(join(__dirname, name), 'utf8')).join('\n');
    const folders = ['dialect/no-checkpoint', 'dialect/checkpoint', 'dialect/packed-checkpoint', 'dialect/half-order'];
    const written = (code: string): string[] => (folders.includes(code) ? [`'${code}'`] : [`['${code}', `, `besideTrap('${code}', `]);
    assert.deepEqual(Object.keys(dialectCodes).filter((code) => !written(code).some((row) => rows.includes(row))), []);
  });

  it('belong to a dialect that says so', () => {
    const prefixes = ['dialect/', ...dialects.flatMap(({ codes }) => codes)];
    assert.deepEqual(Object.keys(dialectCodes).filter((code) => !prefixes.some((prefix) => code.startsWith(prefix))), []);
    assert.deepEqual(prefixes.filter((prefix) => !Object.keys(dialectCodes).some((code) => code.startsWith(prefix))), []);
  });
});
