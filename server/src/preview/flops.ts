import type { Program } from '../engine/graph';

/** Two per multiply-add of every linear, attention and convolution. */
export function programFlops(program: Program): number {
  const size = (id: number): number => (program.buffers[id] ?? []).reduce((product, each) => product * each, 1);
  const width = (id: number): number => program.buffers[id]?.at(-1) ?? 0;
  return program.ops.reduce((sum, op) => {
    switch (op.op) {
      case 'linear': return sum + 2 * size(op.x) * width(op.out);
      case 'attention': return sum + 4 * size(op.q) * (program.buffers[op.k]?.[0] ?? 0);
      case 'conv': return sum + 2 * size(op.out) * op.weight.shape.slice(1).reduce((product, each) => product * each, 1);
      default: return sum;
    }
  }, 0);
}
