/** ViDiT-Q's YAML: bits for the whole model (2024), `remain_fp_regex` of its successors, and files that give bits layer by layer. */
import type { Layer } from '../../protocol';
import { find } from '../tree';
import { kept, problem, quantized } from './dialect';
import type { Decision, Dialect, DialectEntry, DialectFile, DialectProblem, Treatment } from './dialect';
import type { Located } from '../parse';
import { named } from './field';
import type { Field, FieldTable, NameRule } from './field';
import { Fields } from './fields';
import { expressions, names } from './offers';
import { regexOrProblem } from './patterns';
import { compileRegex } from './regex';

const search: NameRule = { doc: '`re.search` on the whole name.', takes: (entry) => { const regex = compileRegex(entry, 'python'); return ({ name }) => regex.search(name); }, offers: expressions('', '$', ['', '']) };
const bits: Field = { type: 'any', examples: [4, 6, 8], doc: 'From 2 to 16, and one of `mixed_precision` where that is set.' };
const smoothQuant: Field = { type: 'map', doc: 'Smoothing.', fields: { enable: { type: 'flag', doc: 'Whether.' }, channel_wise_scale_type: { type: 'text', open: true, values: named('dynamic', 'momentum_act_max'), doc: 'How scales are found.' }, momentum: { type: 'number', doc: 'Of running ranges.' }, alpha: { type: 'number', examples: [0.5], doc: 'Share of the activations.' }, timerange: { type: 'list', doc: 'Steps with a scale of their own.' }, layer_name_regex: { type: 'text', names: search, doc: 'Layers that are smoothed.' } } };
const quantizer = (more: FieldTable): Field => ({
  type: 'map', doc: 'Of values.',
  fields: {
    n_bits: bits, per_group: { type: 'text', open: true, values: named('channel', 'token', 'tensor', 'group'), doc: 'What shares a scale.' }, scale_method: { type: 'text', open: true, values: named('min_max', 'mse'), doc: 'How ranges are found.' }, sym: { type: 'flag', doc: 'No zero points.' },
    softmax: { type: 'any', doc: 'For the product of attention.' }, ...more,
  },
});
const weight: Field = { type: 'map', doc: 'Weights.', fields: { quantizer: quantizer({ round_mode: { type: 'text', open: true, values: named('nearest', 'learned_hard_sigmoid'), doc: 'How values are rounded.' } }), n_bits: bits, optimization: { type: 'any', doc: 'How rounding is learned; null when all lines are commented out.' } } };
const activation: Field = { type: 'map', doc: 'Activations.', fields: { quantizer: quantizer({ dynamic: { type: 'flag', doc: 'Ranges are found while the model runs.' }, running_stat: { type: 'flag', doc: 'Ranges are averaged.' }, smooth_quant: smoothQuant }), n_bits: bits, optimization: { type: 'any', doc: 'How ranges are learned.' } } };
const quantFields: FieldTable = { weight, activation, act: { ...activation, silent: true } };
const byRegex = (doc: string): Field => ({ type: 'map', doc, fields: { layer_name_regex: { type: 'text', required: true, names: search, doc: 'Layers that get it. An empty one is found in every name.' } } });
const perLevel: Field = { type: 'map', doc: 'Layers of each level.', fields: { layer_name_regex: { type: 'names', names: search, doc: 'One expression for each level: the first for 16 bits, then one for each of `n_bits`. Empty ones take nothing.' } } };
const rootField: Field = {
  type: 'map', doc: 'A config of ViDiT-Q.', source: 'ViDiT-Q (2024-08) and quant_utils of its successors',
  fields: {
    quant: { type: 'map', doc: 'How the model is quantized.', fields: quantFields }, ...quantFields, remain_fp_regex: { type: 'text', names: search, doc: 'Layers that stay as they are, whatever else takes them.' },
    smooth_quant: byRegex('SmoothQuant for some layers.'), quarot: byRegex('Rotations for some layers.'), viditq: byRegex('Smoothing and rotation for some layers.'),
    mixed_precision: { type: 'any', examples: [[4, 6, 8]], doc: 'Bits that layers may have; in files of quant_utils which layers have which.', fields: { weight: perLevel, act: perLevel } }, part_fp_list: { type: 'text', doc: 'A text file of layers that stay as they are.' },
    model: { type: 'map', doc: 'The model.', fields: { model_id: { type: 'text', doc: 'Its name.' }, model_type: { type: 'text', doc: 'Its kind.' } } }, calib_data: { type: 'map', doc: 'Calibration data.', fields: { path: { type: 'text', doc: 'Where it lies.' }, n_steps: { type: 'number', doc: 'Steps.' }, batch_size: { type: 'number', doc: 'Samples at once.' }, n_samples: { type: 'number', doc: 'Samples.' } } },
  },
};
/** A file that gives bits layer by layer. */
const levelsField: Field = {
  type: 'map', doc: 'Bits of layers, at one level of averages.', source: rootField.source ?? '',
  each: { type: 'map', doc: 'A level: names of layers with their bits.', names: { doc: 'Whole names, `model.` in front.', takes: (entry) => ({ name }) => name === entry || `model.${name}` === entry, offers: (checkpoint) => names(checkpoint).map((name) => `model.${name}`) }, each: bits },
};
import { layerRecipe, readRecipe } from './viditqRecipes';

