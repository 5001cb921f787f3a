/** optimum-quanto's `quanto_qmap.json`: what each layer became, by its whole name, as `save_pretrained` of its own model classes writes it. */
import type { TreeNode } from '../tree';
import { find } from '../tree';
import { kept, problem, quantized } from './dialect';
import type { Dialect, DialectEntry, DialectFile, DialectProblem, Treatment } from './dialect';
import { keepOriginal } from '../../methods/method';
import type { Quantizer } from '../../protocol';
import { named } from './field';
import type { Field } from './field';
import { Fields } from './fields';
import { names } from './offers';
import { equivalent, float, int } from './recipes';
import type { Equivalent } from './recipes';
import { quantoFormats } from './quanto';

/** Types of weights and activations. */
export const typesField: Field = {
  type: 'text', refusal: ['qmap/type', 'error'], doc: 'What it became; `none` is as it was.',
  values: named('none', 'qint2', 'qint4', 'qint8', 'qfloat8', 'qfloat8_e4m3fn', 'qfloat8_e4m3fnuz', 'qfloat8_e5m2'),
};
const layerField: Field = { type: 'map', doc: 'What this layer became.', fields: { weights: typesField, activations: typesField } };
const rootField: Field = { type: 'map', doc: 'Layers by their whole names.', source: 'optimum-quanto, `quantization_map` (2026-08)', names: { takes: (entry) => ({ name }) => name === entry, offers: names }, each: layerField };

export const quantoMap: Dialect = {
  root: () => rootField,
  id: 'optimum-quanto', title: 'optimum-quanto map',
  file: '`quanto_qmap.json`: JSON of layer names, each with `weights` and `activations`; `include` and `exclude` of its Python function are written nowhere',
  rule: 'A key is the whole name of a layer. (`include` and `exclude` of `quantize` are compared by `fnmatch` with whole names.)',
  unmatched: 'Passed over without a word, and `load_state_dict` is not strict: the layer keeps random weights.',
  codes: ['qmap/'],
  detect: (file) => layers(file).length > 0,
  parse(file) {
    const problems: DialectProblem[] = [];
    const all = layers(file);
    const [first] = all;
    if (first) {
      problems.push(problem('qmap/diffusers', 'info', first.keyRange, 'diffusers does not load a model that optimum-quanto saved: load it with optimum-quanto\'s own class, or quantize it anew with torchao or bitsandbytes.'));
    }
    const entries = all.map(({ key, keyRange, value }): DialectEntry => ({
      text: key, range: keyRange, treatment: treatmentOf(key, value, problems, file), isPath: true, only: key, takes: ({ name }) => name === key, matchesNothing: 'Keys are whole names of layers.',
    }));
    return { entries, otherwise: kept, unmatched: 'ignored', problems: [...file.problems, ...problems] };
  },
};

function layers({ root }: DialectFile): { key: string; keyRange: DialectEntry['range']; value: TreeNode }[] {
  const all = root?.kind === 'map' ? root.entries : [];
  return all.every(({ value }) => find(value, 'weights') !== undefined && find(value, 'activations') !== undefined) ? all : [];
}

function treatmentOf(key: string, value: TreeNode, problems: DialectProblem[], { document }: DialectFile): Treatment {
  if (value.kind !== 'map') {
    return kept;
  }
  const fields = new Fields(value, `"${key}"`, problems, document, layerField);
  const [weights, activations] = ['weights', 'activations'].map((part) => fields.text(part) ?? 'none');
  return treatmentAs(weights, activations);
}

/** @param weights and activations by the names of their types; `none` is as it was. */
export function treatmentAs(weights: string | undefined, activations: string | undefined): Treatment {
  const bits = (type: string | undefined): number => (type === undefined || type === 'none' ? 16 : Number(/\d+/.exec(type)?.[0] ?? 16));
  return weights === 'none' && activations === 'none' ? kept : quantized(`${weights ?? ''} weights${activations === 'none' ? '' : `, ${activations ?? ''} activations`}`, bits(weights), bits(activations), recipeOf(weights, activations));
}

/** Activations have one range per tensor, found by calibration. */
function recipeOf(weights: string | undefined, activations: string | undefined): Equivalent | undefined {
  const inputs: Quantizer | undefined = activations === undefined || activations === 'none' ? keepOriginal : activations === 'qint8' ? int(8, 'tensor', { range: 'static' }) : /^qfloat8(?:_e4m3fn)?$/.test(activations) ? float('fp8', 'tensor') : undefined;
  const own = weights === undefined || weights === 'none' ? keepOriginal : quantoFormats[weights.replace(/^q/, '').replace('float8_e4m3fn', 'float8')]?.recipe.weights;
  return own && inputs ? equivalent(own, inputs, inputs.kind === 'float' ? ['the range of its inputs is found by calibration'] : []) : undefined;
}
