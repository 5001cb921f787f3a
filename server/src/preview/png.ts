import { encode } from 'fast-png';
import type { Picture } from './metrics';

/** Values 0..1 → 8-bit PNG, grey for one channel, else RGB. */
export function toPng({ channels, width, height, data }: Picture): Uint8Array {
  const area = width * height;
  const colours = channels === 1 ? 1 : 3;
  const pixels = new Uint8Array(area * colours);
  for (let at = 0; at < area; at++) {
    for (let colour = 0; colour < colours; colour++) {
      pixels[at * colours + colour] = Math.round(255 * Math.min(1, Math.max(0, data[colour * area + at] ?? 0)));
    }
  }
  return encode({ width, height, data: pixels, channels: colours, depth: 8 });
}
