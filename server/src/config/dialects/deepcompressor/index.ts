/** deepcompressor's YAML: what to skip or include goes by a fixed vocabulary of roles, never by names. */
import type { Checkpoint, Layer, Range } from '../../../protocol';
import { find } from '../../tree';
import { outputTraps } from './output';
import { hasRole, isRoleKey, models, roleKeys, vocabulary } from './roles';
import { kept, problem, quantized } from '../dialect';
import type { Decision, Dialect, DialectEntry, DialectProblem, Treatment } from '../dialect';
import { named } from '../field';
import type { Field, FieldTable, NameRule } from '../field';
import { deepcompressorEquivalent, extraRecipe, readRecipe } from './recipes';
import type { DeepcompressorRecipe } from './recipes';
import { slowTraps, versionTraps } from './versions';
import { Fields } from '../fields';
import { rankTraps, widthTraps } from '../sizes';

/** Models that need no path (deepcompressor 0.1.0, `DiffusionPipelineConfig`). */
const pipelines = ['flux.1-dev', 'flux.1-schnell', 'flux.1-canny-dev', 'flux.1-depth-dev', 'flux.1-fill-dev', 'pixart-sigma', 'sdxl', 'sdxl-turbo'];
/** Any of them makes a YAML a file of this tool. */
const parts = ['wgts', 'ipts', 'extra_wgts', 'smooth'];

type Part = 'wgts' | 'ipts' | 'extra_wgts';
interface RoleEntry extends DialectEntry { part: Part; key: string }
interface ReadPart { part: Part; bits: number | null; label: string; written: boolean; group: number | undefined; entries: RoleEntry[]; fields: Fields | undefined }

