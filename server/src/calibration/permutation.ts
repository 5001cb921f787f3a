/** Orders of the input channels; entry i names the channel that moves to place i. */
import { torchRandn } from '../samplers/noise';

/** By the order of seeded normal draws: uniform over all orders. */
export function randomOrder(width: number, seed: number): Uint32Array {
  return byValue(torchRandn(width, seed));
}

/** DuQuant's zigzag: channels by largest magnitude, dealt to the blocks back and forth (0, 1, …, k−1, k−1, …, 0, …), so that every block gets its share of outliers. `block` divides the width. */
export function zigzagOrder(absMax: Float32Array, block: number): Uint32Array {
  const blocks = absMax.length / block;
  const order = new Uint32Array(absMax.length);
  byValue(absMax).reverse().forEach((channel, rank) => {
    const [round, place] = [Math.floor(rank / blocks), rank % blocks];
    order[(round % 2 === 0 ? place : blocks - 1 - place) * block + round] = channel;
  });
  return order;
}

/** Ascending; equal values in order of their channels. */
function byValue(values: Float32Array): Uint32Array {
  return Uint32Array.from(values, (_, i) => i).sort((i, j) => (values[i] ?? 0) - (values[j] ?? 0) || i - j);
}
