import type { Checkpoint, Layer, TensorInfo } from '../../protocol';
import { rangeOf } from '../tree';
import { problem, quantized } from './dialect';
import type { Decision, Dialect, DialectProblem } from './dialect';
import { describeShare } from './evaluate';
import { ggmlName, ggmlTypes } from './ggmlTypes';
import { explainOthers, vainRules } from './otherTensors';
import { blockTraps, isRuleText, pieces, tensorRule, typeEntry, typeField } from './tensorTypes';
import type { TypeEntry } from './tensorTypes';

/** Models whose files with diffusers names city96's converter refuses. */
const refused = /^(?:Flux|SD3|AuraFlow)Transformer2DModel$/;

/** A file for `--tensor-type-file`: `expression=type`, split at white space. Expressions are lower-cased; the 2026 code stops at the first match, that of 2025 took the last. */
export const llamaQuantize: Dialect = {
  root: () => typeField, names: tensorRule((expression) => expression.toLowerCase()),
  id: 'llama-quantize', title: 'llama-quantize tensor types',
  file: 'Text of `expression=type`, parted by white space, as for `--tensor-type-file`',
  rule: '`std::regex_search` with the lower-cased expression on the name of the tensor; of several rules that match, the first counts in versions of 2026, the last in those of 2025.',
  unmatched: 'Passed over without a word.',
  codes: ['llama/', 'ggml/'],
  detect: isRuleText,
  parse(file) {
    const problems: DialectProblem[] = [];
    const entries = pieces(file.document.getText(), /\s+/g).flatMap(({ text: rule, start }): TypeEntry[] => {
      const range = rangeOf(file.document, start, start + rule.length);
      const at = rule.indexOf('=');
      const type = ggmlName(rule.slice(at + 1));
      if (at <= 0) {
        problems.push(problem('llama/malformed', 'error', range, `"${rule}" is no expression=type; llama-quantize stops. Expressions hold no spaces: write \\s or a dot for one.`));
        return [];
      }
      if (!type) {
        problems.push(problem('llama/type', 'error', range, `"${rule.slice(at + 1)}" is no type of ggml; llama-quantize stops.`));
        return [];
      }
      const pattern = rule.slice(0, at);
      if (/[A-Z]/.test(pattern)) {
        problems.push(problem('llama/lower-case', 'warning', range, `Expressions are lower-cased before they are compiled: "${pattern}" becomes "${pattern.toLowerCase()}", so \\D and [A-Z] change their meaning and names with capitals never match.`));
      }
      return typeEntry(file, rule, pattern.toLowerCase(), start, rule.length, type, problems);
    });
    const [first] = entries;
    if (first) {
      problems.push(problem('llama/ignored', 'hint', first.range, 'Some versions ignore rules whose type is the base type (llama.cpp issue 22544, fixed in pull request 22572), all rules with --pure (until 25716), and all when the base type is unquantized. Nothing reports unused rules.'));
    }
    return {
      entries, otherwise: quantized('as the base type says', null, 16), unmatched: 'ignored', problems: [...file.problems, ...problems],
      prepare: (checkpoint) => explainOthers(entries, checkpoint, isLeft, 'llama-quantize converts tensors of two dimensions whose names end in "weight", norms apart; others stay as city96\'s converter wrote them, vectors and tensors of up to 1,024 elements in F32.'),
      traps: (checkpoint, decisions) => {
        const turned = new Set(isUnet(checkpoint) ? checkpoint.layers.filter(isReshaped) : []);
        return [...overlaps(entries, checkpoint), ...reshaped(entries, decisions.filter(({ layer }) => turned.has(layer)), checkpoint),
          ...blockTraps(entries, decisions.filter(({ layer }) => !turned.has(layer)), checkpoint, 'they become F16 with a warning.'), ...refusals(entries, checkpoint, decisions), ...writerLimits(entries[0], checkpoint), ...vainRules(entries)];
      },
    };
  },
};

