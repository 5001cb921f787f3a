/** The header of a single-file nunchaku checkpoint: `quantization_config` beside `config`, `comfy_config` and `model_class`. It names no layers; the tensors do. */
import { mergeNunchaku } from '../../checkpoint/nunchakuFolder';
import type { Checkpoint, TensorInfo } from '../../protocol';
import { find } from '../tree';
import type { TreeNode } from '../tree';
import { kept, problem, quantized } from './dialect';
import type { Dialect, DialectFile, DialectProblem } from './dialect';
import { named } from './field';
import type { Field } from './field';
import { Fields } from './fields';
import { svdq } from './nunchakuLite';
import { certain } from '../../python/packages/allowed';
import type { Packages } from '../../python/packages/allowed';

const dtypes: Readonly<Record<string, { group: number; scales: string }>> = { int4: { group: 64, scales: '16-bit' }, fp4_e2m1_all: { group: 16, scales: 'F8_E4M3' } };
const classes = ['NunchakuFluxTransformer2dModel', 'NunchakuFluxTransformer2DModelV2', 'NunchakuQwenImageTransformer2DModel', 'NunchakuSanaTransformer2DModel', 'NunchakuZImageTransformer2DModel', 'NunchakuSDXLUNet2DConditionModel'];
/** Known of FP4 files, and not of the INT4 files beside them: ComfyUI-nunchaku issue 663, sglang issue 28256. */
const fp4Trouble: Readonly<Record<string, string>> = {
  Flux: 'Loading FP4 files of FLUX.1 in ComfyUI-nunchaku was reported to stop with "integer overflow" (issue 663), where the GPU is the right one. Update the loader, or take the INT4 file where the GPU runs it.',
  ZImage: 'SGLang-diffusion says of FP4 files of Z-Image that keys of the checkpoint were not loaded (issue 28256), of INT4 files nothing. If scales (wcscales, wtscale) are among them, pictures are wrong: take another loader.',
};

/** Classes that take int4 or fp4 from the GPU, whatever the file says. */
const fromGpu = /V2$|QwenImage|ZImage|SDXL/;

const partField = (doc: string): Field => ({
  type: 'map', doc, fields: { dtype: { type: 'text', values: { int4: 'groups of 64', fp4_e2m1_all: 'groups of 16, scales in float8' }, refusal: ['svdq/dtype', 'error'], doc: 'Of values.' }, scale_dtype: { type: 'any', doc: 'Of scales.' }, group_size: { type: 'number', examples: [64, 16], doc: 'Inputs that share a scale.' } },
});
const section: Field = {
  type: 'map', doc: 'How the layers of the file are quantized.', source: 'nunchaku, `get_quantization_config` (2026-02)',
  fields: {
    method: { type: 'text', values: named('svdquant'), refusal: ['svdq/method', 'error'], doc: 'SVDQuant alone.' }, weight: partField('Weights.'), activation: { ...partField('Activations.') }, rank: { type: 'number', default: 32, examples: [32], doc: 'Columns of the low-rank branches.' },
    skip_refiners: { type: 'flag', default: false, doc: 'Z-Image alone: its refiners are not quantized.' },
  },
};
const rootField: Field = { type: 'map', doc: 'The header.', fields: { quantization_config: section, model_class: { type: 'text', open: true, values: named(...classes), doc: 'The class that loads it.' }, config: { type: 'any', doc: 'The config of diffusers.' }, comfy_config: { type: 'any', doc: 'The config of ComfyUI.' }, older_folder: { type: 'any', silent: true, doc: 'The two files of nunchaku\'s older form.' } } };

