/**
 * Norms, biases and other one-dimensional tensors in few bits. They hold next to no bytes, and every output of their layer goes through them: one tool's blanket q4_K took
 * 105 norms of a model along and cost 12 dB, which 0.77 MiB undid (unslothai/stable-diffusion.cpp PR 2). On plain data, so that any format can ask.
 */
import type { Dtype, Problem, TensorInfo } from '../protocol';
import { counted, problem, sample } from './errors';
import { dtypeBits } from './safetensors';

export type VectorKind = 'norms' | 'biases' | '1-D tensors';

/** What kind of a tensor that is no matrix this is, by its name and shape; undefined for matrices and for side data of quantizers, which are made for few bits. */
export function kindOfVector({ name, shape }: { name: string; shape: readonly number[] }): VectorKind | undefined {
  if (shape.length !== 1 || (shape[0] ?? 0) < 2 || /(?:^|[._])(?:absmax|quant_map|quant_state.*|comfy_quant|[a-z]*zeros?(?:_point)?|[a-z]*scales?(?:_\w+)?|g_idx|qweight)$/.test(name.replace(/norm\w*\.scale$/, ''))) {
    return undefined;
  }
  return /(?:^|[._])bias$/.test(name) ? 'biases' : /norm[^.]*\.(?:[^.]+\.)?(?:weight|scale|gamma)$|(?:^|[._])norm\w*$/.test(name) ? 'norms' : /\.weight$/.test(name) ? '1-D tensors' : undefined;
}

/** Whether a tensor of this kind should have more bits. @param bits per value, side data apart */
export function isLowVector(tensor: { name: string; shape: readonly number[] }, bits: number): boolean {
  return bits <= 8 && kindOfVector(tensor) !== undefined;
}

const floats: ReadonlySet<Dtype> = new Set<Dtype>(['F4', 'F6_E2M3', 'F6_E3M2', 'F8_E4M3', 'F8_E5M2', 'F8_E4M3FNUZ', 'F8_E5M2FNUZ']);

/** @param file what the problem is about */
export function lowVectors(file: string, tensors: readonly TensorInfo[]): Problem[] {
  // Bytes under a name like "weight" may be a matrix that somebody packed.
  const low = tensors.filter((tensor) => isLowVector(tensor, dtypeBits[tensor.dtype]) && (floats.has(tensor.dtype) || (/^[IU]8$/.test(tensor.dtype) && kindOfVector(tensor) !== '1-D tensors')));
  if (low.length === 0) {
    return [];
  }
  const kinds = [...new Set(low.map(kindOfVector))].join(' and ');
  const bytes = low.reduce((sum, tensor) => sum + (2 * (tensor.shape[0] ?? 0)) - tensor.bytes, 0);
  return [problem('checkpoint/low-precision-vectors', 'warning', file,
    `${kinds} are stored as ${[...new Set(low.map(({ dtype }) => dtype))].sort().join(', ')} (${counted(low.length, 'tensor')}: ${sample(low.map(({ name }) => name))}). Every output of their layers goes through them, and 16 bits would take `
      + `${counted(bytes, 'byte')} more. Take the checkpoint they were converted from, or convert it again without them.`)];
}
