/** Checkpoints, as their headers describe them. */
import type { Problem } from './shared';

export type Dtype =
  | 'BOOL' | 'F4' | 'F6_E2M3' | 'F6_E3M2' | 'U8' | 'I8' | 'F8_E5M2' | 'F8_E4M3' | 'F8_E8M0' | 'F8_E4M3FNUZ' | 'F8_E5M2FNUZ'
  | 'I16' | 'U16' | 'F16' | 'BF16' | 'I32' | 'U32' | 'F32' | 'C64' | 'F64' | 'I64' | 'U64';

export interface TensorInfo {
  name: string;
  dtype: Dtype;
  shape: number[];
  /** Absolute path of the file that holds the data. */
  file: string;
  /** Position of the first byte from the start of that file. */
  offset: number;
  bytes: number;
}

/** What a linear layer does in its block. One vocabulary for every architecture. */
export type Role =
  | 'q' | 'k' | 'v' | 'qkv' | 'attention-out'
  | 'cross-q' | 'cross-k' | 'cross-v' | 'cross-attention-out'
  | 'context-q' | 'context-k' | 'context-v' | 'context-qkv' | 'context-attention-out'
  | 'ffn-gate' | 'ffn-up' | 'ffn-down' | 'context-ffn-gate' | 'context-ffn-up' | 'context-ffn-down' | 'single-in' | 'single-out'
  | 'modulation' | 'embedder' | 'final' | 'other';

export interface Layer {
  /** Module path, the tensor's name without `.weight`. */
  name: string;
  role: Role;
  /** Path of the repeated block the layer lives in (`transformer_blocks.3`), or null outside of every block. */
  block: string | null;
  inFeatures: number;
  outFeatures: number;
  /** Weights only; a bias is not counted. */
  params: number;
  /** The weight, [outFeatures, inFeatures] row-major. */
  tensor: TensorInfo;
}

export interface Checkpoint {
  /** Absolute path the user named. */
  path: string;
  kind: 'safetensors' | 'sharded' | 'diffusers';
  /** diffusers class name, or 'unknown'. */
  architecture: string;
  /** The component's own config.json where there is one. */
  config: Record<string, unknown> | null;
  metadata: Record<string, string>;
  /** Sorted by file, then offset. */
  tensors: TensorInfo[];
  /** In model order (natural order of names). */
  layers: Layer[];
  problems: Problem[];
  /** Changes when any file the index was read from changes. */
  revision: string;
}
