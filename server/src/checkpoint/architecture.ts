/**
 * Which architecture a checkpoint has, and what each linear layer does in it. Adding a model is one entry of `architectures`.
 * Detection goes by names, never by shapes: packed weights have other widths.
 */
import type { Dtype, Layer, Problem, Role, TensorInfo } from '../protocol';
import { counted, grouped, problem, quoted, sample } from './errors';

/** One way to name the tensors of an architecture. */
interface Naming {
  /** Tensors that no other architecture has together. */
  detect: readonly string[];
  /** Lists of repeated blocks; `{i}` below stands for the index in one of them. */
  blocks: readonly string[];
  roles: Readonly<Partial<Record<Role, readonly string[]>>>;
}

interface Architecture {
  /** diffusers class name. */
  name: string;
  /** Whether config.json describes it; by default when `_class_name` equals the name. */
  describedBy?: (config: Record<string, unknown>) => boolean;
  namings: readonly Naming[];
}

const architectures: readonly Architecture[] = [
  {
    name: 'DiTTransformer2DModel',
    describedBy: config => config['_class_name'] === 'Transformer2DModel' && config['norm_type'] === 'ada_norm_zero',
    namings: [
      {
        detect: ['transformer_blocks.0.norm1.emb.class_embedder.embedding_table.weight'],
        blocks: ['transformer_blocks'],
        roles: {
          'q': ['transformer_blocks.{i}.attn1.to_q'],
          'k': ['transformer_blocks.{i}.attn1.to_k'],
          'v': ['transformer_blocks.{i}.attn1.to_v'],
          'attention-out': ['transformer_blocks.{i}.attn1.to_out.0'],
          'ffn-up': ['transformer_blocks.{i}.ff.net.0.proj'],
          'ffn-down': ['transformer_blocks.{i}.ff.net.2'],
          'modulation': ['transformer_blocks.{i}.norm1.linear'],
          'embedder': ['transformer_blocks.{i}.norm1.emb.timestep_embedder.linear_1', 'transformer_blocks.{i}.norm1.emb.timestep_embedder.linear_2'],
          'final': ['proj_out_1', 'proj_out_2'],
        },
      },
      {
        detect: ['blocks.0.adaLN_modulation.1.weight', 'y_embedder.embedding_table.weight'],
        blocks: ['blocks'],
        roles: {
          'qkv': ['blocks.{i}.attn.qkv'],
          'attention-out': ['blocks.{i}.attn.proj'],
          'ffn-up': ['blocks.{i}.mlp.fc1'],
          'ffn-down': ['blocks.{i}.mlp.fc2'],
          'modulation': ['blocks.{i}.adaLN_modulation.1'],
          'embedder': ['t_embedder.mlp.0', 't_embedder.mlp.2'],
          'final': ['final_layer.adaLN_modulation.1', 'final_layer.linear'],
        },
      },
    ],
  },
  {
    name: 'FluxTransformer2DModel',
    namings: [
      {
        detect: ['transformer_blocks.0.attn.norm_added_k.weight', 'x_embedder.weight', 'time_text_embed.timestep_embedder.linear_1.weight'],
        blocks: ['transformer_blocks', 'single_transformer_blocks'],
        roles: {
          'q': ['transformer_blocks.{i}.attn.to_q', 'single_transformer_blocks.{i}.attn.to_q'],
          'k': ['transformer_blocks.{i}.attn.to_k', 'single_transformer_blocks.{i}.attn.to_k'],
          'v': ['transformer_blocks.{i}.attn.to_v', 'single_transformer_blocks.{i}.attn.to_v'],
          'attention-out': ['transformer_blocks.{i}.attn.to_out.0'],
          'context-q': ['transformer_blocks.{i}.attn.add_q_proj'],
          'context-k': ['transformer_blocks.{i}.attn.add_k_proj'],
          'context-v': ['transformer_blocks.{i}.attn.add_v_proj'],
          'context-attention-out': ['transformer_blocks.{i}.attn.to_add_out'],
          'ffn-up': ['transformer_blocks.{i}.ff.net.0.proj', 'single_transformer_blocks.{i}.proj_mlp'],
          'ffn-down': ['transformer_blocks.{i}.ff.net.2'],
          'context-ffn-up': ['transformer_blocks.{i}.ff_context.net.0.proj'],
          'context-ffn-down': ['transformer_blocks.{i}.ff_context.net.2'],
          'single-out': ['single_transformer_blocks.{i}.proj_out'],
          'modulation': [
            'transformer_blocks.{i}.norm1.linear', 'transformer_blocks.{i}.norm1_context.linear', 'single_transformer_blocks.{i}.norm.linear',
          ],
          'embedder': [
            'x_embedder', 'context_embedder',
            'time_text_embed.timestep_embedder.linear_1', 'time_text_embed.timestep_embedder.linear_2',
            'time_text_embed.guidance_embedder.linear_1', 'time_text_embed.guidance_embedder.linear_2',
            'time_text_embed.text_embedder.linear_1', 'time_text_embed.text_embedder.linear_2',
          ],
          'final': ['norm_out.linear', 'proj_out'],
        },
      },
      {
        detect: ['double_blocks.0.img_attn.norm.key_norm.scale', 'double_blocks.0.img_mod.lin.weight', 'vector_in.in_layer.weight', 'img_in.weight'],
        blocks: ['double_blocks', 'single_blocks'],
        roles: {
          'qkv': ['double_blocks.{i}.img_attn.qkv'],
          'attention-out': ['double_blocks.{i}.img_attn.proj'],
          'context-qkv': ['double_blocks.{i}.txt_attn.qkv'],
          'context-attention-out': ['double_blocks.{i}.txt_attn.proj'],
          'ffn-up': ['double_blocks.{i}.img_mlp.0'],
          'ffn-down': ['double_blocks.{i}.img_mlp.2'],
          'context-ffn-up': ['double_blocks.{i}.txt_mlp.0'],
          'context-ffn-down': ['double_blocks.{i}.txt_mlp.2'],
          'single-in': ['single_blocks.{i}.linear1'],
          'single-out': ['single_blocks.{i}.linear2'],
          'modulation': ['double_blocks.{i}.img_mod.lin', 'double_blocks.{i}.txt_mod.lin', 'single_blocks.{i}.modulation.lin'],
          'embedder': [
            'img_in', 'txt_in', 'time_in.in_layer', 'time_in.out_layer', 'vector_in.in_layer', 'vector_in.out_layer',
            'guidance_in.in_layer', 'guidance_in.out_layer',
          ],
          'final': ['final_layer.adaLN_modulation.1', 'final_layer.linear'],
        },
      },
    ],
  },
];

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
  return { architecture, layers, problems: [...problems, ...packedWeights(file, tensors), ...otherModels(file, foreign), ...noLayers(file, layers)] };
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