const roleRule: NameRule = { takes: (entry) => (layer) => hasRole(layer, entry), offers: () => vocabulary };
const skips = (doc: string): Field => ({ type: 'names', names: roleRule, doc });
const floats = { 'sfp8_e4m3_nan': '8-bit floats', 'sfp4_e2m1_all': '4-bit floats, as in NVFP4' };
const dtypes: Field = { type: 'text', open: true, values: { sint4: 'signed whole numbers', sint8: '', uint4: 'whole numbers from 0', ...floats }, doc: 'What values become: `s` or `u`, then `int4`, `fp4_e2m1_all`, `fp8_e4m3_nan` and their like. null: not quantized.' };
const search: FieldTable = {
  degree: { type: 'number', default: 2, examples: [2], doc: 'The power of the error that is added up.' }, objective: { type: 'text', values: named('OutputsError', 'ProductsError', 'TensorError'), open: true, doc: 'Which error is to be least.' },
  strategy: { type: 'text', values: named('Manual', 'GridSearch'), open: true, doc: 'Whether a range of settings is tried.' }, granularity: { type: 'text', values: named('Layer', 'ChannelGroup', 'Group'), open: true, doc: 'For what the error is compared.' },
  num_grids: { type: 'number', examples: [20], doc: 'Settings to try.' }, sample_batch_size: { type: 'number', examples: [16, 64], doc: 'Memory against time.' }, sample_size: { type: 'number', examples: [-1], doc: 'Samples; -1 for all.' },
};
const common: FieldTable = {
  dtype: dtypes, zero_point: { type: 'any', examples: [null, 'PostScale', 'PreScale'], doc: 'Zero points of unsigned values.' },
  group_shapes: { type: 'list', examples: [[[1, 64, 1, 1, 1]], [[-1, -1, -1], [1, 16, 1, 1, 1]]], doc: 'What shares a scale, from coarse to fine; -1 is a whole axis.' }, scale_dtypes: { type: 'list', examples: [[null], [null, 'sfp8_e4m3_nan']], doc: 'The dtype of the scales of each group shape; null is that of the model.' },
  enable_calib_range: { type: 'flag', default: false, doc: 'Shrinks ranges where that makes the error less.' }, calib_range: { type: 'map', doc: 'How ranges are searched.', fields: { ...search, skips: skips('Roles whose ranges are not searched.') } },
};
const lowRank: FieldTable = {
  rank: { type: 'number', default: 32, examples: [16, 32, 64], doc: 'Columns of the branch.' }, num_iters: { type: 'number', default: 1, examples: [100], doc: 'Rounds of decomposing what quantizing leaves.' }, early_stop: { type: 'flag', default: false, doc: 'Stops when the error grows.' },
  exclusive: { type: 'flag', default: false, doc: 'A branch for each of q, k and v.' }, compensate: { type: 'flag', default: false, doc: 'The branch stands beside the full weight instead of taking its part out.' }, ...search, skips: skips('Roles without a branch.'),
};
const smooth: FieldTable = {
  ...search, alpha: { type: 'number', examples: [0.5], doc: 'Share of the activations in the smoothing scale.' }, beta: { type: 'number', examples: [-1, -2], doc: 'Share of the weights; -1 is 1 − alpha, -2 searches.' },
  spans: { type: 'list', examples: [[['AbsMax', 'AbsMax']]], doc: 'What is measured of activations and weights.' }, allow_low_rank: { type: 'flag', default: false, doc: 'Counts the low-rank branch in.' }, fuse_when_possible: { type: 'flag', doc: 'Puts scales into the layers before.' }, skips: skips('Roles that are not smoothed.'),
};
const quantField: Field = {
  type: 'map', doc: 'How the model is quantized.', source: 'deepcompressor 0.1.0, `DiffusionQuantConfig`',
  fields: {
    wgts: {
      type: 'map', doc: 'Weights.',
      fields: { ...common, skips: skips('Roles whose weights stay as they are.'), enable_low_rank: { type: 'flag', default: false, doc: 'A low-rank branch beside the codes (SVDQuant).' }, low_rank: { type: 'map', doc: 'The branch.', fields: lowRank }, enable_kernel_gptq: { type: 'flag', default: false, doc: 'Rounds with GPTQ.' }, kernel_gptq: { type: 'map', doc: 'Options of GPTQ.', fields: { damp_percentage: { type: 'number', default: 0.01, examples: [0.01], doc: 'Of the mean of the Hessian\'s diagonal, added to it.' }, block_size: { type: 'number', default: 128, examples: [128], doc: 'Columns that are updated together.' }, skips: skips('Roles that are rounded to nearest.') } } },
    },
    ipts: { type: 'map', doc: 'Inputs of layers.', fields: { ...common, static: { type: 'flag', default: false, doc: 'Ranges fixed beforehand; needs -1 as the first number of the last, finest group shape.' }, allow_unsigned: { type: 'flag', default: false, doc: 'No sign where inputs have none.' }, skips: skips('Roles whose inputs stay as they are.') } },
    opts: { type: 'any', silent: true, doc: 'Outputs of layers: not implemented.' },
    enable_extra_wgts: { type: 'flag', default: false, doc: 'Whether `extra_wgts` counts.' }, extra_wgts: { type: 'map', doc: 'Another format for some roles, instead of leaving them out.', fields: { ...common, includes: skips('Roles that get it.') } },
    enable_smooth: { type: 'flag', default: false, doc: 'Smooths activations into weights.' }, smooth: { type: 'map', doc: 'How.', fields: { enable_proj: { type: 'flag', doc: 'Smooths projections.' }, proj: { type: 'map', doc: 'Of projections.', fields: smooth }, enable_attn: { type: 'flag', doc: 'Smooths q and k.' }, attn: { type: 'map', doc: 'Of q and k.', fields: smooth } } },
    enable_rotation: { type: 'flag', default: false, doc: 'Rotates inputs.' }, rotation: { type: 'map', doc: 'How.', fields: { transforms: skips('Roles that are rotated.'), random: { type: 'flag', default: false, doc: 'Random signs.' } } },
    calib: { type: 'map', doc: 'Calibration data.', fields: { data: { type: 'text', doc: 'Its name.' }, path: { type: 'text', doc: 'Where it lies.' }, num_samples: { type: 'number', default: 128, examples: [128], doc: 'Samples.' }, batch_size: { type: 'number', examples: [16], doc: 'Samples at once.' }, num_workers: { type: 'number', default: 8, doc: 'Loading processes.' } } },
    develop_dtype: { type: 'text', default: 'torch.float32', values: named('torch.float32', 'torch.bfloat16'), open: true, doc: 'In which scales are searched.' },
  },
};
const rootField: Field = {
  type: 'map', doc: 'A config; several files are merged in the order in which they are given.',
  fields: { quant: quantField, pipeline: { type: 'map', doc: 'The model.', fields: { name: { type: 'text', values: named(...pipelines), open: true, doc: 'Its name. Any other one needs `path`.' }, path: { type: 'text', doc: 'Where it lies, or its repository.' }, dtype: { type: 'text', values: named('torch.bfloat16', 'torch.float16'), open: true, doc: 'In which it runs.' }, shift_activations: { type: 'flag', default: false, doc: 'Shifts inputs so that unsigned codes can hold them.' } } } },
};

