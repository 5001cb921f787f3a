/** ModelOpt's own recipes and configs: `quant_cfg` as a list of entries (0.44 and later) or as a mapping (before). */
import type { Checkpoint, Layer, Range } from '../../protocol';
import { find } from '../tree';
import type { MapNode, TreeNode } from '../tree';
import { kept, problem, quantized } from './dialect';
import type { Decision, Dialect, DialectEntry, DialectFile, DialectProblem, Treatment } from './dialect';
import { named } from './field';
import type { Field, FieldTable, NameRule } from './field';
import { Fields } from './fields';
import { globs } from './offers';
import { keepOriginal } from '../../methods/method';
import { disabledByDefault, matcher } from './modelopt';
import { modeloptEquivalent, readAlgorithm, readAttributes, readRotation } from './modeloptRecipes';
import { rankTraps, widthTraps } from './sizes';

const classes = ['nn.Linear', 'nn.Embedding', 'nn.LeakyReLU', ...['BatchNorm', 'Conv', 'ConvTranspose', 'InstanceNorm', 'AvgPool', 'MaxPool'].flatMap((name) => [1, 2, 3].map((n) => `nn.${name}${n}d`)),
  ...[1, 2, 3].map((n) => `nn.AdaptiveAvgPool${n}d`), 'nn.LSTM', 'nn.GRU', 'nn.RNN'];
const quantizers = ['weight_quantizer', 'input_quantizer'] as const;
type Quantizer = typeof quantizers[number];

interface RecipeEntry extends DialectEntry {
  /** null: only switches quantizers on or off. */
  cfg: Fields | null;
  enable: boolean;
  takesQuantizer(layer: Layer, quantizer: Quantizer): boolean;
}

const quantizerRule: NameRule = {
  takes: (entry) => { const matches = matcher(entry); return ({ name }) => quantizers.some((quantizer) => matches(`${name}.${quantizer}`)); },
  offers: (checkpoint) => ['*', '*weight_quantizer', '*input_quantizer', ...globs('*')(checkpoint)],
};
const layerRule: NameRule = { doc: '`fnmatch` on the names of layers.', takes: (entry) => { const matches = matcher(entry); return ({ name }) => matches(name); }, offers: globs('') };
const bits: Field = { type: 'any', default: 8, examples: [4, 8, 'e2m1', 'e4m3'], doc: 'Whole bits, or a float as ExMy or [exponent, mantissa].' };
const attributes: FieldTable = {
  num_bits: bits, enable: { type: 'flag', default: true, doc: 'Off lets inputs through as they are.' }, axis: { type: 'any', examples: [0, -1, null], doc: 'The axis with one scale each; null is one scale. Excludes `block_sizes`.' },
  block_sizes: {
    type: 'map', doc: 'Blocks with scales of their own: axis numbers (-1 for the inputs) with the size.', values: { '-1': 'elements of a block along the inputs' }, each: { type: 'number', examples: [16, 32, 128], doc: 'Elements of a block along this axis.' },
    fields: { type: { type: 'text', values: named('static', 'dynamic'), open: true, doc: 'Whether scales are found while the model runs.' }, scale_bits: bits, scale_block_sizes: { type: 'any', doc: 'Blocks of scales.' }, four_over_six: { type: 'flag', doc: 'Chooses between 4 and 6 as the largest value of a block.' } },
  },
  type: { type: 'text', default: 'static', values: named('static', 'dynamic'), open: true, doc: 'Whether scales are found while the model runs.' }, unsigned: { type: 'flag', default: false, doc: 'No sign.' }, narrow_range: { type: 'flag', default: false, doc: 'Leaves the lowest code out.' },
  fake_quant: { type: 'flag', default: true, doc: 'Keeps floats that hold the rounded values.' }, rotate: { type: 'any', default: false, examples: [true], doc: 'Rotates inputs by a Hadamard matrix before.' }, calibrator: { type: 'any', default: 'max', examples: ['max', 'histogram'], doc: 'How ranges are found.' },
};
const attributesField: Field = { type: 'any', doc: 'Attributes of these quantizers, instead of all that earlier entries said.', fields: attributes };
const entryField: Field = {
  type: 'map', doc: 'One entry; entries run in order.',
  fields: {
    quantizer_name: { type: 'text', names: quantizerRule, doc: 'Quantizers, as a glob.' }, cfg: attributesField, enable: { type: 'flag', default: true, doc: 'Switches them on or off.' },
    parent_class: { type: 'text', values: named('nn.Linear', 'nn.Conv2d', 'nn.Embedding'), open: true, doc: 'Only quantizers of this class of module.' },
    $import: { type: 'any', silent: true, doc: 'A part from `imports`.' },
  },
};
const quantizeField: Field = {
  type: 'map', doc: 'What is quantized and how.', source: 'ModelOpt, `QuantizeConfig` (2026-08)',
  fields: {
    algorithm: {
      type: 'any', examples: ['max'], doc: 'How ranges and codes are found: a name, or a mapping with its options.',
      fields: {
        method: { type: 'text', values: named('max', 'mse', 'smoothquant', 'awq_lite', 'awq_clip', 'awq_full', 'svdquant', 'gptq', 'local_hessian', 'lsq'), open: true, doc: 'Its name.' },
        lowrank: { type: 'number', default: 32, examples: [32], doc: 'Rank of the branch (svdquant).' }, skip_layers: { type: 'names', names: layerRule, doc: 'Layers that are quantized without smoothing and branch (svdquant).' },
      },
    },
    quant_cfg: { type: 'any', doc: 'Entries of quantizers and their attributes; the last that takes a quantizer decides.', items: entryField, names: quantizerRule, each: attributesField },
  },
};
const rootField: Field = {
  ...quantizeField,
  fields: {
    ...quantizeField.fields, quantize: quantizeField, imports: { type: 'map', doc: 'Names of parts and where they lie.' },
    metadata: { type: 'map', doc: 'What the recipe is.', fields: { recipe_type: { type: 'text', values: named('ptq', 'qat'), open: true, doc: 'Its kind.' }, description: { type: 'text', doc: 'In words.' } } },
  },
};

