/** convert_to_quant's `--layer-config`: expressions on layer names, the most specific of which decides. */
import type { Layer } from '../../protocol';
import { find } from '../tree';
import type { Entry } from '../tree';
import { kept, problem, quantized } from './dialect';
import type { Decision, Dialect, DialectEntry, DialectProblem, Treatment } from './dialect';
import { named } from './field';
import type { Field, NameRule } from './field';
import { Fields } from './fields';
import { expressions } from './offers';
import { regexOrProblem } from './patterns';
import { compileRegex } from './regex';
import { equivalent, float, int } from './recipes';
import type { Equivalent } from './recipes';

const squareBlocks = 'its scales are for blocks of 64 × 64, these for groups of 64 within a row';
const fp8Inputs = 'the scale of its inputs comes from the file or the run time, here every tensor has its own';
/** Bits of weights and activations. In the order in which an export prefers them. */
export const convertToQuantFormats: Readonly<Record<string, readonly [weights: number, activations: number, as: Equivalent]>> = {
  float8_e4m3fn: [8, 8, equivalent(float('fp8', 'tensor'), float('fp8', 'tensor'), [fp8Inputs])], float8_e4m3fn_rowwise: [8, 8, equivalent(float('fp8', 'row'), float('fp8', 'row'), [fp8Inputs])],
  float8_e4m3fn_blockwise: [8, 8, equivalent(float('fp8', 64), float('fp8', 'row'), [squareBlocks, fp8Inputs])], float8_e4m3fn_block3d: [8, 8, equivalent(float('fp8', 64), float('fp8', 'row'), [fp8Inputs])],
  int8_blockwise: [8, 8, equivalent(int(8, 128), int(8, 128), ['its scales are for blocks of 128 × 128, these for groups of 128 within a row'])], int8_tensorwise: [8, 8, equivalent(int(8, 'tensor'), int(8))],
  nvfp4: [4, 4, equivalent(float('nvfp4'), float('nvfp4'))], mxfp8: [8, 8, equivalent(float('mxfp8'), float('mxfp8'))], hybrid_mxfp8: [8, 8, equivalent(float('mxfp8'), float('mxfp8'), ['it has one scale for the tensor besides'])],
};

interface LayerEntry extends DialectEntry { tier: number; literal: number }

const keyRule: NameRule = { takes: (entry) => { const regex = compileRegex(entry, 'python'); return ({ name }) => regex.search(name); }, offers: expressions('', '$', ['', '']) };
const settings: Field = {
  type: 'map', doc: 'What becomes of these layers.',
  fields: {
    format: { type: 'text', values: named(...Object.keys(convertToQuantFormats)), refusal: ['ctq/format', 'error'], doc: 'What weights become.' }, skip: { type: 'flag', default: false, doc: 'Keeps them; `format` is not needed then.' },
    full_precision_matrix_mult: { type: 'flag', doc: 'Multiplies in 16 bits.' }, block_size: { type: 'number', examples: [128], doc: 'Of block-wise formats.' }, simple: { type: 'flag', doc: 'Rounds to nearest instead of learning the rounding.' },
  },
};
const rootField: Field = {
  type: 'map', doc: 'Expressions on names of layers; the most specific decides.', source: 'convert_to_quant, config/layer_config.py (2026-08)', names: keyRule, each: settings,
  fields: { _default: { ...settings, doc: 'Layers that no expression takes.' }, _exclusions: { type: 'any', silent: true, doc: 'Written by the template; not read.' } },
};