export const deepcompressor: Dialect = {
  root: () => rootField,
  id: 'deepcompressor', title: 'deepcompressor',
  file: 'YAML with `quant.wgts`, `quant.ipts`, `quant.extra_wgts` or `quant.smooth`; the tool merges the `__default__.yaml` of every folder on the way to its files, then the files in order, and each is read by itself here; a script that runs it shows what they make together',
  rule: 'An entry is a key of a fixed vocabulary of roles, such as `embed` or `ffn_down_proj`; never a name or a pattern.',
  unmatched: 'A key that is not in the vocabulary is a `KeyError`; one whose role the model lacks is passed over.',
  codes: ['deepcompressor/'],
  detect: ({ root }) => parts.some((part) => find(find(root, 'quant')?.value, part) !== undefined),
  parse(file) {
    const problems: DialectProblem[] = [];
    const node = find(file.root, 'quant')?.value;
    if (node?.kind !== 'map') {
      return { entries: [], otherwise: kept, unmatched: 'error', problems: file.problems };
    }
    const quant = new Fields(node, 'quant', problems, file.document, quantField);
    if (quant.has('opts') && quant.map('opts')?.scalar('dtype')) {
      quant.report('deepcompressor/opts', 'error', quant.keyRange('opts'), 'Quantization of outputs (opts) raises NotImplementedError.');
    }
    const wgts = readPart('wgts', quant.map('wgts'), 'skips');
    const ipts = readPart('ipts', quant.map('ipts'), 'skips');
    const extra = readPart('extra_wgts', quant.flag('enable_extra_wgts') === false ? undefined : quant.map('extra_wgts'), 'includes');
    const lowRank = wgts.fields?.flag('enable_low_rank') === false ? undefined : wgts.fields?.map('low_rank');
    const otherwise: Treatment = { kind: wgts.bits === 16 && ipts.bits === 16 ? 'keep' : 'quantize', label: `weights ${wgts.label}, activations ${ipts.label}`, weightBits: wgts.bits, activationBits: ipts.bits };
    const pipelineNode = find(file.root, 'pipeline')?.value;
    const pipeline = pipelineNode?.kind === 'map' ? new Fields(pipelineNode, 'pipeline', problems, file.document) : undefined;
    const recipe = readRecipe(quant, pipeline);
    checkPipeline(pipeline);
    problems.push(...slowTraps(quant));
    const place = quant.keyRange(parts.find((key) => quant.has(key)) ?? 'wgts');
    dropped(extra, wgts);
    const entries = [...wgts.entries, ...ipts.entries, ...extra.entries, ...asides(quant)];
    return {
      entries, otherwise, unmatched: 'ignored', problems: [...file.problems, ...problems],
      decide: (layer, taking) => decide(layer, taking as readonly RoleEntry[], otherwise, recipe, quant),
      traps: (checkpoint) => [...modelTrap(checkpoint, place), ...[wgts, ipts, extra].flatMap((part) => groupTraps(part, wgts, checkpoint)),
        ...lowRank?.has('rank') ? rankTraps(lowRank, 'rank', checkpoint.layers.filter((layer) => roleKeys(layer).length > 0 && ![...wgts.entries, ...roleEntries(lowRank, 'skips')].some((entry) => entry.takes(layer))), checkpoint) : []],
      trapsBeside: ({ files, packages }) => [...outputTraps(files, file.name, place), ...versionTraps(packages, pipeline, place)],
    };
  },
};

/** A fine-tune has no name that the tool knows. */
function checkPipeline(pipeline: Fields | undefined): void {
  const name = pipeline?.scalar('name');
  if (typeof name === 'string' && !pipelines.includes(name) && !pipeline?.scalar('path')) {
    pipeline?.report('deepcompressor/pipeline', 'warning', pipeline.range('name'), `deepcompressor knows no model "${name}" and stops ("Path for ${name} is not specified."), unless pipeline.path says where it lies: here, in a file merged with this one, or with --pipeline-path.`);
  }
}