export const modeloptRecipe: Dialect = {
  root: () => rootField,
  id: 'modelopt', title: 'ModelOpt recipe',
  file: 'YAML or JSON with `quant_cfg`, at the top or under `quantize`',
  rule: '`quantizer_name` is compared by `fnmatch` with the names of quantizers (`…weight_quantizer`, `…input_quantizer`); entries run in order, and the last that takes a quantizer decides.',
  unmatched: 'Passed over without a word.',
  codes: ['recipe/'],
  detect: (file) => quantCfg(file) !== undefined,
  parse(file) {
    const problems: DialectProblem[] = [];
    const holder = quantCfg(file);
    const value = find(holder, 'quant_cfg')?.value;
    const algorithm = find(holder, 'algorithm')?.value;
    const entries = holder && value ? readEntries(value, new Fields(holder, 'quantize', problems, file.document), problems, file) : [];
    const fields = algorithm?.kind === 'map' ? new Fields(algorithm, 'algorithm', problems, file.document) : undefined;
    const method = readAlgorithm(algorithm?.kind === 'scalar' ? String(algorithm.value) : fields?.text('method'), fields);
    const skips = fields?.names('skip_layers', true) ?? [];
    const withoutBranch = skips.map(({ value: text }) => matcher(text));
    return {
      entries: [...entries, ...skips.map(({ value: text, range }): DialectEntry => {
        const takes = matcher(text);
        return { text, range, treatment: quantized('quantized without a low-rank branch', null, null), isPath: false, aside: true, takes: ({ name }) => takes(name) };
      })],
      otherwise: untouched, unmatched: 'ignored', problems: [...file.problems, ...problems],
      decide: (layer, taking) => decide(layer, taking as readonly RecipeEntry[], withoutBranch.some((takes) => takes(layer.name)) ? { ...method, parts: { ...method.parts, lowRank: null } } : method),
      traps: (checkpoint, decisions) => [...replacements(entries, checkpoint.layers), ...entries.flatMap((each) => blockTraps(each, decisions, checkpoint)),
        ...algorithm?.kind === 'map' && find(algorithm, 'lowrank') ? rankTraps(new Fields(algorithm, 'algorithm', problems, file.document), 'lowrank',
          decisions.filter(({ treatment, layer }) => treatment.weightBits !== 16 && !skips.some(({ value: text }) => matcher(text)(layer.name))).map(({ layer }) => layer), checkpoint) : []],
    };
  },
};

