import type { Builder, Value } from '../builder';
import { shapeOf } from '../model';
import type { Model } from '../model';

/** AutoencoderKLWan 2.1 decoder: latents [16, T, h, w], already times std plus mean → video −1..1 of 4T − 3 frames. One latent frame at a time; convolutions remember two frames. models.md B2. */
export const autoencoderKlWan: Model = {
  classes: ['AutoencoderKLWan'],
  inputs: { latents: 4 },
  build(b, given) {
    const [, frames = 0] = shapeOf(given, 'latents', 4);
    const z = b.conv('post_quant_conv', b.input('latents', shapeOf(given, 'latents', 4)));
    const decoder = new WanDecoder(b);
    const parts = Array.from({ length: frames }, (_, t) => decoder.frame(b.slice(z, 1, t, t + 1), t === 0));
    b.output('sample', b.affine(b.concat(parts, 1), 1, 0, -1, 1));
  },
};

class WanDecoder {
  /** The last two input frames of every causal convolution. */
  private readonly memory = new Map<string, Value>();
  private readonly levels: number;
  private readonly resnets: number;
  private readonly temporal: readonly boolean[];

  constructor(private readonly b: Builder) {
    const { config } = b.checkpoint;
    const list = <T>(key: string, fallback: T[]): T[] => (Array.isArray(config?.[key]) ? (config[key] as T[]) : fallback);
    this.levels = list('dim_mult', [1, 2, 4, 4]).length;
    this.resnets = b.integer('num_res_blocks', 2);
    // Stored from the encoder's side; the decoder goes the other way.
    this.temporal = [...list('temperal_downsample', [false, true, true])].reverse();
  }

  frame(z: Value, first: boolean): Value {
    const { b } = this;
    let x = this.causal('decoder.conv_in', z);
    x = this.resnet('decoder.mid_block.resnets.0', x);
    x = b.eachFrame(x, (frame) => this.attention('decoder.mid_block.attentions.0', frame));
    x = this.resnet('decoder.mid_block.resnets.1', x);
    for (let i = 0; i < this.levels; i++) {
      for (let j = 0; j <= this.resnets; j++) {
        x = this.resnet(`decoder.up_blocks.${i}.resnets.${j}`, x);
      }
      if (i < this.levels - 1) {
        const at = `decoder.up_blocks.${i}.upsamplers.0`;
        x = this.temporal[i] && !first ? this.doubleTime(`${at}.time_conv`, x) : x;
        x = b.eachFrame(x, (frame) => b.conv(`${at}.resample.1`, b.upsample(frame)));
      }
    }
    return this.causal('decoder.conv_out', b.unary('silu', b.channelnorm(x, 'decoder.norm_out.gamma')));
  }

  /** Pads in time with what came before: zeros at the start. */
  private causal(name: string, x: Value): Value {
    const { b } = this;
    const pad = (b.tensor(`${name}.weight`).shape[2] ?? 1) - 1;
    if (pad === 0) {
      return b.conv(name, x);
    }
    const earlier = this.memory.get(name);
    const missing = pad - (earlier?.shape[1] ?? 0);
    const zeros = missing > 0 ? [b.affine(b.concat(Array.from({ length: missing }, () => b.slice(x, 1, 0, 1)), 1), 0, 0)] : [];
    const joined = b.concat([...zeros, ...(earlier ? [earlier] : []), x], 1);
    const length = joined.shape[1] ?? 0;
    this.memory.set(name, b.slice(joined, 1, length - pad, length));
    return b.conv(name, joined);
  }

  private resnet(at: string, x: Value): Value {
    const { b } = this;
    const skip = b.has(`${at}.conv_shortcut.weight`) ? this.causal(`${at}.conv_shortcut`, x) : x;
    const half = (n: number, y: Value): Value => this.causal(`${at}.conv${n}`, b.unary('silu', b.channelnorm(y, `${at}.norm${n}.gamma`)));
    return b.add(half(2, half(1, x)), skip);
  }

  private attention(at: string, x: Value): Value {
    const { b } = this;
    const [channels = 0, h = 0, w = 0] = x.shape;
    const rows = b.permute(b.conv(`${at}.to_qkv`, b.channelnorm(x, `${at}.norm.gamma`)), [3 * channels, h * w], [1, 0], [h * w, 3 * channels]);
    const [q, k, v] = b.chunk(rows, 3) as [Value, Value, Value];
    return b.add(x, b.conv(`${at}.proj`, b.permute(b.attention(q, k, v, 1), [h * w, channels], [1, 0], [channels, h, w])));
  }

  /** C → 2C channels, whose halves become two consecutive frames. */
  private doubleTime(name: string, x: Value): Value {
    const { b } = this;
    const [channels = 0, frames = 0, h = 0, w = 0] = x.shape;
    return b.permute(this.causal(name, x), [2, channels, frames, h, w], [1, 2, 0, 3, 4], [channels, 2 * frames, h, w]);
  }
}
