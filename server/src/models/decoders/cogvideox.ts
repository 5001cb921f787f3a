import type { Builder, Value } from '../builder';
import { shapeOf } from '../model';
import type { Model } from '../model';

/** AutoencoderKLCogVideoX decoder: latents [16, T, h, w], already divided by scaling_factor → video about −1..1. Chunks of two latent frames, the first takes the odd one. models.md B3. */
export const autoencoderKlCogVideoX: Model = {
  classes: ['AutoencoderKLCogVideoX'],
  inputs: { latents: 4 },
  build(b, given) {
    const [, frames = 0] = shapeOf(given, 'latents', 4);
    const z = b.input('latents', shapeOf(given, 'latents', 4));
    const decoder = new CogDecoder(b);
    const chunks = Math.max(1, Math.floor(frames / 2));
    const odd = frames % 2;
    const parts = Array.from({ length: chunks }, (_, i) => decoder.chunk(b.slice(z, 1, 2 * i + (i === 0 ? 0 : odd), Math.min(frames, 2 * (i + 1) + odd))));
    b.output('sample', b.concat(parts, 1));
  },
};

class CogDecoder {
  /** The last frames of every causal convolution's input. */
  private readonly memory = new Map<string, Value>();
  private readonly layers: number;
  private readonly groups: number;
  private readonly timeLevels: number;

  constructor(private readonly b: Builder) {
    this.layers = b.integer('layers_per_block', 3);
    this.groups = b.integer('norm_num_groups', 32);
    this.timeLevels = Math.round(Math.log2(b.integer('temporal_compression_ratio', 4)));
  }

  chunk(z: Value): Value {
    const { b } = this;
    let x = this.causal('decoder.conv_in', z);
    for (const i of [0, 1]) {
      x = this.resnet(`decoder.mid_block.resnets.${i}`, x, z);
    }
    for (let i = 0; b.has(`decoder.up_blocks.${i}.resnets.0.conv1.conv.weight`); i++) {
      for (let j = 0; j <= this.layers; j++) {
        x = this.resnet(`decoder.up_blocks.${i}.resnets.${j}`, x, z);
      }
      const up = `decoder.up_blocks.${i}.upsamplers.0.conv`;
      if (b.has(`${up}.weight`)) {
        x = i < this.timeLevels ? this.doubleTime(x) : x;
        x = b.eachFrame(x, (frame) => b.conv(up, b.upsample(frame)));
      }
    }
    return this.causal('decoder.conv_out', b.unary('silu', this.spatialNorm('decoder.norm_out', x, z)));
  }

  /** The first chunk repeats its first frame, later ones go on from what came before. */
  private causal(name: string, x: Value): Value {
    const { b } = this;
    const pad = (b.tensor(`${name}.conv.weight`).shape[2] ?? 1) - 1;
    if (pad === 0) {
      return b.conv(`${name}.conv`, x);
    }
    const earlier = this.memory.get(name);
    const first = b.slice(x, 1, 0, 1);
    const joined = b.concat(earlier ? [earlier, x] : [...Array.from({ length: pad }, () => first), x], 1);
    const length = joined.shape[1] ?? 0;
    this.memory.set(name, b.slice(joined, 1, length - pad, length));
    return b.conv(`${name}.conv`, joined);
  }

  private resnet(at: string, x: Value, z: Value): Value {
    const { b } = this;
    const half = (n: number, y: Value): Value => this.causal(`${at}.conv${n}`, b.unary('silu', this.spatialNorm(`${at}.norm${n}`, y, z)));
    return b.add(half(2, half(1, x)), b.has(`${at}.conv_shortcut.weight`) ? b.conv(`${at}.conv_shortcut`, x) : x);
  }

  /** Group norm, scaled and shifted by 1 × 1 × 1 convolutions of the latent resized to the feature map. */
  private spatialNorm(at: string, f: Value, z: Value): Value {
    const { b } = this;
    const latent = this.resizeLatent(z, f.shape.slice(1));
    return b.add(b.mul(b.groupnorm(f, this.groups, 1e-6, `${at}.norm_layer`), this.causal(`${at}.conv_y`, latent)), this.causal(`${at}.conv_b`, latent));
  }

  /** Where the number of frames is odd the first one stands alone. */
  private resizeLatent(z: Value, [frames = 0, h = 0, w = 0]: readonly number[]): Value {
    const { b } = this;
    const [channels = 0, length = 0] = z.shape;
    return frames > 1 && frames % 2 === 1
      ? b.concat([b.resize(b.slice(z, 1, 0, 1), [channels, 1, h, w]), b.resize(b.slice(z, 1, 1, length), [channels, frames - 1, h, w])], 1)
      : b.resize(z, [channels, frames, h, w]);
  }

  private doubleTime(x: Value): Value {
    const { b } = this;
    const [channels = 0, frames = 0, h = 0, w = 0] = x.shape;
    if (frames === 1) {
      return x;
    }
    const doubled = (part: Value, count: number): Value => b.resize(part, [channels, 2 * count, h, w]);
    return frames % 2 === 1 ? b.concat([b.slice(x, 1, 0, 1), doubled(b.slice(x, 1, 1, frames), frames - 1)], 1) : doubled(x, frames);
  }
}
