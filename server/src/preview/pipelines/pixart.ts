import { image, scalar } from './family';
import type { Family } from './family';
import { configNumber } from './source';

/** PixArtSigmaPipeline and PixArtAlphaPipeline: masked cross-attention to 300 (α: 120) rows of T5. α at 1024 px is also told the size of the picture. */
export const pixart: Family = {
  ...image,
  anySize: false,
  text: {
    pipeline: 'PixArtSigmaPipeline', width: 'caption_channels', pooled: null,
    refusal: ({ file, masked }) => (masked ? undefined
      : `${file}: the attention mask is missing ("prompt_attention_mask", and "negative_prompt_attention_mask" for guidance). PixArt pads its prompts and hides the padding; make the file anew as docs/prompts.md shows.`),
    inputs({ embeds, mask }, { source: { checkpoint: { config } }, settings: { width, height } }) {
      const size = config?.['use_additional_conditions'] ?? config?.['sample_size'] === 128;
      return { encoder_hidden_states: embeds, encoder_attention_mask: { shape: [mask?.length ?? 0], data: mask ?? new Float32Array() }, ...(size ? { resolution: scalar(height, width), aspect_ratio: scalar(height / width) } : {}) };
    },
  },
  defaults: (source, factor) => ({ steps: 20, guidance: 4.5, width: configNumber(source, 'sample_size') * factor, height: configNumber(source, 'sample_size') * factor, frames: 1 }),
  channels: (source) => configNumber(source, 'in_channels'),
  patch: (source) => configNumber(source, 'patch_size'),
};
