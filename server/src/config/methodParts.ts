/** The parts of a method as written in a config: read from the tree, what a part leaves out filled in. What the schema refuses is passed over. */
import type { FloatFormat, Granularity, LowRank, Permutation, Quantizer, Range, Rotation, ScaleDtype, Smoothing, Solver, Tail } from '../protocol';
import type { ConfigProblem } from './codes';
import { method } from './methodSchema';
import type { Schema } from './schema';
import { find } from './tree';
import type { Scalar, TreeNode } from './tree';

export type QuantizerKind = Exclude<Quantizer['kind'], 'keep'>;

/** Overrides of one side; what is missing comes from the preset. */
export interface QuantizerOverride {
  kind?: QuantizerKind;
  symmetric?: boolean;
  group?: Granularity;
  scale?: ScaleDtype;
  norm?: ScaleDtype;
  clip?: 'mse' | number;
  range?: 'static';
  shift?: number;
  form?: 'corrected' | 'released';
  format?: FloatFormat;
}

/** A part that stands here replaces the preset's as a whole; false removes it. */
export interface MethodSettings {
  name: string;
  smooth?: Smoothing | false;
  permute?: Permutation | false;
  rotate?: Rotation | false;
  tail?: Tail | false;
  lowRank?: LowRank | false;
  weights?: QuantizerOverride;
  activations?: QuantizerOverride;
  solver?: Solver;
}

/** Which keys belong to which kind, beside `kind` itself. */
export const kindKeys = {
  smooth: { absmax: [], smoothquant: ['alpha', 'beta'], search: ['steps'], csb: [] },
  permute: { random: ['seed'], zigzag: ['block'] },
  rotate: {
    rpbh: ['seed'], hadamard: ['seed'], random: ['seed'], 'outlier-aware': ['block', 'steps', 'order', 'seed'], pca: ['perHead', 'seed'], adaptive: ['threshold', 'signal', 'seed'],
  },
  solver: { rtn: [], gptq: ['damping', 'actOrder', 'staticGroups'], adaround: ['iterations'] },
} as const satisfies Record<string, Record<string, readonly string[]>>;

export const quantizerKeys: Record<QuantizerKind, readonly (keyof QuantizerOverride)[]> = {
  int: ['symmetric', 'group', 'scale', 'clip', 'range', 'shift'], codebook: ['norm'], midrise: ['norm'], 'twin-log': ['form'], float: ['format', 'group'],
};

/** @param name of the method, which may stand alone or in the mapping. */
export function readMethodSettings(node: TreeNode, name: string): MethodSettings {
  const part = <T>(key: string, read: (keys: Keys) => T | undefined): T | false | undefined => {
    const written = find(node, key)?.value;
    return written?.kind === 'scalar' && written.value === false ? false : written?.kind === 'map' ? read(new Keys(written, method.properties?.[key]?.properties ?? {})) : undefined;
  };
  const solver = part('solver', readSolver);
  return defined({
    name,
    smooth: part('smooth', readSmoothing), permute: part('permute', readPermutation), rotate: part('rotate', readRotation), tail: part('tail', readTail), lowRank: part('lowRank', readLowRank),
    weights: part('weights', readQuantizer) || undefined, activations: part('activations', readQuantizer) || undefined, solver: solver || undefined,
  });
}

/** Keys that the part's kind does not have: they could have no effect. */
export function foreignKeys(node: TreeNode | undefined): ConfigProblem[] {
  return Object.entries(kindKeys).flatMap(([part, kinds]: [string, Record<string, readonly string[]>]) => {
    const written = find(node, part)?.value;
    const kind = find(written, 'kind')?.value;
    const own = kind?.kind === 'scalar' ? kinds[String(kind.value)] : undefined;
    return (written?.kind === 'map' && own ? written.entries : []).flatMap(({ key, keyRange }): ConfigProblem[] => {
      const owners = Object.entries(kinds).filter(([, keys]) => keys.includes(key)).map(([name]) => name);
      return own?.includes(key) !== false || owners.length === 0 ? [] : [foreign(key, keyRange, part, owners, String(kind?.kind === 'scalar' && kind.value))];
    });
  });
}

function foreign(key: string, range: Range, part: string, owners: readonly string[], kind: string): ConfigProblem {
  return { code: 'config/unknown-key', severity: 'error', range, message: `"${key}" belongs to ${owners.join(' and ')}, but "${part}" is ${kind} here. Remove it or change "kind".` };
}

