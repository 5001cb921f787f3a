/** Positions of tokens: additive sine–cosine tables and rotary angles. Computed in float64 as the reference implementations do, stored as float32. models.md A1. */
import type { Builder, Value } from './builder';

/** [sin(pos w), cos(pos w)], w_k = 10000^(−k/(dim/2)); one row of `dim` per position. */
export function sincos1d(dim: number, positions: readonly number[]): Float64Array[] {
  const half = dim / 2;
  return positions.map((position) => Float64Array.from({ length: dim }, (_, i) => {
    const angle = position * (1 / 10000 ** ((i % half) / half));
    return i < half ? Math.sin(angle) : Math.cos(angle);
  }));
}

/** [h·w, dim]: the first half of the channels encodes the column, the last half the row. `base` is the grid the model was trained on: other sizes are stretched onto it. */
export function sincos2d(dim: number, h: number, w: number, base: number, interpolation: number): Float32Array {
  const rows = sincos1d(dim / 2, range(h).map((i) => scaled(i, h, base, interpolation)));
  const columns = sincos1d(dim / 2, range(w).map((i) => scaled(i, w, base, interpolation)));
  return table(h * w, dim, (token) => [columns[token % w], rows[Math.floor(token / w)]]);
}

/** Coordinates are float32 in the reference: each division rounds. */
function scaled(i: number, size: number, base: number, interpolation: number): number {
  return Math.fround(Math.fround(i / Math.fround(size / base)) / Math.fround(interpolation));
}

/** [frames·h·w, dim]: a quarter of the channels for time, the rest for column and row. CogVideoX 2B. */
export function sincos3d(dim: number, frames: number, h: number, w: number, spatial: number, temporal: number): Float32Array {
  const time = sincos1d(dim / 4, range(frames).map((i) => i / temporal));
  const rows = sincos1d((3 * dim) / 8, range(h).map((i) => Math.fround(i / Math.fround(spatial))));
  const columns = sincos1d((3 * dim) / 8, range(w).map((i) => Math.fround(i / Math.fround(spatial))));
  return table(frames * h * w, dim, (token) => [time[Math.floor(token / (h * w))], columns[token % w], rows[Math.floor(token / w) % h]]);
}

function table(tokens: number, dim: number, parts: (token: number) => (Float64Array | undefined)[]): Float32Array {
  const out = new Float32Array(tokens * dim);
  for (let token = 0; token < tokens; token++) {
    let at = token * dim;
    for (const part of parts(token)) {
      out.set(part ?? [], at);
      at += part?.length ?? 0;
    }
  }
  return out;
}

/** Rotary angles: per axis of size D positions / theta^(2i/D), i = 0 … D/2 − 1, the axes one after the other. `ids` holds one coordinate per axis and token. */
export function ropeTables(b: Builder, ids: readonly (readonly number[])[], axes: readonly number[], theta: number): { cos: Value; sin: Value } {
  const half = axes.reduce((sum, size) => sum + size / 2, 0);
  const cos = new Float32Array(ids.length * half);
  const sin = new Float32Array(ids.length * half);
  ids.forEach((id, token) => {
    let at = token * half;
    axes.forEach((size, axis) => {
      for (let i = 0; i < size / 2; i++, at++) {
        const angle = (id[axis] ?? 0) * (1 / theta ** ((2 * i) / size));
        cos[at] = Math.cos(angle);
        sin[at] = Math.sin(angle);
      }
    });
  });
  return { cos: b.constant(cos, [ids.length, half]), sin: b.constant(sin, [ids.length, half]) };
}

export function range(length: number): number[] { return Array.from({ length }, (_, i) => i); }