function readPart(part: Part, fields: Fields | undefined, list: 'skips' | 'includes'): ReadPart {
  const dtype = fields?.text('dtype');
  const written = fields?.has('dtype') === true;
  const bits = dtype === undefined ? (written ? 16 : null) : bitsOf(dtype);
  const named = fields ? roleEntries(fields, list) : [];
  if (dtype !== undefined && bits === null) {
    fields?.report('deepcompressor/dtype', 'error', fields.range('dtype'), `"${dtype}" is no dtype: s or u, then int4, fp4_e2m1_all, fp8_e4m3_nan and their like.`);
  }
  if (fields && written && dtype === undefined && named.length > 0) {
    fields.report('deepcompressor/skips-cleared', 'info', fields.keyRange(list), 'Without a dtype nothing is quantized and this list is cleared.');
  }
  const [shapes, scales] = [fields?.list('group_shapes'), fields?.list('scale_dtypes')];
  if (fields && shapes && scales && shapes.length !== scales.length) {
    fields.report('deepcompressor/parallel-lists', 'error', fields.range('scale_dtypes'), `group_shapes has ${shapes.length} entries and scale_dtypes ${scales.length}; they go together, from coarse to fine.`);
  }
  for (const scale of scales?.slice(1) ?? []) {
    if (!(scale.kind === 'scalar' && typeof scale.value === 'string' && !scale.value.startsWith('torch.') && bitsOf(scale.value) !== null)) {
      fields?.report('deepcompressor/scale-dtype', 'error', scale.range, 'Behind the first, scale_dtypes holds quantized types alone, such as sfp8_e4m3_nan; null and torch types fail an assertion.');
    }
  }
  const finest = shapes?.at(-1);
  if (fields?.flag('static') === true && finest?.kind === 'list' && !(finest.items[0]?.kind === 'scalar' && finest.items[0].value === -1)) {
    fields.report('deepcompressor/static', 'error', fields.keyRange('static'), 'static needs -1 as the first number of the last, finest group shape.');
  }
  const inputs = finest?.kind === 'list' ? finest.items[1] : undefined;
  const group = inputs?.kind === 'scalar' && typeof inputs.value === 'number' && inputs.value > 0 ? inputs.value : undefined;
  const label = dtype ?? (!fields || !written ? part === 'extra_wgts' ? 'kept' : 'as a file merged with it says' : 'kept');
  const treatment = part === 'extra_wgts' ? quantized(`weights ${label}`, bits, null) : { ...kept, label: part === 'wgts' ? 'weights kept' : 'activations kept' };
  return { part, bits, label, written, group, fields, entries: written && dtype === undefined ? [] : named.map((entry) => ({ ...entry, part, treatment })) };
}

/** Keys of a list of roles. A model without such a role is usual: the lists of the examples are written for several. */
function roleEntries(fields: Fields, list: string): RoleEntry[] {
  return fields.names(list, true).flatMap(({ value, range }): RoleEntry[] => {
    if (!isRoleKey(value)) {
      fields.refuse(list, value, vocabulary, 'deepcompressor/role', 'error', range);
      return [];
    }
    return [{ text: value, key: value, range, part: 'wgts', treatment: kept, isPath: false, elsewhere: true, takes: (layer) => hasRole(layer, value) }];
  });
}

/** Lists that choose where a step is left out, not what is quantized; an unknown key fails there too. */
function asides(quant: Fields): DialectEntry[] {
  const [wgts, ipts] = [quant.map('wgts'), quant.map('ipts')];
  const lists: [holder: Fields | undefined, list: string, what: string][] = [
    [wgts?.map('low_rank'), 'skips', 'no low-rank branch'], [wgts?.map('kernel_gptq'), 'skips', 'no GPTQ'], [wgts?.map('calib_range'), 'skips', 'no search of weight ranges'], [ipts?.map('calib_range'), 'skips', 'no search of activation ranges'],
    [quant.map('smooth')?.map('proj'), 'skips', 'not smoothed'], [quant.map('rotation'), 'transforms', 'rotated'],
  ];
  return lists.flatMap(([holder, list, what]) => (holder ? roleEntries(holder, list).map((entry) => ({ ...entry, aside: true, treatment: quantized(what, null, null) })) : []));
}

