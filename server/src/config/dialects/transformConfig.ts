/** compressed-tensors' `transform_config`: Hadamard and other rotations, each with the layers it is for. They change no bits, so their entries decide nothing. */
import type { Checkpoint, Layer } from '../../protocol';
import { readTarget, targetRule } from './compressedTensorsTargets';
import { problem, quantized } from './dialect';
import type { DialectEntry, DialectProblem } from './dialect';
import { describeShare } from './evaluate';
import { named } from './field';
import type { Field } from './field';
import type { Fields } from './fields';

const applyField: Field = {
  type: 'map', doc: 'Where the rotation is put.',
  fields: {
    targets: { type: 'names', required: true, names: targetRule, doc: 'Layers that are rotated.' }, ignore: { type: 'names', names: targetRule, doc: 'Layers that are not.' },
    location: { type: 'text', required: true, values: { input: 'activations, while the model runs', weight_input: 'folded into the weights\' input side', weight_output: 'folded into their output side', output: 'outputs, while the model runs', k_cache: 'keys', q_attn: 'queries' }, refusal: ['ct/transform', 'error'], doc: 'On which side of the layer.' },
    inverse: { type: 'flag', default: false, doc: 'The transposed matrix.' },
  },
};
const schemeField: Field = {
  type: 'map', doc: 'One rotation.',
  fields: {
    type: { type: 'text', required: true, values: named('hadamard', 'random-hadamard', 'random-matrix'), refusal: ['ct/transform', 'error'], doc: 'Of matrix.' }, apply: { type: 'list', doc: 'Where it is put.', items: applyField },
    randomize: { type: 'flag', default: false, doc: 'Another matrix for each place.' }, requires_grad: { type: 'flag', default: false, doc: 'For training.' }, head_dim: { type: 'number', examples: [64, 128], doc: 'Size of the blocks; without it the matrix is as wide as the layer.' },
    precision: { type: 'text', open: true, values: named('torch.float32', 'torch.float64'), doc: 'In which it is computed.' },
  },
};
export const transformField: Field = { type: 'map', doc: 'Rotations of layers.', source: 'compressed-tensors, `TransformConfig` (2026-08)', fields: { config_groups: { type: 'map', required: true, doc: 'Rotations by names of your own.', each: schemeField } } };
/** Orders of the Hadamard matrices that come with compressed-tensors; a power of two of each can be built. */
const knownOdd = [1, ...Array.from({ length: 63 }, (_, i) => 4 * (i + 1))];

interface Transform { fields: Fields; type: string | undefined; block: number | undefined; apply: Applied[] }
interface Applied { fields: Fields; location: string | undefined; targets: DialectEntry[]; ignored: DialectEntry[] }

export function readTransforms(config: Fields | undefined, problems: DialectProblem[]): { entries: DialectEntry[]; traps(checkpoint: Checkpoint): DialectProblem[] } {
  config?.check('error', 'compressed-tensors refuses it.');
  const groups = config?.map('config_groups');
  const transforms = (groups?.node.entries ?? []).flatMap(({ key }) => {
    const fields = groups?.map(key);
    return fields ? [readTransform(fields, problems)] : [];
  });
  return {
    entries: transforms.flatMap(({ apply }) => apply.flatMap(({ targets, ignored }) => [...targets, ...ignored])),
    traps: (checkpoint) => transforms.flatMap((transform) => transform.apply.flatMap((applied) => sizeTraps(transform, applied, checkpoint))),
  };
}

function readTransform(fields: Fields, problems: DialectProblem[]): Transform {
  fields.check('error', 'compressed-tensors refuses it.');
  const type = fields.text('type');
  const block = fields.number('head_dim');
  const apply = (fields.list('apply') ?? []).flatMap((item) => {
    if (item.kind !== 'map') {
      fields.report('dialect/type', 'error', item.range, 'An entry of "apply" is a mapping with targets and location.');
      return [];
    }
    const inner = fields.inner(item, 'an entry of "apply"', applyField);
    inner.check('error', 'compressed-tensors refuses it.');
    const location = inner.text('location');
    // Rotations of keys and queries are put on attention modules, which are no layers here.
    const attention = location === 'k_cache' || location === 'q_attn';
    const treatment = quantized(`${type ?? 'unknown'} rotation of the ${location?.replace('_', ' ') ?? 'layer'}`, null, null);
    const entries = (key: string): DialectEntry[] => inner.names(key, true).map((name) => {
      const { takes, elsewhere, ...entry } = readTarget(name, problems);
      return { ...entry, treatment, aside: true, takes, elsewhere: attention || elsewhere === true };
    });
    return [{ fields: inner, location, targets: entries('targets'), ignored: entries('ignore') }];
  });
  return { fields, type, block, apply };
}

/** A rotation is as wide as the side of the layer it stands on, or as its blocks (`head_dim`). */
function sizeTraps({ fields, type, block }: Transform, { fields: applied, location, targets, ignored }: Applied, checkpoint: Checkpoint): DialectProblem[] {
  if (location === undefined || location === 'k_cache' || location === 'q_attn') {
    return [];
  }
  const width = (layer: Layer): number => (location.endsWith('input') ? layer.inFeatures : layer.outFeatures);
  const rotated = checkpoint.layers.filter((layer) => targets.some((entry) => entry.takes(layer)) && !ignored.some((entry) => entry.takes(layer)));
  const odd = rotated.filter((layer) => (block === undefined ? !exists(type, width(layer)) : width(layer) % block !== 0));
  const [first] = odd;
  if (block !== undefined && !exists(type, block)) {
    return [problem('ct/transform-size', 'error', fields.range('head_dim'), `There is no ${type ?? ''} matrix of ${block}: ${type === 'hadamard' ? 'write a power of two' : 'take another size'}.`)];
  }
  return !first ? [] : [problem('ct/transform-size', 'error', block === undefined ? applied.range('location') : fields.range('head_dim'), block === undefined ?
    `A ${type ?? ''} matrix as wide as ${describeShare(odd, checkpoint)}, such as "${first.name}" (${width(first)}), cannot be built${type === 'hadamard' ? ', for it is no power of two' : ''}: write head_dim, such as 64 or 128, for blocks that divide it.` :
    `head_dim ${block} does not divide the ${location.endsWith('input') ? 'inputs' : 'outputs'} of ${describeShare(odd, checkpoint)}, such as "${first.name}" (${width(first)}), which is an error.`)];
}

function exists(type: string | undefined, size: number): boolean {
  const isPower = (value: number): boolean => Number.isInteger(Math.log2(value));
  return size >= 1 && (type === 'hadamard' ? isPower(size) : type !== 'random-hadamard' || knownOdd.some((known) => isPower(size / known)));
}
