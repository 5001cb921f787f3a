/** Numbers and pictures of one step, quantized beside full precision. */
import type { PreviewAgreement, PreviewFrame, PreviewStep } from '../protocol';
import { cosine, psnrDb, relativeMse, ssim, valueRange } from './metrics';
import type { Picture } from './metrics';
import { toPng } from './png';

/** Latents and their pictures; frames of a video are averaged. */
export function agreement(latent: Float32Array, reference: Float32Array, pictures: readonly Picture[], referencePictures: readonly Picture[]): PreviewAgreement {
  const pairs = pictures.flatMap((picture, i) => (referencePictures[i] ? [[picture, referencePictures[i]] as const] : []));
  const psnrs = pairs.map(([a, b]) => psnrDb(a.data, b.data, 1));
  return {
    latentCosine: cosine(latent, reference), latentPsnrDb: psnrDb(latent, reference, valueRange(reference)),
    psnrDb: meanPsnr(psnrs), ssim: mean(pairs.map(([a, b]) => ssim(a, b))),
  };
}

/** Over items (classes, prompts) or steps. Equal ones count in cosine and SSIM; the PSNR is the mean over those that differ, null when none does. */
export function averageAgreement(all: readonly PreviewAgreement[]): PreviewAgreement {
  return {
    latentCosine: mean(all.map((each) => each.latentCosine)), latentPsnrDb: meanPsnr(all.map((each) => each.latentPsnrDb)),
    psnrDb: meanPsnr(all.map((each) => each.psnrDb)), ssim: mean(all.map((each) => each.ssim)),
  };
}

export function averageSteps(items: readonly (readonly PreviewStep[])[]): PreviewStep[] {
  return (items[0] ?? []).map(({ step, timestep }, i) => {
    const all = items.flatMap((steps) => steps[i] ?? []);
    return { step, timestep, outputRelativeMse: mean(all.map((each) => each.outputRelativeMse)), ...averageAgreement(all) };
  });
}

export function compareStep(step: number, timestep: number, output: Float32Array, referenceOutput: Float32Array, numbers: PreviewAgreement): PreviewStep {
  return { step, timestep, outputRelativeMse: relativeMse(output, referenceOutput), ...numbers };
}

export function toFrames(pictures: readonly Picture[], candidate: number, item: number, step: number | null): PreviewFrame[] {
  return pictures.map((picture, frame) => ({ candidate, item, frame, step, width: picture.width, height: picture.height, png: Buffer.from(toPng(picture)).toString('base64') }));
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

function meanPsnr(values: readonly (number | null)[]): number | null {
  const finite = values.filter((value) => value !== null);
  return finite.length === 0 ? null : mean(finite);
}
