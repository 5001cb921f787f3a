import type { Builder, Value } from '../builder';
import { shapeOf } from '../model';
import type { Model } from '../model';

const eps = 1e-6;

/** AutoencoderKL decoder (SD, SDXL, FLUX and Z-Image VAEs). latents [C, h, w] already divided by scaling_factor and shifted → picture about −1..1. models.md B1. */
export const autoencoderKl: Model = {
  classes: ['AutoencoderKL'],
  inputs: { latents: 3 },
  build(b, given) {
    const groups = b.integer('norm_num_groups', 32);
    const layers = b.integer('layers_per_block', 2);
    let x = b.input('latents', shapeOf(given, 'latents', 3));
    if (b.has('post_quant_conv.weight')) {
      x = b.conv('post_quant_conv', x);
    }
    x = b.conv('decoder.conv_in', x);
    x = resnet(b, 'decoder.mid_block.resnets.0', x, groups);
    x = selfAttention(b, 'decoder.mid_block.attentions.0', x, groups);
    x = resnet(b, 'decoder.mid_block.resnets.1', x, groups);
    for (let i = 0; b.has(`decoder.up_blocks.${i}.resnets.0.conv1.weight`); i++) {
      for (let j = 0; j <= layers; j++) {
        x = resnet(b, `decoder.up_blocks.${i}.resnets.${j}`, x, groups);
      }
      if (b.has(`decoder.up_blocks.${i}.upsamplers.0.conv.weight`)) {
        x = b.conv(`decoder.up_blocks.${i}.upsamplers.0.conv`, b.upsample(x));
      }
    }
    b.output('sample', b.conv('decoder.conv_out', b.unary('silu', b.groupnorm(x, groups, eps, 'decoder.conv_norm_out'))));
  },
};

function resnet(b: Builder, at: string, x: Value, groups: number): Value {
  const half = (n: number, y: Value): Value => b.conv(`${at}.conv${n}`, b.unary('silu', b.groupnorm(y, groups, eps, `${at}.norm${n}`)));
  return b.add(half(2, half(1, x)), b.has(`${at}.conv_shortcut.weight`) ? b.conv(`${at}.conv_shortcut`, x) : x);
}

/** One head over all positions. Files from before diffusers 0.15 call the projections query, key, value and proj_attn. */
function selfAttention(b: Builder, at: string, x: Value, groups: number): Value {
  const names = b.has(`${at}.to_q.weight`) ? ['to_q', 'to_k', 'to_v', 'to_out.0'] : ['query', 'key', 'value', 'proj_attn'];
  if (!b.has(`${at}.${names[0] ?? ''}.weight`)) {
    return x;
  }
  const [channels = 0, h = 0, w = 0] = x.shape;
  const y = b.permute(b.groupnorm(x, groups, eps, `${at}.group_norm`), [channels, h * w], [1, 0], [h * w, channels]);
  const [q, k, v] = names.slice(0, 3).map((name) => b.linear(`${at}.${name}`, y)) as [Value, Value, Value];
  return b.add(x, b.permute(b.linear(`${at}.${names[3] ?? ''}`, b.attention(q, k, v, 1)), [h * w, channels], [1, 0], [channels, h, w]));
}
