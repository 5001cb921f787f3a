/** What every op of a program has in common. */
import type { TensorRef } from './addon';
import type { Buffer, Op } from './graph';

/** Buffers that an op reads, in the order of its fields. */
export function inputsOf(op: Op): Buffer[] {
  switch (op.op) {
    case 'constant': case 'tensor': return [];
    case 'row': return [op.index];
    case 'timestep': return [op.t];
    case 'modulate': return [op.x, op.shift, op.scale];
    case 'gateAdd': return [op.x, op.gate, op.y];
    case 'binary': return [op.a, op.b];
    case 'attention': return [op.q, op.k, op.v, ...(op.bias === null ? [] : [op.bias])];
    case 'rope': return [op.x, op.cos, op.sin];
    case 'concat': return op.xs;
    default: return [op.x];
  }
}

/** Tensors of the checkpoint that an op reads. */
export function tensorsOf(op: Op): TensorRef[] {
  return Object.values(op).filter((value): value is TensorRef => typeof value === 'object' && value !== null && 'file' in value);
}