/** What a quantizer is before any entry: int8, one scale per tensor, on. */
const untouched = quantized('int8 weights and activations per tensor, ModelOpt\'s default', 8, 8, modeloptEquivalent(readAttributes(null, false), readAttributes(null, true), [], keepOriginal));

/** The mapping that holds `quant_cfg`: the root of a Python-style config, or `quantize` of a recipe. */
function quantCfg({ root }: DialectFile): MapNode | undefined {
  const inner = find(root, 'quantize')?.value;
  const holder = inner?.kind === 'map' ? inner : root;
  return holder?.kind === 'map' && find(holder, 'quant_cfg') ? holder : undefined;
}

function readEntries(value: TreeNode, holder: Fields, problems: DialectProblem[], file: DialectFile): RecipeEntry[] {
  if (value.kind === 'map') {
    holder.report('recipe/legacy-mapping', 'warning', holder.keyRange('quant_cfg'), 'quant_cfg as a mapping is the form of ModelOpt 0.43 and before, deprecated since. Write a list: - {quantizer_name: "*weight_quantizer", cfg: {…}}.');
    return value.entries.flatMap((entry) => legacy(entry.key, entry.keyRange, entry.value, problems, file));
  }
  return (value.kind === 'list' ? value.items : []).flatMap((item) => {
    if (item.kind !== 'map') {
      holder.report('recipe/entry', 'error', item.range, 'An entry is a mapping with quantizer_name and cfg or enable.');
      return [];
    }
    const fields = new Fields(item, 'an entry of quant_cfg', problems, file.document, entryField);
    const [only] = item.entries;
    if (fields.has('$import')) {
      fields.report('recipe/import', 'info', item.range, 'What is imported here is not read, so its entries are not counted.');
      return [];
    }
    if (!fields.has('quantizer_name') && item.entries.length === 1 && only) {
      fields.report('recipe/legacy-mapping', 'warning', only.keyRange, 'Entries with the pattern as key are deprecated. Write {quantizer_name: …, cfg: …}.');
      return legacy(only.key, only.keyRange, only.value, problems, file);
    }
    fields.check('error', 'ModelOpt refuses it.');
    const name = fields.text('quantizer_name');
    if (name === undefined) {
      fields.mustHave('quantizer_name');
      return [];
    }
    return entry(name, fields.range('quantizer_name'), fields, fields.value('cfg'), fields.flag('enable'), fields.text('parent_class'));
  });
}

/** `"*weight_quantizer": {num_bits: 8, enable: true}`, `default` for `*`, and `nn.Linear: {…}` for a class. */
function legacy(key: string, keyRange: Range, value: TreeNode, problems: DialectProblem[], file: DialectFile): RecipeEntry[] {
  if (value.kind !== 'map') {
    return [];
  }
  if (key.startsWith('nn.')) {
    return value.entries.flatMap(({ key: inner, keyRange: at, value: settings }) => legacyOne(inner, at, settings, problems, file, key));
  }
  return legacyOne(key === 'default' ? '*' : key, keyRange, value, problems, file);
}

function legacyOne(key: string, keyRange: Range, value: TreeNode, problems: DialectProblem[], file: DialectFile, parentClass?: string): RecipeEntry[] {
  if (value.kind !== 'map') {
    return [];
  }
  const fields = new Fields(value, `the entry "${key}"`, problems, file.document);
  const cfg: MapNode = { ...value, entries: value.entries.filter((each) => each.key !== 'enable') };
  return entry(key, keyRange, fields, cfg.entries.length > 0 ? cfg : undefined, fields.flag('enable'), parentClass);
}

