import { image, scalar } from './family';
import type { Family, Latent } from './family';
import { configNumber } from './source';
import type { Source } from './source';

/** FluxPipeline: 2 × 2 latent cells packed into a token, padded T5 rows without a mask. Guidance is an input of dev; schnell has none. One call per step. */
export const flux: Family = {
  ...image,
  text: {
    pipeline: 'FluxPipeline', width: 'joint_attention_dim', pooled: 'pooled_projection_dim',
    inputs({ embeds, pooled }, { source, settings: { guidance }, latent: { height, width } }) {
      const [rows, columns] = [height / 2, width / 2];
      return {
        encoder_hidden_states: embeds,
        pooled_projections: { shape: [pooled?.length ?? 0], data: pooled ?? new Float32Array() },
        txt_ids: { shape: [embeds.shape[0] ?? 0, 3], data: new Float32Array(3 * (embeds.shape[0] ?? 0)) },
        img_ids: { shape: [rows * columns, 3], data: Float32Array.from({ length: 3 * rows * columns }, (_, i) => [0, Math.floor(i / 3 / columns), Math.floor(i / 3) % columns][i % 3] ?? 0) },
        ...(embedsGuidance(source) ? { guidance: scalar(guidance) } : {}),
      };
    },
  },
  defaults: (source) => ({ ...(embedsGuidance(source) ? { steps: 20, guidance: 3.5 } : { steps: 4, guidance: 0 }), width: 512, height: 512, frames: 1 }),
  problems: ({ guidance }, source) => (embedsGuidance(source) || guidance <= 1 ? []
    : [{ key: 'guidance', message: 'This FLUX model takes no guidance (guidance_embeds is false, as in FLUX.1-schnell). Remove "guidance" from the preview settings.', instead: [null] }]),
  channels: (source) => configNumber(source, 'in_channels') / 4,
  patch: () => 2,
  guided: () => false,
  step: (x, timestep, latent) => ({ hidden_states: { shape: [(latent.height * latent.width) / 4, 4 * latent.channels], data: pack(x, latent) }, timestep: scalar(timestep / 1000) }),
  prediction: (output, latent) => unpack(output, latent),
};

function embedsGuidance({ checkpoint }: Source): boolean { return checkpoint.config?.['guidance_embeds'] === true; }

/** [C, h, w] → [h/2 · w/2, 4 C], features in the order (c, ph, pw). */
function pack(x: Float32Array, latent: Latent): Float32Array {
  const out = new Float32Array(x.length);
  eachPair(latent, (plain, packed) => { out[packed] = x[plain] ?? 0; });
  return out;
}

function unpack(tokens: Float32Array, latent: Latent): Float32Array {
  const out = new Float32Array(tokens.length);
  eachPair(latent, (plain, packed) => { out[plain] = tokens[packed] ?? 0; });
  return out;
}

function eachPair({ channels, height, width }: Latent, visit: (plain: number, packed: number) => void): void {
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const token = Math.floor(y / 2) * (width / 2) + Math.floor(x / 2);
        visit((c * height + y) * width + x, token * 4 * channels + 4 * c + 2 * (y % 2) + (x % 2));
      }
    }
  }
}
