import { decode, encode } from 'fast-png';
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

/** What `toPng` wrote, to 1/255. */
export function fromPng(png: Uint8Array): Picture {
  const { width, height, channels, data: pixels } = decode(png);
  const area = width * height;
  const data = new Float32Array(area * channels);
  for (let at = 0; at < area; at++) {
    for (let channel = 0; channel < channels; channel++) {
      data[channel * area + at] = (pixels[at * channels + channel] ?? 0) / 255;
    }
  }
  return { channels, width, height, data };
}

/** item<i>-<who>[-step<k>][-frame<f>].png; frames of a video count with as many digits as the last one needs. */
export function pictureName(who: string, { item, step, frame }: { item: number; step: number | null; frame: number }, frames: number): string {
  return [`item${item}`, who, ...(step === null ? [] : [`step${step}`]), ...(frames > 1 ? [`frame${String(frame).padStart(String(frames - 1).length, '0')}`] : [])].join('-') + '.png';
}
