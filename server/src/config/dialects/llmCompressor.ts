/** llm-compressor recipes: stages of modifiers, of which those that quantize have targets, a scheme or groups, and a list to ignore. */
import type { Checkpoint, Layer, Range } from '../../protocol';
import type { Entry, TreeNode } from '../tree';
import { find } from '../tree';
import { gptqSolver } from '../../methods/method';
import { groupFields, readGroups } from './compressedTensors';
import type { Solving } from './compressedTensors';
import { presetDocs } from './compressedTensorsPresets';
import { decideTargets } from './compressedTensorsTargets';
import type { TargetEntry } from './compressedTensorsTargets';
import { kept, problem } from './dialect';
import type { Dialect, DialectProblem } from './dialect';
import { describeShare } from './evaluate';
import { named } from './field';
import type { Field, FieldTable } from './field';
import { Fields } from './fields';
import { argsFields } from './quantizationArgs';

const quantizes = /^(?:Quantization|GPTQ|AutoRound|AWQ)Modifier$/;

const observer = { type: 'text', values: named('minmax', 'mse', 'static_minmax', 'memoryless_minmax', 'memoryless_mse'), open: true } as const;
const shared: FieldTable = {
  targets: { type: 'names', names: groupFields['ignore']?.names as NonNullable<Field['names']>, default: ['Linear'], doc: 'Layers that `scheme` is for: names, `re:` expressions, or classes such as `Linear`.' },
  scheme: { type: 'any', values: presetDocs, open: true, doc: 'A preset, for `targets`.' },
  ...groupFields,
  kv_cache_scheme: { type: 'map', fields: argsFields, doc: 'For keys and values that are kept.' },
  weight_observer: { ...observer, doc: 'How ranges of weights are found.' }, input_observer: { ...observer, doc: 'How ranges of inputs are found.' }, output_observer: { ...observer, doc: 'How ranges of outputs are found.' },
  observer: { type: 'map', doc: 'The same for several: keys `weights`, `input`, `output`.' },
  bypass_divisibility_checks: { type: 'flag', default: false, doc: 'Does not stop at inputs that groups do not divide.' },
};
const modifier = (doc: string, more: FieldTable = {}): Field => ({ type: 'map', doc, fields: { ...shared, ...more }, source: 'llm-compressor, `QuantizationMixin` (2026-08)' });
const known: FieldTable = {
  QuantizationModifier: modifier('Rounds to nearest.'),
  AWQModifier: { ...modifier('Scales channels by activations; current versions take its mappings alone.', { mappings: { type: 'any', doc: 'Layers that are smoothed into others.' }, duo_scaling: { type: 'any', default: true, doc: 'Counts weights in.' } }), silent: true },
  GPTQModifier: modifier('Rounds with GPTQ.', {
    block_size: { type: 'number', default: 128, doc: 'Columns that are updated together.' }, dampening_frac: { type: 'number', default: 0.01, doc: 'Of the mean of the Hessian\'s diagonal, added to it.' },
    actorder: { type: 'any', examples: ['static', 'weight', 'group'], doc: 'The order of the inputs.' }, offload_hessians: { type: 'flag', default: false, doc: 'Keeps Hessians on the CPU.' },
  }),
  AutoRoundModifier: modifier('Learns the rounding by signed gradients.', { iters: { type: 'number', default: 200, doc: 'Steps for each block.' } }),
};
/** Modifiers stand directly in the file or below any names of stages. */
const stage: { type: 'map'; doc: string; fields: FieldTable; each?: Field; items?: Field } = { type: 'map', doc: 'A recipe: modifiers, or stages that hold them.', fields: known };
stage.each = stage;
stage.items = stage;

