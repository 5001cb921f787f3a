/** deepcompressor's YAML: what to skip or include goes by a fixed vocabulary of roles, never by names. */
import type { Checkpoint, Layer, Range } from '../../protocol';
import { find } from '../tree';
import { hasRole, isRoleKey, models, roleKeys, vocabulary } from './deepcompressorRoles';
import { kept, problem, quantized } from './dialect';
import type { Decision, Dialect, DialectEntry, DialectProblem, Treatment } from './dialect';
import { Fields } from './fields';
import { rankTraps, widthTraps } from './sizes';

type Part = 'wgts' | 'ipts' | 'extra_wgts';
interface RoleEntry extends DialectEntry { part: Part; key: string }
interface ReadPart { part: Part; bits: number | null; label: string; written: boolean; group: number | undefined; entries: RoleEntry[]; fields: Fields | undefined }

export const deepcompressor: Dialect = {
  id: 'deepcompressor', title: 'deepcompressor',
  file: 'YAML with `quant.wgts`, `quant.ipts`, `quant.extra_wgts` or `quant.smooth`; the tool merges the `__default__.yaml` of every folder on the way to its files, then the files in order, and each is read by itself here',
  rule: 'An entry is a key of a fixed vocabulary of roles, such as `embed` or `ffn_down_proj`; never a name or a pattern.',
  unmatched: 'A key that is not in the vocabulary is a `KeyError`; one whose role the model lacks is passed over.',
  codes: ['deepcompressor/'],
  detect: ({ root }) => ['wgts', 'ipts', 'extra_wgts', 'smooth'].some((part) => find(find(root, 'quant')?.value, part) !== undefined),
  parse(file) {
    const problems: DialectProblem[] = [];
    const node = find(file.root, 'quant')?.value;
    if (node?.kind !== 'map') {
      return { entries: [], otherwise: kept, unmatched: 'error', problems: file.problems };
    }
    const quant = new Fields(node, 'quant', problems, file.document);
    if (quant.has('opts') && quant.map('opts')?.scalar('dtype')) {
      quant.report('deepcompressor/opts', 'error', quant.keyRange('opts'), 'Quantization of outputs (opts) raises NotImplementedError.');
    }
    const wgts = readPart('wgts', quant.map('wgts'), 'skips');
    const ipts = readPart('ipts', quant.map('ipts'), 'skips');
    const extra = readPart('extra_wgts', quant.flag('enable_extra_wgts') === false ? undefined : quant.map('extra_wgts'), 'includes');
    const lowRank = wgts.fields?.flag('enable_low_rank') === false ? undefined : wgts.fields?.map('low_rank');
    const otherwise: Treatment = { kind: wgts.bits === 16 && ipts.bits === 16 ? 'keep' : 'quantize', label: `weights ${wgts.label}, activations ${ipts.label}`, weightBits: wgts.bits, activationBits: ipts.bits };
    dropped(extra, wgts);
    const entries = [...wgts.entries, ...ipts.entries, ...extra.entries, ...asides(quant)];
    return {
      entries, otherwise, unmatched: 'ignored', problems: [...file.problems, ...problems],
      decide: (layer, taking) => decide(layer, taking as readonly RoleEntry[], otherwise),
      traps: (checkpoint) => [...modelTrap(checkpoint, quant), ...[wgts, ipts, extra].flatMap((part) => groupTraps(part, wgts, checkpoint)),
        ...lowRank?.has('rank') ? rankTraps(lowRank, 'rank', checkpoint.layers.filter((layer) => roleKeys(layer).length > 0 && ![...wgts.entries, ...roleEntries(lowRank, 'skips')].some((entry) => entry.takes(layer))), checkpoint) : []],
    };
  },
};

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
function decide(layer: Layer, taking: readonly RoleEntry[], otherwise: Treatment): Omit<Decision, 'layer'> {
  const [weights, inputs, extra] = (['wgts', 'ipts', 'extra_wgts'] as const).map((part) => taking.find((entry) => entry.part === part));
  if (roleKeys(layer).length === 0) {
    return { entry: null, treatment: { ...kept, label: 'kept: has no role' } };
  }
  const by = weights ?? extra;
  if (!by && !inputs) {
    return { entry: null, treatment: otherwise };
  }
  const [weightBits, activationBits] = [weights ? 16 : extra ? extra.treatment.weightBits : otherwise.weightBits, inputs ? 16 : otherwise.activationBits];
  const label = `weights ${weights ? 'kept' : extra ? extra.treatment.label.replace('weights ', '') : 'quantized'}, activations ${inputs ? 'kept' : 'quantized'}`;
  return { entry: by ?? inputs ?? null, also: inputs ?? null, treatment: weightBits === 16 && activationBits === 16 ? kept : quantized(label, weightBits, activationBits) };
}

function modelTrap({ architecture }: Checkpoint, quant: Fields): DialectProblem[] {
  const range: Range = quant.keyRange(['wgts', 'ipts', 'extra_wgts', 'smooth'].find((key) => quant.has(key)) ?? 'wgts');
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
