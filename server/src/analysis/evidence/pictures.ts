/** Pictures that a report shows: reference, quantized and their difference, few enough and small enough to paste and to mail. */
import { fromPng, toPng } from '../../preview/png';
import type { Picture } from '../../preview/metrics';
import type { PreviewAgreement, PreviewFrame, PreviewSettings } from '../../protocol';
import type { ItemNumbers } from './comparison';

/** Rows of three pictures. */
const maxRows = 6;
/** Longest side in the report, pixels; larger pictures are averaged over squares of whole pixels. */
const maxSide = 512;
/** Tiny pictures are shown enlarged to about this many pixels, by a whole number. */
export const shownSide = 176;
/** Ends of the difference's scale, levels of 255. */
const scaleEnds = [8, 16, 32, 64, 128, 255];

/** PNGs in base64. */
export interface Triple { reference: string; quantized: string; difference: string }

export interface PictureRow {
  item: number;
  name: string;
  frame: number;
  /** Of the video; 1 for pictures. */
  frames: number;
  /** Step whose clean estimate is shown; null for the finished sample. */
  step: number | null;
  /** Of this item at this step; of a video, the mean over its frames. */
  metrics: PreviewAgreement;
  /** Pixels of the model's picture. */
  width: number;
  height: number;
  /** As the model draws them. */
  full: Triple;
  /** As the report shows them: averaged over `averaged`² pixels, then drawn `enlarged` times as large. */
  shown: Triple;
  averaged: number;
  enlarged: number;
  /** Level of 255 that white stands for in the difference, the same for all rows of a step. */
  differenceEnd: number;
}

interface Place { item: number; frame: number; step: number | null }

/** Every place of the first items: of a forced run the compared step that departs most and the last one, which hardly can; of a video the first, middle and last frame. */
export function choosePictures(frames: readonly PreviewFrame[], numbers: readonly ItemNumbers[], items: readonly string[], settings: PreviewSettings): PictureRow[] {
  const steps = settings.mode === 'free' ? [null] : [...new Set([worstStep(numbers), numbers[0]?.perStep.at(-1)?.step])].filter((step) => step !== undefined);
  const shownFrames = settings.frames === 1 ? [0] : [...new Set([0, Math.floor((settings.frames - 1) / 2), settings.frames - 1])];
  const count = Math.max(1, Math.floor(maxRows / (steps.length * shownFrames.length)));
  const places = items.slice(0, count).flatMap((_, item) => steps.flatMap((step) => shownFrames.map((frame) => ({ item, step, frame }))));
  const found = places.flatMap((place) => {
    const [reference, quantized] = [at(frames, place, -1), at(frames, place, 0)];
    const own = numbers.find(({ item }) => item === place.item);
    const metrics = place.step === null ? own?.metrics : own?.perStep.find(({ step }) => step === place.step);
    return reference && quantized && metrics ? [{ place, metrics, pair: [picture(reference), picture(quantized)] as const }] : [];
  });
  const endAt = (step: number | null): number => {
    const largest = Math.max(0, ...found.filter(({ place }) => place.step === step).map(({ pair: [a, b] }) => largestDifference(a, b)));
    return scaleEnds.find((end) => end >= largest) ?? 255;
  };
  return found.map(({ place, metrics, pair: [reference, quantized] }) => {
    const differenceEnd = endAt(place.step);
    const { width, height } = reference;
    const averaged = Math.max(1, Math.ceil(Math.max(width, height) / maxSide));
    const pictures = { reference, quantized, difference: difference(reference, quantized, differenceEnd) };
    return {
      ...place, frames: settings.frames, name: items[place.item] ?? '', metrics: agreementOf(metrics), width, height, averaged, differenceEnd,
      full: triple(pictures, (each) => each), shown: triple(pictures, (each) => shrink(each, averaged)), enlarged: Math.max(1, Math.floor(shownSide / Math.max(width, height))),
    };
  });
}

/** Where the pictures differ most; the last step alone would flatter. */
function worstStep(numbers: readonly ItemNumbers[]): number | undefined {
  const all = numbers.flatMap(({ perStep }) => perStep);
  const value = (psnr: number | null): number => (psnr === null ? Infinity : Number.isFinite(psnr) ? psnr : -Infinity);
  return [...all].sort((a, b) => value(a.latentPsnrDb) - value(b.latentPsnrDb) || a.step - b.step)[0]?.step;
}

function at(frames: readonly PreviewFrame[], { item, frame, step }: Place, candidate: number): PreviewFrame | undefined {
  return frames.find((each) => each.candidate === candidate && each.item === item && each.frame === frame && each.step === step);
}

function agreementOf({ latentCosine, latentPsnrDb, psnrDb, ssim }: PreviewAgreement): PreviewAgreement { return { latentCosine, latentPsnrDb, psnrDb, ssim }; }

function picture({ png }: PreviewFrame): Picture { return fromPng(Buffer.from(png, 'base64')); }

function triple({ reference, quantized, difference: third }: Record<keyof Triple, Picture>, change: (picture: Picture) => Picture): Triple {
  const encoded = (each: Picture): string => Buffer.from(toPng(change(each))).toString('base64');
  return { reference: encoded(reference), quantized: encoded(quantized), difference: encoded(third) };
}

/** Levels of 255. */
function largestDifference(a: Picture, b: Picture): number {
  return Math.round(255 * a.data.reduce((most, value, i) => Math.max(most, Math.abs(value - (b.data[i] ?? 0))), 0));
}

/** Grey: the largest difference of the channels, white from `end` levels on. */
export function difference(a: Picture, b: Picture, end: number): Picture {
  const area = a.width * a.height;
  const data = new Float32Array(area);
  for (let i = 0; i < a.data.length; i++) {
    data[i % area] = Math.max(data[i % area] ?? 0, (Math.abs((a.data[i] ?? 0) - (b.data[i] ?? 0)) * 255) / end);
  }
  return { channels: 1, width: a.width, height: a.height, data };
}

/** Means of squares of `by` pixels; what is left over at the right and below counts with what there is. */
export function shrink(source: Picture, by: number): Picture {
  if (by === 1) {
    return source;
  }
  const [width, height] = [Math.ceil(source.width / by), Math.ceil(source.height / by)];
  const [sums, counts] = [new Float32Array(source.channels * width * height), new Uint32Array(source.channels * width * height)];
  for (let channel = 0; channel < source.channels; channel++) {
    for (let y = 0; y < source.height; y++) {
      for (let x = 0; x < source.width; x++) {
        const to = (channel * height + Math.floor(y / by)) * width + Math.floor(x / by);
        sums[to] = (sums[to] ?? 0) + (source.data[(channel * source.height + y) * source.width + x] ?? 0);
        counts[to] = (counts[to] ?? 0) + 1;
      }
    }
  }
  return { channels: source.channels, width, height, data: sums.map((sum, i) => sum / (counts[i] ?? 1)) };
}
