import type { Builder, Value } from '../builder';
import { shapeOf } from '../model';
import type { Model } from '../model';

/** AutoencoderTiny (taesd, taesdxl, taesd3, taef1): the model's own latent [C, h, w], neither scaled nor shifted → picture −1..1. models.md B4. */
export const autoencoderTiny: Model = {
  classes: ['AutoencoderTiny'],
  inputs: { latents: 3 },
  build(b, given) {
    const blocks = b.checkpoint.config?.['num_decoder_blocks'];
    const counts = Array.isArray(blocks) && blocks.every(Number.isInteger) ? (blocks as number[]) : [3, 3, 3, 1];
    const at = (i: number): string => `decoder.layers.${i}`;
    let x = b.unary('relu', b.conv(at(0), squash(b, b.input('latents', shapeOf(given, 'latents', 3)))));
    let layer = 2;
    counts.forEach((count, level) => {
      for (let i = 0; i < count; i++, layer++) {
        x = b.unary('relu', b.add(threeConvs(b, at(layer), x), x));
      }
      if (level < counts.length - 1) {
        x = b.upsample(x);
        layer++;
      }
      x = b.conv(at(layer), x);
      layer++;
    });
    b.output('sample', b.affine(x, 2, -1));
  },
};

/** tanh(z/3)·3: tiny decoders bound their input. */
export function squash(b: Builder, z: Value): Value {
  return b.affine(b.unary('tanh', b.affine(z, 1 / 3, 0)), 3, 0);
}

export function threeConvs(b: Builder, at: string, x: Value): Value {
  return b.conv(`${at}.conv.4`, b.unary('relu', b.conv(`${at}.conv.2`, b.unary('relu', b.conv(`${at}.conv.0`, x)))));
}
