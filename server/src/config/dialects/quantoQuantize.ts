/** optimum-quanto called directly: `quantize(transformer, weights=qint8, exclude="proj_out")`, which replaces layers in place, and `freeze`, which rounds their weights. */
import type { Checkpoint, Layer } from '../../protocol';
import type { Located } from '../parse';
import { kept, problem } from './dialect';
import type { Decision, Dialect, DialectEntry, DialectFile, DialectProblem, Treatment } from './dialect';
import { describeShare } from './evaluate';
import type { Field, NameRule } from './field';
import { Fields } from './fields';
import { compileFnmatch } from './fnmatch';
import { globs, names } from './offers';
import { treatmentAs, typesField } from './quantoMap';

const { none: _, ...types } = typesField.values ?? {};
const byGlob: NameRule = { takes: (entry) => { const takes = compileFnmatch(entry); return ({ name }) => takes(name); }, offers: (checkpoint) => [...globs('')(checkpoint), ...names(checkpoint)] };
const typeField = (doc: string): Field => ({ ...typesField, values: types, doc });

const root: Field = {
  type: 'map', doc: 'Replaces layers by quantized ones, in place.', source: 'optimum-quanto 0.2, `quantize`',
  fields: {
    model: { type: 'any', required: true, doc: 'A model, such as `pipe.transformer`; no pipeline.' },
    weights: typeField('What weights become, as an object of optimum-quanto or by its name. 8 bits have one scale per row, fewer have groups of 128 inputs (96, 64 or 32 where that does not divide them).'),
    activations: typeField('What inputs and outputs become. Their scales are found inside of `Calibration()`.'),
    optimizer: { type: 'any', doc: 'How scales are found; by the largest value unless said.' },
    include: { type: 'names', names: byGlob, doc: 'Layers to quantize: one pattern, or a list. Without it all.' },
    exclude: { type: 'names', names: byGlob, doc: 'Layers to keep, also of those that `include` takes.' },
  },
};

export const quantoQuantize: Dialect = {
  root: () => root,
  id: 'optimum-quanto-quantize', title: 'optimum-quanto in Python',
  file: 'a call of `quantize` of `optimum.quanto` in Python',
  rule: '`include` and `exclude` are compared by `fnmatch` with whole names: `*` takes dots too, and a name without it is that one layer; `exclude` wins.',
  unmatched: 'Passed over without a word.',
  codes: ['optimum-quanto/'],
  detect: ({ python }) => python?.name === 'quantize',
  parse(file) {
    const problems: DialectProblem[] = [];
    if (file.root?.kind !== 'map') {
      return { entries: [], otherwise: kept, unmatched: 'ignored', problems };
    }
    const fields = new Fields(file.root, 'quantize', problems, file.document, root);
    fields.check('error', 'It is a TypeError.');
    const [weights, activations] = [fields.text('weights', 'qmap/type'), fields.text('activations', 'qmap/type')];
    checkCall(fields, file);
    const base = treatmentAs(weights ?? 'none', activations ?? 'none');
    const isIncluded = fields.names('include', true);
    const entries = [...fields.names('exclude', true).map((name) => entryOf(name, kept)), ...isIncluded.map((name) => entryOf(name, base))];
    return {
      entries, otherwise: isIncluded.length > 0 ? kept : base, unmatched: 'ignored', problems,
      traps: (checkpoint, decisions) => (weights === 'qint4' || weights === 'qint2' ? wholeRows(fields, decisions, checkpoint) : []),
    };
  },
};

function entryOf({ value, range }: Located<string>, treatment: Treatment): DialectEntry {
  const isName = !/[*?[]/.test(value);
  return { text: value, range, treatment, isPath: isName, takes: byGlob.takes(value), ...isName ? { matchesNothing: `It is compared with whole names of layers. "${value}.*" would take what is inside of it, "*.${value}" every layer of that name inside of others.` } : {} };
}

/** What else the file has to do for it. */
function checkCall(fields: Fields, { python, part }: DialectFile): void {
  const [{ subject, open }, at] = [python ?? {}, part?.at];
  if (!subject || !at) {
    return;
  }
  const is = (name: string) => (called: string): boolean => called.startsWith('optimum.quanto.') && called.endsWith(`.${name}`);
  if (subject.kind === 'pipeline') {
    fields.report('optimum-quanto/pipeline', 'error', subject.range, 'A pipeline has no modules of its own: an AttributeError. Hand over a component, such as its transformer.');
  }
  if (fields.has('weights') ? fields.source('weights') === 'None' : !open) {
    fields.report('optimum-quanto/no-weights', 'error', at, 'Without weights every layer is replaced by one that has none: a TypeError when the model runs. Write weights=qint8 or another type.');
  }
  // The classes for whole models do it themselves.
  if (!/\.Quantized\w+\.quantize$/.test(subject.callee) && ![...subject.handedTo].some(is('freeze'))) {
    fields.report('optimum-quanto/freeze', 'hint', at, 'This file never calls freeze for this model: until then its weights stay in high precision, in memory and when saved, and are rounded at every step.');
  }
  if (typeof fields.scalar('activations') === 'string' && ![...subject.called].some(is('Calibration'))) {
    fields.report('optimum-quanto/calibration', 'warning', fields.range('activations'), 'This file has no Calibration, which finds the ranges of activations: without it their scales stay 1, and larger values are cut off. Run the model once inside of "with Calibration():" before freeze.');
  }
}

/** Rows longer than a group that no group size divides. */
function wholeRows(fields: Fields, decisions: readonly Decision[], checkpoint: Checkpoint): DialectProblem[] {
  const odd: Layer[] = decisions.filter(({ treatment, layer }) => treatment.kind === 'quantize' && layer.inFeatures > 128 && layer.inFeatures % 32 !== 0).map(({ layer }) => layer);
  const [first] = odd;
  return first ? [problem('optimum-quanto/group-width', 'warning', fields.range('weights'),
    `Groups of 128, 96, 64 or 32 do not divide the inputs of ${describeShare(odd, checkpoint)}, such as "${first.name}" (${first.inFeatures}): each of their rows gets one scale. Name them in exclude to keep them.`)] : [];
}