function entry(text: string, range: Range, fields: Fields, cfg: TreeNode | undefined, written: boolean | undefined, parentClass: string | undefined): RecipeEntry[] {
  const empty = (cfg?.kind === 'map' && cfg.entries.length === 0) || (cfg?.kind === 'list' && cfg.items.length === 0);
  const none = !cfg || (cfg.kind === 'scalar' && cfg.value === null);
  if (none && written === undefined) {
    fields.report('recipe/entry', 'error', range, `"${text}" says neither cfg nor enable; one of them is needed.`);
  }
  if (empty && written !== false) {
    fields.report('recipe/empty-cfg', 'error', cfg?.range ?? range, 'An empty cfg is an error unless enable is false.');
  }
  if (parentClass !== undefined && !classes.includes(parentClass)) {
    fields.refuse('parent_class', parentClass, ['nn.Linear', 'nn.Conv2d', 'nn.Embedding'], 'recipe/parent-class');
  }
  // A sequence of quantizers runs one after the other; the first says the bits that are stored.
  const first = cfg?.kind === 'list' ? cfg.items[0] : cfg;
  const settings = first?.kind === 'map' && !empty ? fields.inner(first, `cfg of "${text}"`) : null;
  if (settings) {
    checkAttributes(settings);
  }
  const matches = matcher(text);
  const takesQuantizer = ({ name }: Layer, quantizer: Quantizer): boolean => (parentClass === undefined || parentClass === 'nn.Linear') && matches(`${name}.${quantizer}`);
  const elsewhere = (parentClass !== undefined && parentClass !== 'nn.Linear') || disabledByDefault.includes(text) || /(?:output|bmm|softmax|block)_quantizer|_bmm_|\[kv\]|\[qkv\]/.test(text);
  const enable = written ?? !none;
  return [{
    text, range, cfg: settings, enable, elsewhere, isPath: false, takesQuantizer,
    treatment: enable ? quantized(settings ? bitsLabel(settings) : 'switched on', settings ? bitsOf(settings) : null, null) : kept,
    takes: (layer) => quantizers.some((quantizer) => takesQuantizer(layer, quantizer)),
  }];
}

function checkAttributes(cfg: Fields): void {
  const written = cfg.scalar('num_bits');
  if (typeof written === 'string' && !/^e\d+m\d+$/i.test(written)) {
    cfg.report('recipe/num-bits', 'error', cfg.range('num_bits'), `"${written}" is no number of bits: write a whole number, e2m1 and its like, or [exponent, mantissa].`);
  }
  if (cfg.has('axis') && cfg.scalar('axis') !== null && cfg.has('block_sizes') && cfg.scalar('block_sizes') !== null) {
    cfg.report('recipe/axis-and-blocks', 'error', cfg.keyRange('block_sizes'), 'axis and block_sizes exclude each other.');
  }
  for (const { key, keyRange } of cfg.map('block_sizes')?.node.entries ?? []) {
    if (!/^-?\d+$/.test(key) && !['type', 'scale_bits', 'scale_block_sizes', 'four_over_six'].includes(key)) {
      cfg.report('recipe/block-sizes', 'error', keyRange, `Keys of block_sizes are axis numbers (-1 for the inputs), type, scale_bits, scale_block_sizes and four_over_six, not "${key}".`);
    }
  }
}

function bitsOf(cfg: Fields): number | null {
  const value = cfg.value('num_bits');
  if (value?.kind === 'list') {
    return value.items.reduce((sum, item) => sum + (item.kind === 'scalar' ? Number(item.value) : 0), 1); // a sign bit
  }
  const written = cfg.scalar('num_bits') ?? 8;
  const [, exponent, mantissa] = /^e(\d+)m(\d+)$/i.exec(String(written)) ?? [];
  return exponent !== undefined && mantissa !== undefined ? 1 + Number(exponent) + Number(mantissa) : typeof written === 'number' ? written : null;
}

