/** compressed-tensors' `transform_config`: Hadamard and other rotations, each with the layers it is for. They change no bits, so their entries decide nothing. */
import type { Checkpoint, Layer } from '../../protocol';
import { readTarget } from './compressedTensorsTargets';
import { problem, quantized } from './dialect';
import type { DialectEntry, DialectProblem } from './dialect';
import { describeShare } from './evaluate';
import type { Fields } from './fields';

const types = ['hadamard', 'random-hadamard', 'random-matrix'];
const locations = ['input', 'weight_input', 'weight_output', 'output', 'k_cache', 'q_attn'];
/** Orders of the Hadamard matrices that come with compressed-tensors; a power of two of each can be built. */
const knownOdd = [1, ...Array.from({ length: 63 }, (_, i) => 4 * (i + 1))];

interface Transform { fields: Fields; type: string | undefined; block: number | undefined; apply: Applied[] }
interface Applied { fields: Fields; location: string | undefined; targets: DialectEntry[]; ignored: DialectEntry[] }

export function readTransforms(config: Fields | undefined, problems: DialectProblem[]): { entries: DialectEntry[]; traps(checkpoint: Checkpoint): DialectProblem[] } {
  config?.mustHave('config_groups');
  config?.unknown(['config_groups'], 'error', 'compressed-tensors refuses it.');
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
  fields.unknown(['type', 'apply', 'randomize', 'requires_grad', 'head_dim', 'precision'], 'error', 'compressed-tensors refuses it.');
  fields.mustHave('type');
  const type = fields.text('type', types, 'ct/transform');
  const block = fields.number('head_dim');
  const apply = (fields.list('apply') ?? []).flatMap((item) => {
    if (item.kind !== 'map') {
      fields.report('dialect/type', 'error', item.range, 'An entry of "apply" is a mapping with targets and location.');
      return [];
    }
    const inner = fields.inner(item, 'an entry of "apply"');
    inner.unknown(['targets', 'location', 'inverse', 'ignore'], 'error', 'compressed-tensors refuses it.');
    inner.mustHave('targets', 'location');
    const location = inner.text('location', locations, 'ct/transform');
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