/** What is skipped is dropped from extra_wgts, without a word. */
function dropped(extra: ReadPart, wgts: ReadPart): void {
  for (const { key, range } of extra.entries) {
    const skipping = wgts.entries.find((entry) => entry.key === key);
    if (skipping) {
      extra.fields?.report('deepcompressor/include-skipped', 'warning', range, `"${key}" is in the skips of wgts too (line ${skipping.range.start.line + 1}), and is dropped here without a word.`);
    }
  }
}

/** Bits of sint4, uint8, sfp4_e2m1_all, sfn8_e4m3 and of torch's types; null for what is none. */
function bitsOf(dtype: string): number | null {
  const [, integer, float] = /^[su](?:(?:int|mag)(\d+)|exp\d+(?:_nan)?|f[pn](\d+)_e\d+m\d+(?:_(?:inf|nan|all))?)$/.exec(dtype) ?? [];
  const [, torch] = /^torch\.b?float(\d+)$/.exec(dtype) ?? [];
  const bits = integer ?? float ?? torch ?? /^[su]exp(\d+)/.exec(dtype)?.[1];
  return bits === undefined ? null : Number(bits);
}

/** Weights and activations each by their own list. Layers without a role are not part of the tool's struct. */
function decide(layer: Layer, taking: readonly RoleEntry[], otherwise: Treatment, recipe: DeepcompressorRecipe, quant: Fields): Omit<Decision, 'layer'> {
  const [weights, inputs, extra] = (['wgts', 'ipts', 'extra_wgts'] as const).map((part) => taking.find((entry) => entry.part === part));
  if (roleKeys(layer).length === 0) {
    return { entry: null, treatment: { ...kept, label: 'kept: has no role' } };
  }
  const by = weights ?? extra;
  const keys = roleKeys(layer);
  const own = extra && !weights ? extraRecipe(recipe, quant.peek('extra_wgts')) : recipe;
  const as = otherwise.kind === 'keep' && !extra ? undefined : deepcompressorEquivalent(own, keys.length === 1 && /^ffn_(?:add_)?down_proj$/.test(keys[0] ?? ''), { weights: weights !== undefined, inputs: inputs !== undefined });
  if (!by && !inputs) {
    return { entry: null, treatment: { ...otherwise, ...as } };
  }
  const [weightBits, activationBits] = [weights ? 16 : extra ? extra.treatment.weightBits : otherwise.weightBits, inputs ? 16 : otherwise.activationBits];
  const label = `weights ${weights ? 'kept' : extra ? extra.treatment.label.replace('weights ', '') : 'quantized'}, activations ${inputs ? 'kept' : 'quantized'}`;
  return { entry: by ?? inputs ?? null, also: inputs ?? null, treatment: weightBits === 16 && activationBits === 16 ? kept : quantized(label, weightBits, activationBits, as) };
}

function modelTrap({ architecture }: Checkpoint, range: Range): DialectProblem[] {
  return models.includes(architecture) || architecture === 'unknown' ? [] : [problem('deepcompressor/model', 'error', range,
    `deepcompressor has no struct for ${architecture}: FLUX, PixArt, SANA and SD3 alone (and U-Nets); nunchaku converts FLUX alone.`)];
}

/** Groups wider than a layer are cut to it; others have to divide its inputs. */
function groupTraps(part: ReadPart, wgts: ReadPart, checkpoint: Checkpoint): DialectProblem[] {
  const { fields, group, entries } = part;
  if (!fields || group === undefined) {
    return [];
  }
  const quantizedHere = checkpoint.layers.filter((layer) => roleKeys(layer).length > 0 && group < layer.inFeatures &&
    entries.some((entry) => entry.takes(layer)) === (part.part === 'extra_wgts') && !(part.part === 'extra_wgts' && wgts.entries.some((entry) => entry.takes(layer))));
  return widthTraps('deepcompressor/group-width', fields.range('group_shapes'), group, quantizedHere, checkpoint, 'deepcompressor stops at an assertion.');
}