export const nunchakuMetadata: Dialect = {
  root: () => rootField,
  id: 'nunchaku', title: 'nunchaku metadata',
  file: 'The header of a single-file nunchaku `.safetensors`: `quantization_config` with `method` and `rank`, beside `model_class`, `config` and `comfy_config`; or the two files of the older form, told from their tensors',
  rule: 'It names no layers: a layer is quantized when the file holds a `qweight` for it.',
  unmatched: 'There are no entries.',
  codes: ['svdq/'],
  ofPacked: true,
  detect: (file) => find(config(file), 'method') !== undefined && find(config(file), 'quant_method') === undefined,
  parse(file) {
    const problems: DialectProblem[] = [];
    const node = config(file);
    if (node?.kind !== 'map' || file.root?.kind !== 'map') {
      return { entries: [], otherwise: kept, unmatched: 'ignored', problems: file.problems };
    }
    const [root, fields] = [new Fields(file.root, 'the header', problems, file.document, rootField), new Fields(node, 'quantization_config', problems, file.document, section)];
    fields.text('method');
    const weight = fields.map('weight');
    const dtype = weight?.text('dtype');
    for (const part of ['weight', 'activation'].map((key) => fields.map(key))) {
      const known = dtypes[part?.scalar('dtype') as string];
      if (part && known && part.has('group_size') && part.number('group_size') !== known.group) {
        part.report('svdq/group-size', 'error', part.range('group_size'), `${String(part.scalar('dtype'))} has groups of ${known.group} in nunchaku.`);
      }
    }
    checkHeader(root, fields);
    if (root.has('older_folder')) {
      root.report('svdq/older-folder', 'warning', root.keyRange('older_folder'), `The older form of a nunchaku model, in two files: ${mergeNunchaku} What stands here is told from the tensors, as merging does.`);
    }
    const modelClass = root.text('model_class');
    if (weight && dtype) {
      weight.report('svdq/gpu', 'info', weight.range('dtype'), `${dtype === 'int4' ? 'int4 runs on GPUs of compute capability 7.5, 8.0, 8.6 and 8.9' : 'fp4 runs on GPUs of compute capability 12.0 and 12.1'} alone, Hopper runs neither.` +
        `${modelClass !== undefined && fromGpu.test(modelClass) ? ` ${modelClass} takes the precision from the GPU, not from here: on another GPU it fails with hundreds of shape mismatches.` : ''}`);
    }
    const trouble = weight && dtype !== undefined && dtype !== 'int4' ? Object.entries(fp4Trouble).find(([name]) => modelClass?.includes(name))?.[1] : undefined;
    if (weight && trouble) {
      weight.report('svdq/fp4-loaders', 'info', weight.range('dtype'), trouble);
    }
    const bits = dtype === undefined ? null : 4;
    return {
      entries: [], otherwise: quantized(`SVDQuant ${dtype ?? 'of unknown type'}, rank ${String(fields.scalar('rank') ?? 32)}`, bits, bits,
        dtype === undefined ? undefined : svdq(dtype === 'int4' ? 'int4' : 'nvfp4', rank(fields))), unmatched: 'ignored', problems: [...file.problems, ...problems],
      traps: (checkpoint) => tensorTraps(fields, dtype, checkpoint),
      trapsBeside: ({ packages }) => olderDiffusers(packages, fields),
    };
  },
};

function rank(fields: Fields): number {
  const written = fields.scalar('rank');
  return typeof written === 'number' ? written : 32;
}

function config({ root }: DialectFile): TreeNode | undefined {
  return find(root, 'quantization_config')?.value;
}

function checkHeader(root: Fields, fields: Fields): void {
  const modelClass = root.text('model_class');
  if (modelClass !== undefined && !classes.includes(modelClass)) {
    root.refuse('model_class', modelClass, classes, 'svdq/model-class', 'warning');
  }
  if (fields.has('skip_refiners') && modelClass !== undefined && !modelClass.includes('ZImage')) {
    fields.report('svdq/skip-refiners', 'info', fields.keyRange('skip_refiners'), 'skip_refiners is read for Z-Image alone.');
  }
  if (!fields.has('rank')) {
    fields.report('svdq/rank', 'warning', fields.keyRange('method'), 'Without rank nunchaku takes 32.');
  }
  const keys = root.value('header_keys') ? root.names('header_keys', false).map(({ value }) => value) : undefined;
  const missing = keys ? [...root.has('model_class') ? [] : ['model_class'], ...['config', 'comfy_config'].filter((key) => !keys.includes(key))] : [];
  if (missing.length > 0) {
    fields.report('svdq/header', 'warning', fields.keyRange('method'), `The header lacks ${missing.join(' and ')}. nunchaku builds the model from "config", ComfyUI-nunchaku from "comfy_config" and "model_class".`);
  }
}