/** The scalars of one mapping, as far as its schema allows them. */
class Keys {
  constructor(private readonly node: TreeNode, private readonly properties: Record<string, Schema>) {}

  private scalar(key: string): Scalar {
    const value = find(this.node, key)?.value;
    return value?.kind === 'scalar' ? value.value : null;
  }

  number(key: string): number | undefined {
    const value = this.scalar(key);
    const schema = this.properties[key];
    const { type, minimum = -Infinity, exclusiveMinimum = -Infinity, maximum = Infinity } = { ...schema, ...schema?.else };
    const whole = ![type].flat().includes('integer') || Number.isInteger(value);
    return typeof value === 'number' && whole && value >= minimum && value > exclusiveMinimum && value <= maximum ? value : undefined;
  }

  boolean(key: string): boolean | undefined {
    const value = this.scalar(key);
    return typeof value === 'boolean' ? value : undefined;
  }

  oneOf<const T extends string>(key: string, list: readonly T[]): T | undefined {
    return list.find((each) => each === this.scalar(key));
  }
}

function readSmoothing(keys: Keys): Smoothing | undefined {
  const kind = keys.oneOf('kind', ['absmax', 'smoothquant', 'search', 'csb']);
  switch (kind) {
    case 'smoothquant': {
      const alpha = keys.number('alpha') ?? 0.5;
      return { kind, alpha, beta: keys.number('beta') ?? Number((1 - alpha).toFixed(12)) };
    }
    case 'search': return { kind, steps: keys.number('steps') ?? 20 };
    default: return kind && { kind };
  }
}

function readPermutation(keys: Keys): Permutation | undefined {
  const kind = keys.oneOf('kind', ['random', 'zigzag']);
  return kind === 'random' ? { kind, seed: keys.number('seed') ?? 0 } : kind && { kind, block: keys.number('block') ?? 128 };
}

function readRotation(keys: Keys): Rotation | undefined {
  const kind = keys.oneOf('kind', ['rpbh', 'hadamard', 'random', 'outlier-aware', 'pca', 'adaptive']);
  const seed = keys.number('seed') ?? 0;
  switch (kind) {
    case undefined: return undefined;
    case 'outlier-aware':
      return { kind, block: keys.number('block') ?? 128, steps: keys.number('steps') ?? 256, order: keys.oneOf('order', ['zigzag', 'round-robin']) ?? 'zigzag', seed };
    case 'pca': return { kind, perHead: keys.boolean('perHead') ?? false, seed };
    case 'adaptive': return { kind, threshold: keys.number('threshold') ?? 1, signal: keys.oneOf('signal', ['rms', 'peak-to-rms']) ?? 'rms', seed };
    default: return { kind, seed };
  }
}

function readTail(keys: Keys): Tail {
  return { fraction: keys.number('fraction') ?? 0.125, dtype: 'bf16' };
}

function readLowRank(keys: Keys): LowRank {
  return { rank: keys.number('rank') ?? 32, iterations: keys.number('iterations') ?? 1, dtype: 'bf16' };
}

function readSolver(keys: Keys): Solver | undefined {
  const kind = keys.oneOf('kind', ['rtn', 'gptq', 'adaround']);
  switch (kind) {
    case 'gptq': return { kind, damping: keys.number('damping') ?? 0.01, actOrder: keys.boolean('actOrder') ?? true, staticGroups: keys.boolean('staticGroups') ?? true };
    case 'adaround': return { kind, iterations: keys.number('iterations') ?? 2000 };
    default: return kind && { kind };
  }
}

function readQuantizer(keys: Keys): QuantizerOverride {
  const float = ['fp16', 'bf16', 'fp32'] as const;
  return defined({
    kind: keys.oneOf('kind', ['int', 'codebook', 'midrise', 'twin-log', 'float']),
    symmetric: keys.boolean('symmetric'),
    group: keys.oneOf('group', ['row', 'tensor']) ?? keys.number('group'),
    scale: keys.oneOf('scale', float), norm: keys.oneOf('norm', float),
    clip: keys.oneOf('clip', ['mse']) ?? keys.number('clip'), range: keys.oneOf('range', ['static']), shift: keys.number('shift'),
    form: keys.oneOf('form', ['corrected', 'released']), format: keys.oneOf('format', ['fp4', 'nvfp4', 'mxfp4', 'fp8', 'mxfp8']),
  });
}

/** Without the keys that have no value. */
function defined<T extends object>(value: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as T;
}
