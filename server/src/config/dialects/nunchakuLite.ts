import type { Layer } from '../../protocol';
import type { Located } from '../parse';
import { kept, problem, quantized } from './dialect';
import type { DialectEntry, DialectProblem } from './dialect';
import { named } from './field';
import type { Field, FieldTable } from './field';
import type { Fields } from './fields';
import { names } from './offers';
import { backend, byName } from './quantizationConfig';
import { equivalent, float, int, uint } from './recipes';
import type { Equivalent } from './recipes';
import { rankTraps } from './sizes';

const operations = ['svdq_w4a4', 'awq_w4a16'] as const;
type Operation = typeof operations[number];

const targets: Field = { type: 'names', required: true, names: byName((entry, name) => entry === name, names), doc: 'Full paths of the layers, each in one section alone. All of them must be there.' };

const fields: FieldTable = {
  compute_dtype: { type: 'text', default: 'bfloat16', open: true, values: named('bfloat16', 'float16'), doc: 'Of the parts that stay floating point: scales, low-rank branches, biases.' },
  svdq_w4a4: {
    type: 'map', doc: 'Layers with 4-bit weights and activations beside a low-rank branch (SVDQuant).',
    fields: {
      precision: { type: 'text', required: true, values: { int4: 'compute capability 7.5 and later, but not Hopper', nvfp4: 'compute capability 10.0 and later' }, refusal: ['nunchaku/precision', 'error'], doc: 'Of weights and activations.' },
      group_size: { type: 'number', required: true, examples: [64, 16], doc: '64 for int4, 16 for nvfp4; nothing else.' },
      rank: { type: 'number', required: true, examples: [32], doc: 'Columns of the low-rank branch; 0 or more.' }, targets,
    },
  },
  awq_w4a16: {
    type: 'map', doc: 'Layers with 4-bit weights and 16-bit activations (AWQ), usually the modulation.',
    fields: { precision: { type: 'text', required: true, values: named('int4'), refusal: ['nunchaku/precision', 'error'], doc: 'Of weights.' }, group_size: { type: 'number', required: true, examples: [64], doc: 'Inputs that share a scale and a zero point.' }, targets },
  },
  pre_quantized: { type: 'flag', silent: true, doc: 'Written by diffusers; always true.' },
};

interface Section { operation: Operation; fields: Fields; precision: string; group: number; rank: number; targets: Located<string>[] }

/** Lists of exact module paths. The one backend that stops at a name that is not there. */
export const nunchakuLite = backend({
  fields, source: 'diffusers 0.40, `NunchakuLiteQuantizationConfig`', since: '0.40',
  id: 'diffusers-nunchaku-lite', title: 'nunchaku_lite in diffusers', methods: ['nunchaku_lite'], codes: ['nunchaku/'],
  rule: 'A target is the full path of one layer; nothing is expanded.',
  unmatched: 'An error: every target must be there and have whole numbers of inputs and outputs.',
}, (fields) => {
  fields.check('warning', 'It has no effect.');
  const sections = operations.flatMap((operation) => {
    const inner = fields.map(operation);
    return inner ? [readSection(operation, inner)] : [];
  });
  if (sections.length === 0) {
    fields.report('nunchaku/section', 'error', fields.keyRange('quant_method'), 'At least one of "svdq_w4a4" and "awq_w4a16" is needed.');
  }
  const first = new Map<string, Operation>();
  for (const { operation, fields: section, targets } of sections) {
    for (const { value, range } of targets) {
      const before = first.get(value);
      if (before) {
        section.report('nunchaku/target-twice', 'error', range, `"${value}" is a target of ${before === operation ? 'this section' : before} already; a layer is quantized in one way.`);
      }
      first.set(value, before ?? operation);
      if (/(?:^|[._])qkv(?:$|[._])/.test(value)) {
        section.report('nunchaku/fused', 'warning', range, `"${value}" looks like a fused projection: the keys of the checkpoint must be those of the diffusers model, where q, k and v are layers of their own.`);
      }
    }
  }
  return { entries: sections.flatMap(entriesOf), otherwise: kept, unmatched: 'error', traps: (checkpoint) => sections.flatMap((section) => [...groupTraps(section, checkpoint.layers),
    ...rankTraps(section.fields, 'rank', checkpoint.layers.filter(({ name }) => section.targets.some(({ value }) => value === name)), checkpoint)]) };
});

/** @param rank 0 for no branch */
export function svdq(precision: string, rank: number): Equivalent {
  const quantizer = precision === 'nvfp4' ? float('nvfp4') : int(4, 64);
  return equivalent(quantizer, quantizer, [], { smooth: { kind: 'search', steps: 20 }, lowRank: rank > 0 ? { rank, iterations: 100, dtype: 'bf16' } : null });
}

export function awq(group: number): Equivalent { return equivalent(uint(4, group)); }

function entriesOf({ operation, precision, group, rank, targets }: Section): DialectEntry[] {
  const treatment = operation === 'svdq_w4a4' ? quantized(`SVDQuant ${precision} weights and activations per group ${group}`, 4, 4, svdq(precision, rank)) : quantized(`AWQ ${precision} weights per group ${group}`, 4, 16, awq(group));
  return targets.map(({ value, range }) => ({
    text: value, range, treatment, isPath: true, only: value, takes: ({ name }) => name === value,
    ...(/[*?]/.test(value) ? { matchesNothing: 'Targets are full paths; nothing is expanded.' } : {}),
  }));
}

function readSection(operation: Operation, fields: Fields): Section {
  fields.check('warning', 'It has no effect.');
  const precision = fields.text('precision') ?? 'int4';
  const group = fields.number('group_size');
  const expected = operation === 'svdq_w4a4' && precision === 'nvfp4' ? 16 : 64;
  if (group !== undefined && (operation === 'svdq_w4a4' ? group !== expected : !(group > 0))) {
    fields.report('nunchaku/group-size', 'error', fields.range('group_size'), operation === 'svdq_w4a4' ? `${precision} needs group_size ${expected}.` : 'group_size must be positive.');
  }
  const rank = fields.number('rank');
  if (rank !== undefined && (!Number.isInteger(rank) || rank < 0)) {
    fields.report('nunchaku/rank', 'error', fields.range('rank'), 'rank is a whole number, 0 or more.');
  }
  const targets = fields.names('targets', false);
  if (fields.value('targets')?.kind === 'list' && targets.length === 0) {
    fields.report('nunchaku/targets', 'error', fields.range('targets'), 'targets must name at least one layer.');
  }
  if (fields.has('precision')) {
    fields.report('nunchaku/gpu', 'info', fields.range('precision'), precision === 'nvfp4' ? 'nvfp4 runs on GPUs of compute capability 10.0 and later only.' :
      'int4 runs on GPUs of compute capability 7.5 and later, but not on Hopper (9.0).');
  }
  return { operation, fields, precision, group: group ?? expected, rank: rank ?? 32, targets };
}

/** Widths that the groups do not divide. */
function groupTraps({ fields, group, targets }: Section, layers: readonly Layer[]): DialectProblem[] {
  const named = new Set(targets.map(({ value }) => value));
  const odd = layers.filter(({ name, inFeatures }) => named.has(name) && group > 0 && inFeatures % group !== 0);
  return odd.length === 0 ? [] : [problem('nunchaku/width', 'error', fields.range('group_size'),
    `Groups of ${group} do not divide the inputs of ${odd.length} targets, such as "${odd[0]?.name ?? ''}" (${odd[0]?.inFeatures ?? 0}).`)];
}
