/** llm-compressor recipes: stages of modifiers, of which those that quantize have targets, a scheme or groups, and a list to ignore. */
import type { Entry, TreeNode } from '../tree';
import { find } from '../tree';
import { readGroups } from './compressedTensors';
import { kept } from './dialect';
import type { Dialect, DialectProblem } from './dialect';
import { Fields } from './fields';

const quantizes = /^(?:Quantization|GPTQ|AutoRound)Modifier$/;

export const llmCompressor: Dialect = {
  id: 'llm-compressor', title: 'llm-compressor recipe',
  file: 'YAML with `QuantizationModifier`, `GPTQModifier` or `AutoRoundModifier`',
  rule: 'As compressed-tensors: `re:` starts an expression anchored at the start only; anything else is the whole name of a layer or of a class.',
  unmatched: 'Passed over without a word.',
  codes: ['ct/'],
  detect: ({ root }) => modifiers(root).length > 0,
  parse(file) {
    const problems: DialectProblem[] = [];
    const [first, ...more] = modifiers(file.root);
    if (first?.value.kind !== 'map') {
      return { entries: [], otherwise: kept, unmatched: 'ignored', problems: file.problems };
    }
    const fields = new Fields(first.value, first.key, problems, file.document);
    for (const { keyRange } of more) {
      fields.report('ct/several-modifiers', 'info', keyRange, `A second modifier that quantizes; the entries of ${first.key} alone are counted.`);
    }
    if (!fields.has('targets') && !fields.has('config_groups')) {
      fields.report('ct/targets', 'info', first.keyRange, 'Without targets or config_groups the targets are [Linear].');
    }
    if (!fields.has('scheme') && !fields.has('config_groups')) {
      fields.report('ct/no-scheme', 'error', first.keyRange, 'Neither scheme nor config_groups says how to quantize.');
    }
    return { ...readGroups(fields, problems), problems: [...file.problems, ...problems] };
  },
};

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
