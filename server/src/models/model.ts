/** What a model file provides: the forward pass of one diffusers class, batch 1, as a Program. */
import type { Builder, Given, Value } from './builder';
import { ModelError } from './builder';

export interface Model {
  /** diffusers class names this graph runs. */
  classes: readonly string[];
  /** The forward arguments and their number of dimensions without the batch. */
  inputs: Readonly<Record<string, number>>;
  /** Arguments that may be left out. */
  optional?: readonly string[];
  /** diffusers takes lists here instead of a batch: inputs and output have no batch dimension. */
  unbatched?: true;
  /** Adds inputs, ops and the output `sample` to the builder. Shapes come from what is given; positions may depend on values (ids). */
  build(b: Builder, given: Readonly<Record<string, Given>>): void;
}

/** A given input by name, with as many dimensions as the model wants. */
export function shapeOf(given: Readonly<Record<string, Given>>, name: string, rank: number): number[] {
  const { shape } = given[name] ?? {};
  if (!shape) {
    throw new ModelError(`The model needs the input "${name}".`);
  }
  if (shape.length !== rank) {
    throw new ModelError(`"${name}" must have ${rank} dimensions without the batch; it has [${shape.join(', ')}].`);
  }
  return shape;
}

/** [C, H, W] → [tokens, C·p·p], features in the order (c, ph, pw); tokens row by row. */
export function patchify(b: Builder, x: Value, p: number): { tokens: Value; h: number; w: number } {
  const [c = 0, height = 0, width = 0] = x.shape;
  const [h, w] = [height / p, width / p];
  return { tokens: b.permute(x, [c, h, p, w, p], [1, 3, 0, 2, 4], [h * w, c * p * p]), h, w };
}

/** [tokens, p·p·c], features in the order (ph, pw, c) → [c, H, W]. */
export function unpatchify(b: Builder, x: Value, h: number, w: number, p: number): Value {
  const c = (x.shape[1] ?? 0) / (p * p);
  return b.permute(x, [h, w, p, p, c], [4, 0, 2, 1, 3], [c, h * p, w * p]);
}
