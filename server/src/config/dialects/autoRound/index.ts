/** AutoRound in diffusers: loading only. The export decided what is packed, and wrote it down as blocks, layers with settings of their own, and layers left alone. */
import type { Checkpoint, Layer } from '../../../protocol';
import type { Located } from '../../parse';
import { kept, quantized } from '../dialect';
import type { Decision, DialectEntry, DialectProblem, Treatment } from '../dialect';
import type { FieldTable, NameRule } from '../field';
import type { Fields } from '../fields';
import { expressions, names } from '../offers';
import { regexOrProblem } from '../patterns';
import { backend } from '../quantizationConfig';
import { compileRegex } from '../regex';
import { equivalent, int } from '../recipes';
import { widthTraps } from '../sizes';

const exporterKeys = ['layer_config', 'ignore_layers'];

const search: NameRule = { doc: 'An expression for `re.search`, found anywhere in the name.', takes: (entry) => { const regex = compileRegex(entry, 'python'); return ({ name }) => regex.search(name); }, offers: expressions('', '$', ['', '']) };
const wholeFirst: NameRule = {
  doc: 'A whole name; where no layer has it, an expression for `re.search`.', offers: (checkpoint) => [...names(checkpoint), ...search.offers(checkpoint)],
  takes: (entry) => { const regex = compileRegex(entry, 'python'); return ({ name }) => (/^[\w.-]+$/.test(entry) && name === entry) || regex.search(name); },
};
const start: NameRule = { doc: 'The beginning of a name, dots or not.', takes: (entry) => ({ name }) => name.startsWith(entry), offers: (checkpoint) => [...new Set(checkpoint?.layers.flatMap(({ block }) => (block === null ? [] : [block.replace(/\.\d+$/, '')])))] };
const precision: FieldTable = {
  bits: { type: 'number', default: 4, examples: [4, 8], doc: 'Bits of the packed weights; 16 keeps them.' }, group_size: { type: 'number', default: 128, examples: [32, 64, 128, -1], doc: 'Inputs that share a scale and a zero point; -1 for whole rows.' },
  sym: { type: 'flag', default: true, doc: 'No zero points.' },
};
const fields: FieldTable = {
  ...precision,
  backend: {
    type: 'text', default: 'auto', refusal: ['autoround/backend', 'error'], doc: 'The kernel that multiplies.',
    values: { auto: 'the best that is there', torch: 'plain PyTorch, CPU too', tritonv2: 'CUDA', exllamav2: 'CUDA, gptqmodel 5.8.0 or later', marlin: 'CUDA, gptqmodel 5.8.0 or later; fastest' },
  },
  block_name_to_quantize: { type: 'names', names: start, doc: 'Blocks that were packed: a list, or a text with commas. Without it all repeated blocks.' }, to_quant_block_names: { type: 'any', silent: true, doc: 'The older name of `block_name_to_quantize`.' },
  extra_config: { type: 'map', names: wholeFirst, doc: 'Layers with settings of their own.', each: { type: 'map', doc: 'Settings of these layers.', fields: precision } },
  modules_to_not_convert: { type: 'names', names: search, doc: 'Layers that were left alone.' },
  ...Object.fromEntries(exporterKeys.map((key) => [key, { type: 'any', silent: true, doc: 'Belongs to AutoRound\'s exporter; the loader has no such list.' } as const])),
};

/** Later kinds give way to earlier ones. */
type Kind = 'skip' | 'settings' | 'block';
interface RoundEntry extends DialectEntry { kind: Kind; group: number; find?(name: string): boolean }

export const autoRound = backend({
  fields, source: 'diffusers 0.40, `AutoRoundConfig`, and AutoRound\'s inference (2026-08)', since: '0.39',
  id: 'diffusers-auto-round', title: 'AutoRound in diffusers', methods: ['auto-round', 'auto_round'], codes: ['autoround/'],
  rule: '`block_name_to_quantize` is compared with the beginning of a name, dots or not; a key of `extra_config` is a whole name, and where it is none an expression for `re.search`; `modules_to_not_convert` holds expressions for `re.search` and wins over all.',
  unmatched: 'Passed over without a word.',
}, (fields, problems) => {
  fields.text('backend');
  const symmetric = fields.flag('sym') ?? true;
  const bits = fields.number('bits') ?? 4;
  const group = fields.number('group_size') ?? 128;
  if (fields.text('quant_method') === 'auto_round') {
    fields.report('autoround/spelling', 'error', fields.range('quant_method'), 'diffusers knows "auto-round" with a hyphen only.', 'auto-round');
  }
  for (const key of exporterKeys.filter((each) => fields.has(each))) {
    fields.report('autoround/exporter-list', 'warning', fields.keyRange(key), `"${key}" is for AutoRound's exporter, where it matches parts of names. The loader reads extra_config and modules_to_not_convert instead.`);
  }
  const base = treatmentOf(bits, group, symmetric);
  const entries = [
    ...fields.names('modules_to_not_convert', false).flatMap((name) => skip(name, problems)),
    ...(fields.map('extra_config')?.node.entries ?? []).flatMap(({ key, keyRange }) => settings({ value: key, range: keyRange }, fields.map('extra_config')?.map(key), { bits, group, symmetric }, problems)),
    ...blocks(fields).map(({ value, range }): RoundEntry => ({ text: value, range, kind: 'block', group, treatment: base, isPath: true, takes: ({ name }) => name.startsWith(value) })),
  ];
  const byBlocks = entries.some(({ kind }) => kind === 'block');
  const decideLayer = (layer: Layer, taking: readonly RoundEntry[]): Omit<Decision, 'layer'> => decide(layer, taking, byBlocks, base);
  return {
    entries, otherwise: byBlocks ? kept : base, unmatched: 'ignored', prepare: (checkpoint) => prepare(entries, checkpoint), decide: (layer, taking) => decideLayer(layer, taking as readonly RoundEntry[]),
    traps: (checkpoint, decisions) => {
      const of = (layers: typeof decisions, size: number, range: DialectEntry['range']): DialectProblem[] => widthTraps('autoround/group', range, size, layers.filter(({ treatment }) => treatment.kind === 'quantize').map(({ layer }) => layer), checkpoint,
        'take 32, 64 or 128 where it fits, or -1 for whole rows.', 'warning');
      const own = entries.filter(({ kind }) => kind === 'settings');
      return [...of(decisions.filter(({ entry }) => !own.some((each) => each === entry)), group, fields.range('group_size')), ...own.flatMap((entry) => of(decisions.filter((each) => each.entry === entry), entry.group, entry.range))];
    },
  };
});