export const convertToQuant: Dialect = {
  root: () => rootField,
  id: 'convert-to-quant', title: 'convert_to_quant layer config',
  file: 'JSON of expressions, each with `format` or `skip`',
  rule: 'A key is an expression for `re.search` on the name without `.weight`; of those that match, the most specific decides by the length of its plain text, and `_default` takes the rest.',
  unmatched: 'Passed over without a word.',
  codes: ['ctq/'],
  detect: ({ form, root }) => form === 'json' && root?.kind === 'map' && root.entries.length > 0 && root.entries.every(({ key, value }) => key.startsWith('_') || find(value, 'format') !== undefined || find(value, 'skip') !== undefined)
    && root.entries.some(({ key, value }) => (key === '_default' || !key.startsWith('_')) && (find(value, 'format') !== undefined || find(value, 'skip') !== undefined)),
  parse(file) {
    const problems: DialectProblem[] = [];
    const all = file.root?.kind === 'map' ? file.root.entries : [];
    const entries = all.filter(({ key }) => !key.startsWith('_')).flatMap((entry) => read(entry, problems, file.document));
    const base = all.find(({ key }) => key === '_default');
    return {
      entries, otherwise: base ? treatmentOf(base, problems, file.document) : quantized('as the command line says', null, null), unmatched: 'ignored', problems: [...file.problems, ...problems],
      decide: (_, taking) => decide(taking as readonly LayerEntry[], base ? treatmentOf(base, [], file.document) : quantized('as the command line says', null, null)),
      traps: ({ layers }) => (entries.some(({ text }) => /_blocks|^\^?layers|\.attn|img_|txt_/.test(text)) || base ? embedders(layers, entries, base) : []),
    };
  },
};

/** Lowest tier, then the longest literal text, then the first in the file. */
function decide(taking: readonly LayerEntry[], otherwise: Treatment): Omit<Decision, 'layer'> {
  const [best] = [...taking].sort((a, b) => a.tier - b.tier || b.literal - a.literal);
  return best ? { entry: best, treatment: best.treatment } : { entry: null, treatment: otherwise };
}

/**
 * The tool's score. Escaped characters and metacharacters do not count, brackets and what stands in them do. The first tier is for expressions with `\d` and 8 or more
 * other characters; digits written out do not count as numbers, although the tool's comment says so.
 */
export function specificity(pattern: string): { tier: number; literal: number } {
  const literal = pattern.replace(/\\[^\n]|[.*+?^${}|\\]/g, '').length;
  return { tier: pattern.includes('\\d') && literal >= 8 ? 0 : 1, literal };
}

function read(entry: Entry, problems: DialectProblem[], document: ConstructorParameters<typeof Fields>[3]): LayerEntry[] {
  const regex = regexOrProblem(entry.key, 'python', entry.keyRange, problems);
  const treatment = treatmentOf(entry, problems, document);
  return [{
    text: entry.key, range: entry.keyRange, treatment, isPath: false, ...specificity(entry.key), elsewhere: !regex,
    takes: ({ name }: Layer) => regex?.search(name) === true, matchesNothing: 'Names are those of the file, without .weight, and the expression may stand anywhere in them.',
  }];
}

function treatmentOf({ key, keyRange, value }: Entry, problems: DialectProblem[], document: ConstructorParameters<typeof Fields>[3]): Treatment {
  if (value.kind !== 'map') {
    problems.push(problem('dialect/type', 'error', value.range, `"${key}" must be a mapping with "format" or "skip".`));
    return kept;
  }
  const fields = new Fields(value, `"${key}"`, problems, document, settings);
  if (fields.flag('skip') === true) {
    return kept;
  }
  const format = fields.text('format');
  if (format === undefined || format === '') {
    fields.report('ctq/format', 'error', format === undefined ? keyRange : fields.range('format'), `"${key}" needs a format, or "skip": true.`);
    return kept;
  }
  const [weights, activations, as] = convertToQuantFormats[format] ?? [null, null];
  return quantized(format, weights, activations, as);
}

/** Without a preset switch the tool quantizes embedders and final layers too, which breaks detection and pictures. */
function embedders(layers: readonly Layer[], entries: readonly LayerEntry[], base: Entry | undefined): DialectProblem[] {
  const open = layers.filter((layer) => (layer.role === 'embedder' || layer.role === 'final') && !entries.some((entry) => entry.takes(layer)));
  return base && open.length > 0 ? [problem('ctq/embedders', 'warning', base.keyRange,
    `"_default" quantizes ${open.length} embedders and final layers, such as "${open[0]?.name ?? ''}", unless a model switch of the command line (--wan, --zimage and so on) keeps them. Add {"skip": true} for them to be sure.`)] : [];
}