export const viditq: Dialect = {
  root: (file) => (levels(file) ? levelsField : rootField),
  id: 'vidit-q', title: 'ViDiT-Q',
  file: 'YAML with `quant.weight.quantizer.n_bits`, `remain_fp_regex`, or bits layer by layer',
  rule: '`remain_fp_regex` and every `layer_name_regex` are expressions for `re.search`, found anywhere in the name; what `remain_fp_regex` finds is kept whatever the others say. Files of bits hold exact names with `model.` in front.',
  unmatched: 'Passed over without a word.',
  codes: ['viditq/'],
  detect: (file) => weightQuantizer(file) !== undefined || ['remain_fp_regex', ...methods].some((key) => find(file.root, key) !== undefined && (key === 'remain_fp_regex' || find(find(file.root, key)?.value, 'layer_name_regex') !== undefined)) || levels(file) !== undefined,
  parse(file) {
    const problems: DialectProblem[] = [];
    if (!file.root || file.root.kind !== 'map') {
      return { entries: [], otherwise: kept, unmatched: 'ignored', problems: file.problems };
    }
    const root = new Fields(file.root, 'the config', problems, file.document, levels(file) ? levelsField : rootField);
    const byLevel = levels(file);
    if (byLevel) {
      return { entries: byLevel.flatMap((name) => layerBits(root, name)), otherwise: quantized('as the config says', null, null), unmatched: 'ignored', problems: [...file.problems, ...problems] };
    }
    const quant = root.map('quant') ?? root;
    const [weight, activation] = [readBits(quant, 'weight', root), readBits(quant, 'activation', root) ?? readBits(quant, 'act', root)];
    checkName(file, weight?.bits, problems, quant);
    emptySections(quant);
    const entries = [...remaining(root, problems), ...mixedPrecision(root, weight?.levels ?? [], activation?.levels ?? [], problems), ...methods.flatMap((method) => methodEntry(root, method, problems))];
    const recipe = readRecipe(quant);
    const [w, a] = [weight?.bits ?? null, activation?.bits ?? null];
    const otherwise = quantized(`int${w ?? '?'} weights, int${a ?? '?'} activations`, w, a, recipe(w, a, []));
    const applied = (layer: Layer): { name: string; alpha: number | undefined }[] => entries.filter((entry) => entry.part === 'method' && entry.takes(layer)).map(({ treatment: { label } }) => { const alpha = root.peek(label)?.scalar('alpha'); return { name: label, alpha: typeof alpha === 'number' ? alpha : undefined }; });
    return { entries, otherwise, unmatched: 'ignored', problems: [...file.problems, ...problems], decide: (layer, taking) => withRecipe(decide(taking as readonly RegexEntry[], otherwise), recipe, applied(layer)),
      ...root.has('quant') ? { builtin: () => alwaysFull.map((text) => ({ text, range: root.keyRange('quant'), part: 'keep', bits: 16, treatment: kept, isPath: false, takes: ({ name }: Layer) => name.split('.')[0] === text, builtin: 'the list of ViDiT-Q\'s scripts' }) satisfies RegexEntry) } : {} };
  },
};

/** Of the newer form, from the one that gives way to the one that wins. */
const methods = ['smooth_quant', 'quarot', 'viditq'];
/** `fp_layer_list` of the scripts of 2024. */
const alwaysFull = ['x_embedder', 't_embedder', 't_block', 'y_embedder', 'csize_embedder', 'ar_embedder'];

interface RegexEntry extends DialectEntry { part: 'keep' | 'weight' | 'act' | 'method'; bits: number | null }

function regexEntry({ value, range }: Located<string>, part: RegexEntry['part'], treatment: Treatment, problems: DialectProblem[]): RegexEntry[] {
  const regex = regexOrProblem(value, 'python', range, problems);
  return [{ text: value, range, part, bits: treatment.weightBits, treatment, isPath: false, elsewhere: !regex, aside: part === 'method', takes: ({ name }: Layer) => regex?.search(name) === true }];
}

function remaining(root: Fields, problems: DialectProblem[]): RegexEntry[] {
  const value = root.text('remain_fp_regex');
  return value === undefined ? [] : regexEntry({ value, range: root.range('remain_fp_regex') }, 'keep', kept, problems);
}

/** Rotation or smoothing of some layers. An empty expression is found in every name. */
function methodEntry(root: Fields, method: string, problems: DialectProblem[]): RegexEntry[] {
  const fields = root.map(method);
  const value = fields?.text('layer_name_regex');
  if (fields && value === undefined) {
    fields.mustHave('layer_name_regex');
    return [];
  }
  if (fields && value === '') {
    fields.report('viditq/empty-regex', 'warning', fields.range('layer_name_regex'), `An empty expression is found in every name, so ${method} takes all layers. Remove the section if it is to take none.`);
  }
  return fields && value ? regexEntry({ value, range: fields.range('layer_name_regex') }, 'method', quantized(method, null, null), problems) : [];
}