function bitsLabel(cfg: Fields): string {
  const blocks = cfg.map('block_sizes')?.node.entries.find(({ key }) => /^-?\d+$/.test(key))?.value;
  const written = cfg.value('num_bits')?.kind === 'list' ? cfg.source('num_bits') : String(cfg.scalar('num_bits') ?? 8);
  return `num_bits ${written}${blocks?.kind === 'scalar' ? ` per block ${String(blocks.value)}` : ''}`;
}

/** Entries run in order; one with cfg replaces everything said before, one without switches only. */
function decide(layer: Layer, taking: readonly RecipeEntry[], method: ReturnType<typeof readAlgorithm>): Omit<Decision, 'layer'> {
  const state = (quantizer: Quantizer): { on: boolean; cfg: Fields | null; by: RecipeEntry | null } => {
    let now: { on: boolean; cfg: Fields | null; by: RecipeEntry | null } = { on: true, cfg: null, by: null };
    for (const each of taking.filter((candidate) => candidate.takesQuantizer(layer, quantizer))) {
      now = { on: each.enable, cfg: each.cfg ?? now.cfg, by: each };
    }
    return now;
  };
  const [weights, inputs] = [state('weight_quantizer'), state('input_quantizer')];
  const label = ({ on, cfg }: typeof weights): string => (on ? cfg ? bitsLabel(cfg) : 'int8 per tensor' : 'kept');
  const bits = ({ on, cfg }: typeof weights): number | null => (on ? cfg ? bitsOf(cfg) : 8 : 16);
  const treatment: Treatment = !weights.on && !inputs.on ? kept : { kind: 'quantize', label: `weights ${label(weights)}, activations ${label(inputs)}`, weightBits: bits(weights), activationBits: bits(inputs),
    ...modeloptEquivalent(weights.on ? readAttributes(weights.cfg, false) : null, inputs.on ? readAttributes(inputs.cfg, true) : null, [...weights.on ? [method] : [], readRotation(weights.cfg)], keepOriginal) };
  return { entry: weights.by ?? inputs.by, also: inputs.by, treatment: weights.by || inputs.by ? treatment : untouched };
}

/** Blocks along the inputs that do not divide them. ModelOpt fills up while it simulates, and refuses when it packs. */
function blockTraps({ cfg, takesQuantizer }: RecipeEntry, decisions: readonly Decision[], checkpoint: Checkpoint): DialectProblem[] {
  const blocks = cfg?.map('block_sizes');
  const key = ['-1', '1'].find((each) => typeof blocks?.scalar(each) === 'number');
  const layers = decisions.filter(({ layer, treatment }) => treatment.weightBits !== 16 && takesQuantizer(layer, 'weight_quantizer')).map(({ layer }) => layer);
  return blocks && key !== undefined ? widthTraps('recipe/block-width', blocks.range(key), blocks.number(key) ?? 0, layers, checkpoint, 'they are filled up while simulating, and refused when packed.', 'warning') : [];
}

/** Attributes of an earlier entry that a later one drops without saying so. */
function replacements(entries: readonly RecipeEntry[], layers: readonly Layer[]): DialectProblem[] {
  return entries.flatMap((later, i) => {
    const { cfg } = later;
    const lost = !cfg ? [] : entries.slice(0, i).flatMap((earlier) => {
      const keys = earlier.cfg?.node.entries.map(({ key }) => key).filter((key) => !cfg.has(key)) ?? [];
      return keys.length > 0 && quantizers.some((quantizer) => layers.some((layer) => earlier.takesQuantizer(layer, quantizer) && later.takesQuantizer(layer, quantizer))) ? keys.map((key) => `${key} of "${earlier.text}"`) : [];
    });
    return lost.length === 0 ? [] : [problem('recipe/replaces', 'info', later.range, `This entry replaces what earlier ones say about the same quantizers; ${[...new Set(lost)].slice(0, 4).join(', ')} no longer holds. Repeat what is to stay.`)];
  });
}