/** llama.cpp, `tensor_allows_quantization` (2026-08); of models of pictures City96's build takes matrices alone. */
function isLeft({ name, shape }: TensorInfo): boolean {
  return shape.length !== 2 || !name.endsWith('weight') || name.includes('_norm.weight');
}

/** SD1 and SDXL, as city96's converter knows them by names (`keys_detect` of those with `shape_fix`). */
function isUnet({ tensors }: Checkpoint): boolean {
  const names = new Set(tensors.map(({ name }) => name));
  return names.has('down_blocks.0.downsamplers.0.conv.weight') || ['input_blocks.3.0.op.weight', 'input_blocks.6.0.op.weight'].every((name) => names.has(name));
}

/** Into rows of 256 (`REARRANGE_THRESHOLD`). */
function isReshaped({ params, inFeatures }: Layer): boolean {
  return params >= 512 && params % 256 === 0 && inFeatures % 256 !== 0;
}

function reshaped(entries: readonly TypeEntry[], decisions: readonly Decision[], checkpoint: Checkpoint): DialectProblem[] {
  return entries.flatMap((entry) => {
    const turned = decisions.filter((decision) => decision.entry === entry && (ggmlTypes[entry.type]?.[1] ?? 1) === 256).map(({ layer }) => layer);
    return turned.length === 0 ? [] : [problem('llama/reshaped', 'info', entry.range,
      `Of SD1 and SDXL city96's converter lays ${describeShare(turned, checkpoint)}, such as "${turned[0]?.name ?? ''}" (${turned[0]?.inFeatures ?? 0} inputs), out in rows of 256, so that ${entry.type} fits: a block then runs from one row of the weight into the next, and only readers that know comfy.gguf.orig_shape put it back.`)];
  });
}

/** Rules that give one layer different types: which one counts depends on the version. */
function overlaps(entries: readonly TypeEntry[], checkpoint: Checkpoint): DialectProblem[] {
  return entries.flatMap((later, i) => entries.slice(0, i).flatMap((earlier) => {
    const both = earlier.type === later.type ? [] : checkpoint.layers.filter((layer) => earlier.takes(layer) && later.takes(layer));
    return both.length === 0 ? [] : [problem('llama/overlap', 'warning', later.range,
      `${describeShare(both, checkpoint)}, such as "${both[0]?.name ?? ''}", are taken by "${earlier.text}" too: versions of 2025 (pull request 14572) take the last rule, those of 2026 the first.`)];
  }));
}

function refusals(entries: readonly TypeEntry[], { architecture, layers }: Checkpoint, decisions: readonly Decision[]): DialectProblem[] {
  const [first] = entries;
  const iq = architecture === 'unknown' ? [] : entries.filter(({ type }) => type.startsWith('iq')).map(({ range, type }) =>
    problem('llama/iq', 'warning', range, `City96's build for diffusion models refuses IQ types such as ${type}.`));
  const named = refused.test(architecture) && layers.some(({ name }) => name.startsWith('transformer_blocks.')) && decisions.length > 0;
  return [...iq, ...first && named ? [problem('llama/diffusers-names', 'warning', first.range,
    'City96\'s converter refuses files of this model with diffusers names: convert one with the original names (double_blocks…), and write the rules for those.')] : []];
}

/** What city96's converter cannot write: tensors of five dimensions, long names. */
function writerLimits(first: TypeEntry | undefined, { architecture, tensors }: Checkpoint): DialectProblem[] {
  if (!first || architecture === 'unknown') {
    return [];
  }
  const deep = tensors.find(({ shape }) => shape.length > 4);
  const long = tensors.find(({ name }) => Buffer.byteLength(name) > 127);
  return [
    ...deep ? [problem('llama/five-dimensions', 'warning', first.range,
      `"${deep.name}" has ${deep.shape.length} dimensions, GGUF takes four: City96's converter writes it to a file beside, and without fix_5d_tensors.py, which puts it back after quantizing, the result does not work.`)] : [],
    ...long ? [problem('llama/long-name', 'error', first.range, `The name "${long.name}" has ${Buffer.byteLength(long.name)} characters; City96's build takes 127, ggml's own 63.`)] : [],
  ];
}
