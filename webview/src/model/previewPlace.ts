/** Which pictures there are and where in them the user stands. */
import type { PreviewFrame } from '../../../server/src/protocol';

/** A moment of one item: a step of the trajectory (null: the finished sample) and a frame of the video. */
export interface Place { item: number; step: number | null; frame: number }

/** The reference's index among the candidates, as in PreviewFrame. */
export const REFERENCE = -1;

export function findFrame(frames: readonly PreviewFrame[], candidate: number, { item, step, frame }: Place): PreviewFrame | undefined {
  return frames.find((each) => each.candidate === candidate && each.item === item && each.step === step && each.frame === frame);
}

/** Positions of the step scrubber: every step an item has a picture of, in order, the finished sample last. */
export function positions(frames: readonly PreviewFrame[], item: number): (number | null)[] {
  const steps = new Set(frames.filter((each) => each.item === item).map(({ step }) => step));
  return [...steps].sort((a, b) => (a ?? Infinity) - (b ?? Infinity));
}

/** 1 for pictures. */
export function videoFrames(frames: readonly PreviewFrame[], item: number): number {
  return frames.reduce((most, each) => (each.item === item ? Math.max(most, each.frame + 1) : most), 1);
}

/** What is shown until the user chooses: the last step that reference and candidate both have, else the last there is. */
export function latestStep(frames: readonly PreviewFrame[], item: number, candidate: number): number | null {
  const all = positions(frames, item);
  const has = (index: number, step: number | null): boolean => frames.some((each) => each.item === item && each.candidate === index && each.step === step);
  const both = all.filter((step) => has(candidate, step) && has(REFERENCE, step));
  return (both.length > 0 ? both : all).at(-1) ?? null;
}

/** Steps are counted from 1 for readers. */
export function stepTitle(step: number | null, steps: number | undefined, timestep?: number): string {
  if (step === null) {
    return 'finished sample';
  }
  return `step ${step + 1}${steps === undefined ? '' : ` of ${steps}`}${timestep === undefined ? '' : `, t = ${Number(timestep.toPrecision(5))}`}`;
}

/** `glyph-dit.quant.yaml` and its W4A4 candidate → `glyph-dit-quantized-item1-step20.png`: letters, digits, dots and dashes only. */
export function pictureFileName(config: string, what: string, { item, step, frame }: Place, video: boolean): string {
  const stem = config.replace(/(\.quant)?\.ya?ml$/, '');
  const parts = [stem, what, `item${item + 1}`, step === null ? 'finished' : `step${step + 1}`, ...(video ? [`frame${frame + 1}`] : [])];
  return `${parts.join('-').replace(/[^\w.]+/g, '-')}.png`;
}
