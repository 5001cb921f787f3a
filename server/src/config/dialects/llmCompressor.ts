/** llm-compressor recipes: stages of modifiers, of which those that quantize have targets, a scheme or groups, and a list to ignore. */
import type { Checkpoint, Layer, Range } from '../../protocol';
import type { Entry, TreeNode } from '../tree';
import { find } from '../tree';
import { readGroups } from './compressedTensors';
import { decideTargets } from './compressedTensorsTargets';
import type { TargetEntry } from './compressedTensorsTargets';
import { kept, problem } from './dialect';
import type { Dialect, DialectProblem } from './dialect';
import { describeShare } from './evaluate';
import { Fields } from './fields';

const quantizes = /^(?:Quantization|GPTQ|AutoRound|AWQ)Modifier$/;

export const llmCompressor: Dialect = {
  id: 'llm-compressor', title: 'llm-compressor recipe',
  file: 'YAML with `QuantizationModifier`, `GPTQModifier` or `AutoRoundModifier`',
  rule: 'As compressed-tensors: `re:` starts an expression anchored at the start only; anything else is the whole name of a layer or of a class.',
  unmatched: 'Passed over without a word.',
  codes: ['ct/'],
  detect: ({ root }) => modifiers(root).length > 0,
  parse(file) {
    const problems: DialectProblem[] = [];
    const found = modifiers(file.root).flatMap(({ key, keyRange, value }, holder) => (value.kind === 'map' ? [readModifier(new Fields(value, key, problems, file.document), keyRange, problems, holder)] : []));
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
  return { name: fields.where, range, groups: readGroups(fields, problems, holder) };
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
