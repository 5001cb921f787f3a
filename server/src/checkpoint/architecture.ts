/**
 * Which architecture a checkpoint has, and what each linear layer does in it.
 * Detection goes by names, never by shapes: packed weights have other widths.
 */
import type { Dtype, Layer, Problem, Role, TensorInfo } from '../protocol';
import { architectures } from './architectures';
import type { Architecture, Naming } from './architectures';
import { counted, grouped, problem, quoted, sample } from './errors';
import { lowVectors } from './vectors';

/** What all-in-one files put before every name of the transformer. */
const prefixes = ['', 'model.diffusion_model.'];

export interface Described { architecture: string; layers: Layer[]; problems: Problem[] }

/**
 * Architecture and linear layers. config.json decides the architecture where it is present, the names otherwise.
 * @param file what problems are about: the weights' path.
 */
export function describe(file: string, tensors: readonly TensorInfo[], config: Record<string, unknown> | null): Described {
  const byNames = detect(tensors);
  const declared = declaredArchitecture(config);
  const architecture = declared ?? byNames?.architecture.name ?? 'unknown';
  const problems: Problem[] = [];
  if (declared !== null && byNames?.architecture.name !== declared && (byNames !== null || isKnown(declared))) {
    const names = byNames === null ? 'are not those of that model' : `are those of ${byNames.architecture.name}`;
    problems.push(problem('checkpoint/architecture-mismatch', 'warning', file,
      `config.json says ${quoted(declared)}, but the tensor names ${names}. config.json counts; check that it belongs to these weights.`));
  }
  const naming = byNames?.architecture.name === architecture ? byNames : null;
  const [linears, foreign] = split(tensors.filter(isLinear), tensor => tensor.name.startsWith(naming?.prefix ?? ''));
  const place = naming === null ? genericPlaces(linears) : knownPlaces(naming);
  const layers = linears.map(tensor => layerOf(tensor, place)).sort(byKey(layer => naturalKey(layer.name)));
  if (naming === null && layers.length > 0) {
    const which = architecture === 'unknown'
      ? 'the tensor names match no known architecture'
      : `the layer names of ${quoted(architecture)} are not known`;
    problems.push(problem('checkpoint/unknown-architecture', 'info', file,
      `${which}, so every linear layer (${grouped(layers.length)}) has the role "other". Patterns on names work as usual.`));
  }
  return { architecture, layers, problems: [...problems, ...packedWeights(file, tensors), ...lowVectors(file, tensors), ...otherModels(file, foreign), ...noLayers(file, layers)] };
}

interface Detected { architecture: Architecture; naming: Naming; prefix: string }

function detect(tensors: readonly TensorInfo[]): Detected | null {
  const names = new Set(tensors.map(tensor => tensor.name));
  for (const prefix of prefixes) {
    for (const architecture of architectures) {
      const naming = architecture.namings.find(candidate => candidate.detect.every(name => names.has(prefix + name)));
      if (naming !== undefined) {
        return { architecture, naming, prefix };
      }
    }
  }
  return null;
}

function declaredArchitecture(config: Record<string, unknown> | null): string | null {
  if (config === null) {
    return null;
  }
  const className = config['_class_name'];
  return architectures.find(candidate => candidate.describedBy?.(config))?.name ?? (typeof className === 'string' ? className : null);
}

function isKnown(name: string): boolean {
  return architectures.some(architecture => architecture.name === name);
}

/** Dtypes that can hold a linear weight. F8_E8M0 has no mantissa and only ever holds scales. */
const floatDtypes: ReadonlySet<Dtype> = new Set<Dtype>(['F64', 'F32', 'F16', 'BF16', 'F8_E4M3', 'F8_E5M2', 'F8_E4M3FNUZ', 'F8_E5M2FNUZ']);
/** Lookup tables: two-dimensional, but never multiplied. */
const tableNames = /(?:^|\.)(?:embedding_table|embed_tokens|word_embeddings|position_embeddings?|token_type_embeddings|token_embedding|wte|wpe)\.weight$/;

function isLinear(tensor: TensorInfo): boolean {
  return isMatrix(tensor) && floatDtypes.has(tensor.dtype) && /.\.weight$/.test(tensor.name) && !tableNames.test(tensor.name);
}

function isMatrix(tensor: TensorInfo): boolean {
  return tensor.shape.length === 2 && tensor.bytes > 0;
}

