/** Arguments of a diffusers forward (batch 1) ↔ the inputs of a graph (no batch). */
import { ModelError } from './builder';
import type { Given } from './builder';
import type { Model } from './model';

/** Takes the batch dimension off, checks names and ranks. A scalar may stand for a vector of one. @throws ModelError */
export function withoutBatch(model: Model, tensors: Readonly<Record<string, Given>>): Record<string, Given> {
  const known = Object.keys(model.inputs);
  const unknown = Object.keys(tensors).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new ModelError(`${model.classes[0] ?? ''} takes no input "${unknown}"; it takes ${known.join(', ')}.`);
  }
  const missing = known.find((name) => !(name in tensors) && !model.optional?.includes(name));
  if (missing !== undefined) {
    throw new ModelError(`The input "${missing}" is missing; ${model.classes[0] ?? ''} takes ${known.join(', ')}.`);
  }
  return Object.fromEntries(Object.entries(tensors).map(([name, { shape, data }]) => [name, { data, shape: strip(name, shape, model.inputs[name] ?? 0) }]));
}

function strip(name: string, shape: readonly number[], rank: number): number[] {
  if (shape.length === rank) {
    return [...shape];
  }
  if (shape.length === rank + 1 && shape[0] === 1) {
    return shape.slice(1);
  }
  if (rank === 1 && shape.length === 0) {
    return [1];
  }
  throw new ModelError(`"${name}" has the shape [${shape.join(', ')}]; it needs ${rank} dimensions${shape.length === rank + 1 ? ', and a batch of 1: run the batch one by one' : ' after the batch'}.`);
}

/** The shape diffusers returns. */
export function withBatch(model: Model, shape: readonly number[]): number[] {
  return model.unbatched ? [...shape] : [1, ...shape];
}
