import { openCheckpoint } from '../checkpoint';
import { formatBytes } from '../config/resolve';
import type { Checkpoint } from '../protocol';
import { describeProblem } from './command';
import type { Command } from './command';
import { table } from './table';

export const inspect: Command = {
  name: 'inspect',
  usage: '<checkpoint>',
  summary: 'Index of a .safetensors file, a shard index or a diffusers folder: tensors, linear layers, architecture. Reads headers only.',
  async run(context) {
    const path = context.path('checkpoint');
    const checkpoint = await openCheckpoint(path);
    context.print(toJson(checkpoint), () => describe(checkpoint));
    for (const problem of checkpoint.problems) {
      context.note(describeProblem(problem, problem.file ?? path));
    }
    return checkpoint.problems.some((problem) => problem.severity === 'error') ? 1 : 0;
  },
};

function toJson(checkpoint: Checkpoint): unknown {
  return {
    ...checkpoint,
    layers: checkpoint.layers.map(({ name, role, block, inFeatures, outFeatures, params, tensor }) => ({ name, role, block, inFeatures, outFeatures, params, dtype: tensor.dtype })),
  };
}

function describe(checkpoint: Checkpoint): string {
  const bytes = checkpoint.tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
  const params = checkpoint.layers.reduce((sum, layer) => sum + layer.params, 0);
  const rows = checkpoint.layers.map((layer) => [layer.name, layer.role, String(layer.outFeatures), String(layer.inFeatures), layer.tensor.dtype, String(layer.params)]);
  return `${table(['layer', 'role', 'out', 'in', 'dtype', 'weights'], rows)}\n\n${checkpoint.architecture}: ${checkpoint.tensors.length} tensors, ${formatBytes(bytes)}; ` +
    `${checkpoint.layers.length} linear layers with ${params} weights`;
}
