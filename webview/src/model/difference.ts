/** The difference of two pictures as a heat map: values, scale and colours. */
import { interpolateInferno, rgb } from 'd3';

/** RGBA bytes, row-major, as a canvas gives them. */
export interface Pixels { width: number; height: number; data: Uint8ClampedArray }

export interface Difference {
  width: number;
  height: number;
  /** Per pixel the largest |a − b| of red, green and blue, 0..255. */
  levels: Uint8Array;
  largest: number;
  mean: number;
}

/** Throws when the sizes differ: stretching one of the pictures would make differences up. */
export function difference(a: Pixels, b: Pixels): Difference {
  if (a.width !== b.width || a.height !== b.height) {
    throw new Error(`The pictures differ in size: ${a.width} × ${a.height} and ${b.width} × ${b.height}.`);
  }
  const levels = new Uint8Array(a.width * a.height);
  let largest = 0;
  let sum = 0;
  for (let pixel = 0; pixel < levels.length; pixel++) {
    let most = 0;
    for (let channel = 4 * pixel; channel < 4 * pixel + 3; channel++) {
      most = Math.max(most, Math.abs((a.data[channel] ?? 0) - (b.data[channel] ?? 0)));
    }
    levels[pixel] = most;
    largest = Math.max(largest, most);
    sum += most;
  }
  return { width: a.width, height: a.height, levels, largest, mean: levels.length === 0 ? 0 : sum / levels.length };
}

/** Ends of the colour scale, in levels of 255. Few and round, so that pictures beside each other are often on the same one. */
export const SCALES = [8, 16, 32, 64, 128, 255] as const;

/** The chosen end, or with 'auto' the smallest that holds the largest difference. */
export function scaleEnd(choice: string, largest: number): number {
  const chosen = SCALES.find((end) => String(end) === choice);
  return chosen ?? SCALES.find((end) => end >= largest) ?? 255;
}

/** Inferno, as bytes: lightness rises steadily, so that order is visible without colour vision too. index 0..255. */
export const RAMP: readonly (readonly [number, number, number])[] = Array.from({ length: 256 }, (_, index) => {
  const { r, g, b } = rgb(interpolateInferno(index / 255));
  return [r, g, b];
});

/** Opaque RGBA bytes; `end` and everything above it has the last colour. */
export function paint({ levels }: Pick<Difference, 'levels'>, end: number): Uint8ClampedArray<ArrayBuffer> {
  const bytes = new Uint8ClampedArray(4 * levels.length);
  levels.forEach((level, pixel) => {
    const color = RAMP[Math.min(255, Math.round((255 * level) / end))] ?? [0, 0, 0];
    bytes.set(color, 4 * pixel);
    bytes[4 * pixel + 3] = 255;
  });
  return bytes;
}

/** The ramp as a CSS gradient, for the legend. */
export function rampGradient(): string {
  const stops = [0, 32, 64, 96, 128, 160, 192, 224, 255].map((index) => `rgb(${(RAMP[index] ?? [0, 0, 0]).join(' ')}) ${((100 * index) / 255).toFixed(1)}%`);
  return `linear-gradient(to right, ${stops.join(', ')})`;
}