/** Lists of expressions, one for each level: the first for 16 bits, the next for the first of `n_bits`, and so on. Empty ones take nothing. */
function mixedPrecision(root: Fields, weights: readonly number[], activations: readonly number[], problems: DialectProblem[]): RegexEntry[] {
  const lists: [part: 'weight' | 'act', levels: readonly number[]][] = [['weight', weights], ['act', activations]];
  return lists.flatMap(([part, bits]) => {
    const fields = root.map('mixed_precision')?.map(part);
    return (fields?.list('layer_name_regex') ?? []).flatMap((item, i) => {
      const value = item.kind === 'scalar' && typeof item.value === 'string' ? item.value : '';
      if (value === '') {
        return [];
      }
      const level = bits[i - 1];
      if (i > 0 && level === undefined) {
        fields?.report('viditq/mixed-index', 'error', item.range, `This is expression ${i + 1} of the list, but n_bits has ${bits.length} levels: the first is for 16 bits, then one for each of them.`);
      }
      const what = part === 'weight' ? 'weights' : 'activations';
      return regexEntry({ value, range: item.range }, i === 0 ? 'keep' : part, i === 0 ? kept : quantized(`int${level ?? '?'} ${what}`, part === 'weight' ? level ?? null : null, part === 'act' ? level ?? null : null), problems)
        .map((entry) => ({ ...entry, bits: level ?? null }));
    });
  });
}

/** What is kept before all; then the last expression of each list. */
function decide(taking: readonly RegexEntry[], otherwise: Treatment): Omit<Decision, 'layer'> {
  const keep = taking.find(({ part }) => part === 'keep');
  if (keep) {
    return { entry: keep, treatment: kept };
  }
  const [weight, act] = (['weight', 'act'] as const).map((part) => taking.filter((entry) => entry.part === part).at(-1));
  const [w, a] = [weight ? weight.bits : otherwise.weightBits, act ? act.bits : otherwise.activationBits];
  return { entry: weight ?? act ?? null, also: act ?? null, treatment: weight || act ? quantized(`int${w ?? '?'} weights, int${a ?? '?'} activations`, w, a) : otherwise };
}

/** Of what is quantized: bits and methods that belong to this layer. */
function withRecipe(decision: Omit<Decision, 'layer'>, recipe: ReturnType<typeof readRecipe>, applied: Parameters<ReturnType<typeof readRecipe>>[2]): Omit<Decision, 'layer'> {
  const { kind, label, weightBits, activationBits } = decision.treatment;
  return kind === 'keep' ? decision : { ...decision, treatment: quantized(label, weightBits, activationBits, recipe(weightBits, activationBits, applied)) };
}

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
    return { text: key, range: keyRange, treatment: quantized(`${bits} bits`, bits, null, layerRecipe(bits)), isPath: true, takes: ({ name }) => name === key || name === key.slice('model.'.length), matchesNothing: 'Names are exact, and those of the original code: attn.q, attn.proj, mlp.fc1.' };
  });
}

function readBits(quant: Fields, part: string, root: Fields): { bits: number | undefined; levels: number[] } | undefined {
  const holder = quant.map(part);
  const quantizer = holder?.map('quantizer') ?? holder;
  const written = quantizer?.value('n_bits');
  const items = written?.kind === 'list' ? written.items : written ? [written] : [];
  const levels = items.flatMap((item) => (item.kind === 'scalar' && typeof item.value === 'number' ? [{ bits: item.value, range: item.range }] : []));
  if (!quantizer || levels.length === 0) {
    return undefined;
  }
  const mixed = quant === root ? undefined : root.list('mixed_precision')?.flatMap((item) => (item.kind === 'scalar' && typeof item.value === 'number' ? [item.value] : []));
  for (const { bits, range } of levels) {
    if (!Number.isInteger(bits) || bits < 2 || bits > 16) {
      quantizer.report('viditq/bits', 'error', range, `n_bits goes from 2 to 16, not ${bits}.`);
    } else if (mixed && mixed.length > 0 && !mixed.includes(bits)) {
      quantizer.report('viditq/mixed-precision', 'error', range, `n_bits ${bits} is not one of mixed_precision: ${mixed.join(', ')}.`);
    }
  }
  return { bits: levels.length === 1 ? levels[0]?.bits : undefined, levels: levels.map(({ bits }) => bits) };
}

/** A file called w4a8.yaml that says 6 bits is a copy that somebody forgot to change. */
function checkName({ name }: DialectFile, bits: number | undefined, problems: DialectProblem[], quant: Fields): void {
  const [claim, written] = /(?:^|[^a-z])w(\d+)a\d+/i.exec(name) ?? [];
  const weight = quant.map('weight');
  const quantizer = weight?.map('quantizer') ?? weight;
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
