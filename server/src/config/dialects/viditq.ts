/** ViDiT-Q's YAML: bits for the whole model (2024), `remain_fp_regex` of its successors, and files that give bits layer by layer. */
import type { Layer } from '../../protocol';
import { find } from '../tree';
import { kept, problem, quantized } from './dialect';
import type { Dialect, DialectEntry, DialectFile, DialectProblem } from './dialect';
import { Fields } from './fields';
import { regexOrProblem } from './patterns';

export const viditq: Dialect = {
  id: 'vidit-q', title: 'ViDiT-Q',
  file: 'YAML with `quant.weight.quantizer.n_bits`, `remain_fp_regex`, or bits layer by layer',
  rule: '`remain_fp_regex` is an expression for `re.search` on the whole name; files of bits hold exact names with `model.` in front.',
  unmatched: 'Passed over without a word.',
  codes: ['viditq/'],
  detect: (file) => weightQuantizer(file) !== undefined || find(file.root, 'remain_fp_regex') !== undefined || levels(file) !== undefined,
  parse(file) {
    const problems: DialectProblem[] = [];
    if (!file.root || file.root.kind !== 'map') {
      return { entries: [], otherwise: kept, unmatched: 'ignored', problems: file.problems };
    }
    const root = new Fields(file.root, 'the config', problems, file.document);
    const byLevel = levels(file);
    if (byLevel) {
      return { entries: byLevel.flatMap((name) => layerBits(root, name)), otherwise: quantized('as the config says', null, null), unmatched: 'ignored', problems: [...file.problems, ...problems] };
    }
    const quant = root.map('quant') ?? root;
    const [weight, activation] = [readBits(quant, 'weight', root), readBits(quant, 'activation', root) ?? readBits(quant, 'act', root)];
    checkName(file, weight?.bits, problems, quant);
    emptySections(quant);
    const entries = root.names('remain_fp_regex', true).flatMap(({ value, range }): DialectEntry[] => {
      const regex = regexOrProblem(value, 'python', range, problems);
      return [{ text: value, range, treatment: kept, isPath: false, elsewhere: !regex, takes: ({ name }: Layer) => regex?.search(name) === true }];
    });
    return { entries, otherwise: quantized(`int${weight?.bits ?? '?'} weights, int${activation?.bits ?? '?'} activations`, weight?.bits ?? null, activation?.bits ?? null), unmatched: 'ignored', problems: [...file.problems, ...problems] };
  },
};

function weightQuantizer({ root }: DialectFile): unknown {
  return find(find(find(find(root, 'quant')?.value, 'weight')?.value, 'quantizer')?.value, 'n_bits');
}

/** Keys of a file that maps levels such as `14-10` to layers and their bits. */
function levels({ root }: DialectFile): string[] | undefined {
  const all = root?.kind === 'map' ? root.entries : [];
  const isBits = all.every(({ value }) => value.kind === 'map' && value.entries.length > 0 && value.entries.every((entry) => /^model\./.test(entry.key) && entry.value.kind === 'scalar' && typeof entry.value.value === 'number'));
  return all.length > 0 && isBits ? all.map(({ key }) => key) : undefined;
}

/** Exact names, `model.` in front as the tool's wrapper has it. */
function layerBits(root: Fields, level: string): DialectEntry[] {
  return (root.map(level)?.node.entries ?? []).map(({ key, keyRange, value }) => {
    const bits = value.kind === 'scalar' ? Number(value.value) : NaN;
    if (!Number.isInteger(bits) || bits < 2 || bits > 16) {
      root.report('viditq/bits', 'error', value.range, `Bits go from 2 to 16, not ${String(bits)}.`);
    }
    return { text: key, range: keyRange, treatment: quantized(`${bits} bits`, bits, null), isPath: true, takes: ({ name }) => name === key || name === key.slice('model.'.length), matchesNothing: 'Names are exact, and those of the original code: attn.q, attn.proj, mlp.fc1.' };
  });
}

function readBits(quant: Fields, part: string, root: Fields): { bits: number } | undefined {
  const holder = quant.map(part);
  const quantizer = holder?.map('quantizer') ?? holder;
  const bits = quantizer?.number('n_bits');
  if (!quantizer || bits === undefined) {
    return undefined;
  }
  const mixed = root.list('mixed_precision')?.flatMap((item) => (item.kind === 'scalar' && typeof item.value === 'number' ? [item.value] : []));
  if (!Number.isInteger(bits) || bits < 2 || bits > 16) {
    quantizer.report('viditq/bits', 'error', quantizer.range('n_bits'), `n_bits goes from 2 to 16, not ${bits}.`);
  } else if (mixed && mixed.length > 0 && !mixed.includes(bits)) {
    quantizer.report('viditq/mixed-precision', 'error', quantizer.range('n_bits'), `n_bits ${bits} is not one of mixed_precision: ${mixed.join(', ')}.`);
  }
  return { bits };
}

/** A file called w4a8.yaml that says 6 bits is a copy that somebody forgot to change. */
function checkName({ name }: DialectFile, bits: number | undefined, problems: DialectProblem[], quant: Fields): void {
  const [claim, written] = /(?:^|[^a-z])w(\d+)a\d+/i.exec(name) ?? [];
  const quantizer = quant.map('weight')?.map('quantizer');
  if (claim !== undefined && bits !== undefined && Number(written) !== bits && quantizer) {
    problems.push(problem('viditq/file-name', 'warning', quantizer.range('n_bits'), `The file is called ${name}, but weights have ${bits} bits.`));
  }
}

/** Keys whose values are all commented out are null, which is not the same as left out. */
function emptySections(quant: Fields): void {
  for (const part of ['weight', 'activation']) {
    const holder = quant.map(part);
    for (const [fields, key] of [[holder, 'optimization'], [holder?.map('quantizer'), 'softmax']] as const) {
      if (fields?.has(key) && fields.scalar(key) === null) {
        fields.report('viditq/empty-section', 'info', fields.keyRange(key), `"${key}" holds nothing, so it is null, not an empty mapping.`);
      }
    }
  }
}