function treatmentOf(bits: number, group: number, symmetric: boolean): Treatment {
  return bits >= 16 ? kept : quantized(`int${bits} weights per ${group === -1 ? 'row' : `group ${group}`}`, bits, 16,
    Number.isInteger(bits) && bits >= 1 && bits <= 8 ? equivalent(int(bits, group > 0 ? group : 'row', { symmetric }), undefined, ['it learns the rounding; here it is to the nearest level']) : undefined);
}

/** A list, or a text with commas. */
function blocks(fields: Fields): Located<string>[] {
  const key = ['block_name_to_quantize', 'to_quant_block_names'].find((each) => fields.has(each) && fields.scalar(each) !== null);
  const written = key === undefined ? undefined : fields.value(key);
  if (!key || written?.kind === 'list') {
    return key ? fields.names(key, false) : [];
  }
  const range = fields.range(key);
  return (fields.text(key) ?? '').split(',').map((value) => ({ value: value.trim(), range })).filter(({ value }) => value !== '');
}

function skip({ value, range }: Located<string>, problems: DialectProblem[]): RoundEntry[] {
  const regex = regexOrProblem(value, 'python', range, problems);
  return [{ text: value, range, kind: 'skip', group: -1, treatment: kept, isPath: isPlain(value), elsewhere: !regex, takes: ({ name }) => regex?.search(name) === true }];
}

/** An entry without `bits` says the same as the rest of the file. What it takes depends on which layers there are: see `prepare`. */
function settings({ value, range }: Located<string>, inner: Fields | undefined, usual: { bits: number; group: number; symmetric: boolean }, problems: DialectProblem[]): RoundEntry[] {
  const size = inner?.number('group_size') ?? usual.group;
  const regex = regexOrProblem(value, 'python', range, problems);
  return [{
    text: value, range, kind: 'settings', group: size, treatment: treatmentOf(inner?.number('bits') ?? usual.bits, size, inner?.flag('sym') ?? usual.symmetric), isPath: isPlain(value), elsewhere: !regex,
    takes: ({ name }) => name === value, find: (name) => regex?.search(name) === true,
  }];
}

/** A key that is no layer's name is an expression, for the layers in the blocks first, and for the others only where it finds none there. */
function prepare(entries: readonly RoundEntry[], { layers }: Checkpoint): void {
  const names = new Set(layers.map(({ name }) => name));
  const ofBlocks = entries.filter(({ kind }) => kind === 'block');
  const inside = layers.filter((layer) => (ofBlocks.length > 0 ? ofBlocks.some((entry) => entry.takes(layer)) : layer.block !== null));
  for (const entry of entries) {
    if (entry.find && !names.has(entry.text)) {
      const found = [inside, layers].map((some) => new Set(some.filter(({ name }) => entry.find?.(name)))).find((some) => some.size > 0);
      entry.takes = (layer) => found?.has(layer) === true;
    }
  }
}

/** Nothing in it means anything else in an expression, dots aside. */
function isPlain(text: string): boolean {
  return /^[\w.-]+$/.test(text);
}

/** Kept names first; then settings, a whole name before expressions, the first of those; then blocks, without which all layers in blocks are meant. */
function decide(layer: Layer, taking: readonly RoundEntry[], byBlocks: boolean, base: Treatment): Omit<Decision, 'layer'> {
  const [keep] = taking.filter(({ kind }) => kind === 'skip');
  const own = taking.filter(({ kind }) => kind === 'settings');
  const by = keep ?? own.find(({ text }) => text === layer.name) ?? own[0] ?? taking[0];
  if (by) {
    return { entry: by, treatment: by.treatment };
  }
  return { entry: null, treatment: byBlocks ? kept : layer.block === null ? { ...kept, label: 'kept: outside of the repeated blocks' } : base };
}