/** Role and block of a layer by its name. */
type Place = (name: string) => { role: Role; block: string | null };

function layerOf(tensor: TensorInfo, place: Place): Layer {
  const name = tensor.name.slice(0, -'.weight'.length);
  const [outFeatures = 0, inFeatures = 0] = tensor.shape;
  return { name, ...place(name), inFeatures, outFeatures, params: inFeatures * outFeatures, tensor };
}

function knownPlaces({ naming, prefix }: Detected): Place {
  const roles = new Map<string, Role>();
  for (const [role, names] of Object.entries(naming.roles) as [Role, string[]][]) {
    names.forEach(name => roles.set(name, role));
  }
  const inBlock = new RegExp(`^(${naming.blocks.join('|')})\\.(\\d+)\\.(.+)$`);
  return name => {
    const local = name.slice(prefix.length);
    const [, list, index, rest] = inBlock.exec(local) ?? [];
    return list === undefined
      ? { role: roles.get(local) ?? 'other', block: null }
      : { role: roles.get(`${list}.{i}.${rest}`) ?? 'other', block: `${prefix}${list}.${index}` };
  };
}

/** Without a table: the block is the path up to the last number inside it that takes several values (in `a.0.b.1`, for any outer number). */
function genericPlaces(linears: readonly TensorInfo[]): Place {
  const members = new Map<string, Set<string>>();
  for (const tensor of linears) {
    for (const [list, index] of numberedPlaces(tensor.name.slice(0, -'.weight'.length))) {
      members.set(anyIndex(list), (members.get(anyIndex(list)) ?? new Set()).add(index));
    }
  }
  return name => {
    const repeated = numberedPlaces(name).filter(([list]) => (members.get(anyIndex(list))?.size ?? 0) > 1).at(-1);
    return { role: 'other', block: repeated === undefined ? null : repeated.join('.') };
  };
}

/** 'a.0.b.1.c' → [['a', '0'], ['a.0.b', '1']]. A number at the end is the layer itself, not a block. */
function numberedPlaces(name: string): [list: string, index: string][] {
  return [...name.matchAll(/\.(\d+)(?=\.)/g)].map(match => [name.slice(0, match.index), match[1] ?? '']);
}

/** 'a.0.b' → 'a.{i}.b'. */
function anyIndex(list: string): string {
  return list.replace(/\.\d+(?=\.)/g, '.{i}');
}

function packedWeights(file: string, tensors: readonly TensorInfo[]): Problem[] {
  const packed = tensors.filter(tensor => isMatrix(tensor) && /^(?:[UI]\d+|F4|F6_\w+)$/.test(tensor.dtype) && /(?:^|\.)q?weight$/.test(tensor.name));
  if (packed.length === 0) {
    return [];
  }
  const dtypes = [...new Set(packed.map(tensor => tensor.dtype))].sort().join(', ');
  return [problem('checkpoint/packed-weights', 'info', file,
    `${counted(packed.length, 'weight')} stored as ${dtypes} (${sample(packed.map(tensor => tensor.name))}) in a packing that the header does not `
      + `tell: listed as tensors, not as layers.`)];
}

function otherModels(file: string, foreign: readonly TensorInfo[]): Problem[] {
  return foreign.length === 0 ? [] : [problem('checkpoint/other-models', 'info', file,
    `${counted(foreign.length, 'linear weight')} (${sample(foreign.map(tensor => tensor.name))}) of other models in the same file, `
      + `such as text encoders: listed as tensors, not as layers.`)];
}

function noLayers(file: string, layers: readonly Layer[]): Problem[] {
  return layers.length > 0 ? [] : [problem('checkpoint/no-layers', 'warning', file,
    'holds no linear layer: no two-dimensional *.weight of a floating-point dtype. Is it the right file?')];
}

/** Sorts as people count: blocks.2 before blocks.10. */
export function naturalKey(name: string): string {
  return name.replace(/\d+/g, digits => digits.padStart(16, '0'));
}

function split<T>(items: readonly T[], test: (item: T) => boolean): [yes: T[], no: T[]] {
  return [items.filter(test), items.filter(item => !test(item))];
}

function byKey<T>(key: (item: T) => string): (a: T, b: T) => number {
  const keys = new Map<T, string>();
  const keyOf = (item: T): string => {
    const known = keys.get(item) ?? key(item);
    keys.set(item, known);
    return known;
  };
  return (a, b) => (keyOf(a) < keyOf(b) ? -1 : 1);
}
