/** Value statistics of one tensor, for the checkpoint view and the `stats` command. */
import type { Engine, JobOptions } from '../engine/client';
import type { Checkpoint, TensorInfo, TensorStats } from '../protocol';
import { histogramBins } from './report';

export async function tensorStats(tensor: TensorInfo, engine: Engine, options?: JobOptions): Promise<TensorStats> {
  const { name, file, offset, dtype, shape } = tensor;
  return { name, dtype, shape, ...await engine.stats({ tensor: { file, offset, dtype, shape }, histogramBins }, options) };
}

export function findTensor(checkpoint: Checkpoint, name: string): TensorInfo | undefined {
  return checkpoint.tensors.find((tensor) => tensor.name === name);
}