/** nunchaku imports all its models at once, and with them what they take from diffusers. */
function olderDiffusers(packages: Packages, fields: Fields): DialectProblem[] {
  const imports = [['1.1', '0.36', 'transformer_z_image'], ['1.0', '0.35', 'transformer_qwenimage']] as const;
  const found = imports.flatMap(([from, before, module]) => {
    const [since, older] = [certain(packages, 'nunchaku', { from }), certain(packages, 'diffusers', { before })];
    return since && older ? [problem('svdq/diffusers', 'error', fields.keyRange('method'),
      `nunchaku ${from} and later stop with a diffusers before ${before}, whatever the model ("No module named 'diffusers.models.transformers.${module}'"): here ${older} stands beside ${since}. Take diffusers ${before}.`)] : [];
  });
  return found.slice(0, 1);
}

/** The header is put together by looking at the types of tensors; one wrong tensor, and it says another precision. */
function tensorTraps(fields: Fields, dtype: string | undefined, { tensors }: Checkpoint): DialectProblem[] {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const packed = tensors.filter(({ name, dtype: type }) => name.endsWith('.qweight') && type === 'I8').map((weight) => {
    const layer = weight.name.slice(0, -'.qweight'.length);
    return { layer, weight, scales: byName.get(`${layer}.wscales`), down: byName.get(`${layer}.proj_down`) ?? byName.get(`${layer}.lora_down`) };
  });
  const known = dtypes[dtype ?? ''];
  const weight = fields.map('weight');
  const rank = fields.number('rank');
  const isFp8 = (scales: TensorInfo | undefined): boolean => scales?.dtype.startsWith('F8') === true;
  const wrongType = known ? packed.find(({ scales }) => scales && isFp8(scales) !== (dtype !== 'int4')) : undefined;
  const group = ({ weight: { shape }, scales }: typeof packed[number]): number => (2 * (shape[1] ?? 0)) / (scales?.shape[0] ?? NaN);
  const wrongGroup = known && !wrongType ? packed.find((each) => each.scales && group(each) !== known.group) : undefined;
  const wrongRank = rank === undefined ? undefined : packed.find(({ down }) => down && down.shape[1] !== rank);
  const refiners = packed.some(({ layer }) => layer.includes('refiner'));
  const skips = fields.flag('skip_refiners');
  return [
    ...wrongType && weight ? [problem('svdq/tensors', 'error', weight.range('dtype'), `The file says ${dtype ?? ''}, whose scales are ${known?.scales ?? ''}, but "${wrongType.layer}.wscales" is ${wrongType.scales?.dtype ?? ''}: it is ${dtype === 'int4' ? 'fp4_e2m1_all' : 'int4'}.`)] : [],
    ...wrongGroup && weight ? [problem('svdq/tensors', 'error', weight.range('group_size'), `"${wrongGroup.layer}" has groups of ${group(wrongGroup)} by the shape of its scales, not of ${known?.group ?? 0}.`)] : [],
    ...wrongRank ? [problem('svdq/rank', 'error', fields.range('rank'), `The low-rank branch of "${wrongRank.layer}" has rank ${wrongRank.down?.shape[1] ?? 0}, not ${rank ?? 0}: the file does not load.`)] : [],
    ...skips !== undefined && packed.length > 0 && skips === refiners ? [problem('svdq/skip-refiners', 'error', fields.range('skip_refiners'), refiners ? 'The file holds quantized refiners, so skip_refiners must be false.' : 'The file holds no quantized refiners, so skip_refiners must be true.')] : [],
  ];
}
