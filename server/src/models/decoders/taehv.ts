import { ModelError } from '../builder';
import type { Value } from '../builder';
import { shapeOf } from '../model';
import type { Model } from '../model';
import { range } from '../positions';
import { squash, threeConvs } from './tiny';

/** Which of the three levels double time. */
const timeUp = [false, true, true];

/** TAEHV (taew2_1, taecvx): the model's own latent [16, T, h, w] → video 0..1. Memory blocks see the frame before; the first frames of the doubled time are dropped. models.md B4. */
export const taehv: Model = {
  classes: ['TAEHV'],
  inputs: { latents: 4 },
  build(b, given) {
    const [channels = 0, frames = 0, h = 0, w = 0] = shapeOf(given, 'latents', 4);
    const video = b.input('latents', [channels, frames, h, w]);
    const at = (i: number): string => `decoder.${i}`;
    let x: Value[] = range(frames).map((t) => squash(b, b.reshape(b.slice(video, 1, t, t + 1), [channels, h, w])));
    x = x.map((frame) => b.unary('relu', b.conv(at(1), frame)));
    let layer = 3;
    for (const doubles of timeUp) {
      for (let i = 0; i < 3; i++, layer++) {
        const before = x;
        x = before.map((frame, t) => b.unary('relu', b.add(threeConvs(b, at(layer), b.concat([frame, before[t - 1] ?? b.affine(frame, 0, 0)], 0)), frame)));
      }
      x = x.map((frame) => b.upsample(frame));
      layer++;
      // A 1 × 1 convolution to twice the channels, whose halves are two frames. One that was stored for doubling and is not needed gives its last half.
      const doubled = x.map((frame) => b.conv(`${at(layer)}.conv`, frame));
      const width = x[0]?.shape[0] ?? 0;
      const parts = (doubled[0]?.shape[0] ?? 0) / width;
      if (parts !== 1 && parts !== 2) {
        throw new ModelError(`"${at(layer)}.conv" gives ${doubled[0]?.shape[0] ?? 0} channels from ${width}; a TAEHV decoder gives as many or twice as many.`);
      }
      x = doubled.flatMap((frame) => range(parts).slice(doubles ? 0 : -1).map((part) => b.slice(frame, 0, part * width, (part + 1) * width)));
      layer++;
      x = x.map((frame) => b.conv(at(layer), frame));
      layer++;
    }
    layer++; // the last activation
    const pictures = x.map((frame) => b.affine(b.conv(at(layer), b.unary('relu', frame)), 1, 0, 0, 1)).slice(2 ** timeUp.filter(Boolean).length - 1);
    b.output('sample', b.concat(pictures.map((picture) => b.reshape(picture, [picture.shape[0] ?? 0, 1, ...picture.shape.slice(1)])), 1));
  },
};