export const llmCompressor: Dialect = {
  root: () => stage,
  id: 'llm-compressor', title: 'llm-compressor recipe',
  file: 'YAML with `QuantizationModifier`, `GPTQModifier` or `AutoRoundModifier`',
  rule: 'As compressed-tensors: `re:` starts an expression anchored at the start only; anything else is the whole name of a layer or of a class.',
  unmatched: 'Passed over without a word.',
  codes: ['ct/'],
  detect: ({ root }) => modifiers(root).length > 0,
  parse(file) {
    const problems: DialectProblem[] = [];
    const found = modifiers(file.root).flatMap(({ key, keyRange, value }, holder) => (value.kind === 'map' ? [readModifier(new Fields(value, key, problems, file.document, known[key]), keyRange, problems, holder)] : []));
    return {
      entries: found.flatMap(({ groups }) => groups.entries), otherwise: kept, unmatched: 'ignored', problems: [...file.problems, ...problems],
      decide: (_, taking) => decideTargets(taking as readonly TargetEntry[]),
      traps: (checkpoint, decisions) => [...found.flatMap(({ groups }) => groups.traps(checkpoint, decisions)), ...found.flatMap((modifier, i) => replaced(modifier, found.slice(i + 1), checkpoint))],
    };
  },
};

interface ReadModifier { name: string; range: Range; groups: ReturnType<typeof readGroups> }

function readModifier(fields: Fields, range: Range, problems: DialectProblem[], holder: number): ReadModifier {
  if (fields.where === 'AWQModifier') {
    fields.report('ct/awq', 'warning', range, 'AWQModifier quantizes in older versions of llm-compressor; current ones take only its mappings and refuse targets and scheme. Move them to a QuantizationModifier behind it.');
  } else if (!fields.has('targets') && !fields.has('config_groups') && fields.value('scheme')?.kind !== 'map') {
    fields.report('ct/targets', 'info', range, 'Without targets or config_groups the targets are [Linear].');
  }
  if (fields.has('scheme') && fields.has('config_groups')) {
    fields.report('ct/no-scheme', 'error', fields.keyRange('scheme'), 'scheme and config_groups exclude each other: a ValueError. Keep one.');
  } else if (!fields.has('scheme') && !fields.has('config_groups')) {
    fields.report('ct/no-scheme', 'error', range, 'Neither scheme nor config_groups says how to quantize.');
  }
  return { name: fields.where, range, groups: readGroups(fields, problems, holder, solvingOf(fields)) };
}

function solvingOf(fields: Fields): Solving {
  switch (fields.where) {
    case 'GPTQModifier': {
      const [order, damping] = [fields.scalar('actorder'), fields.scalar('dampening_frac')];
      return { parts: { solver: { ...gptqSolver, actOrder: order !== null && order !== false, damping: typeof damping === 'number' && damping > 0 ? damping : gptqSolver.damping } }, near: [] };
    }
    case 'AutoRoundModifier': return { parts: {}, near: ['it learns the rounding; here it is to the nearest level'] };
    case 'AWQModifier': return { parts: { smooth: { kind: 'search', steps: 20 } }, near: ['its channel scales are found by AWQ\'s search'] };
    default: return { parts: {}, near: [] };
  }
}

/** Layers of a modifier that later ones take too: their scheme is set anew. */
function replaced({ name, range, groups }: ReadModifier, later: readonly ReadModifier[], checkpoint: Checkpoint): DialectProblem[] {
  const takes = ({ entries }: ReadModifier['groups'], layer: Layer): boolean => entries.some((entry) => !entry.ignored && entry.takes(layer)) && !entries.some((entry) => entry.ignored && entry.takes(layer));
  return later.flatMap((other) => {
    const both = checkpoint.layers.filter((layer) => takes(groups, layer) && takes(other.groups, layer));
    return both.length === 0 ? [] : [problem('ct/several-modifiers', 'info', range,
      `${other.name} in line ${other.range.start.line + 1} takes ${describeShare(both, checkpoint)} of this ${name} too, such as "${both[0]?.name ?? ''}": the later modifier sets their scheme anew.`)];
  });
}

/** Wherever they stand: directly, in a list, or in `<stage>: <group>_modifiers:`. */
function modifiers(node: TreeNode | null | undefined, depth = 0): Entry[] {
  if (!node || depth > 4 || node.kind === 'scalar') {
    return [];
  }
  if (node.kind === 'list') {
    return node.items.flatMap((item) => modifiers(item, depth + 1));
  }
  return node.entries.flatMap((entry) => (quantizes.test(entry.key) && (find(entry.value, 'targets') ?? find(entry.value, 'scheme') ?? find(entry.value, 'config_groups') ?? find(entry.value, 'ignore')) ?
    [entry] : modifiers(entry.value, depth + 1)));
}
