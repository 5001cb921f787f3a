import assert from 'node:assert/strict';
import { checkpointOf, publishedCheckpoint } from '../../../fixtures/checkpoints';
import { describeTraps, evaluated } from './support';

describe('stable-diffusion.cpp tensor type rules', () => {
  const zimage = publishedCheckpoint('Z-Image');
  const good = '^layers.*feed_forward.*weight=q4_K,attention=q8_0';
  const id = 'stable-diffusion.cpp';
  describeTraps('sdcpp/', id, [
    ['sdcpp/broken-rule', 'layers.[0-9]{1,2}.attention=q8_0,w1=q4_K', 'layers.[0-9]{1', good],
    ['sdcpp/broken-rule', '(?=layers).*w1=q4_K,w2=q4_K,w3=q4_K', '(?=layers).*w1=q4_K', good],
    ['sdcpp/type', 'attention=Q4_K,w1=q4_K', 'attention=Q4_K', good],
    ['sdcpp/space', 'attention=q4_K, w1=q4_K', ' w1=q4_K', good],
    ['sdcpp/never-converted', 'embedder=q8_0,w1=q4_K', 'embedder=q8_0', good],
    ['dialect/pattern', '*attention=q8_0,w1=q4_K', '*attention=q8_0', good],
    ['dialect/matches-nothing', 'attn=q8_0,w1=q4_K', 'attn=q8_0', good],
    ['dialect/pattern-not-read', '(at)ten\\1ion=q8_0,w1=q4_K', '(at)ten\\1ion=q8_0', good],
    ['dialect/no-such-block', 'layers\\.(2|30)\\.=q8_0,w1=q4_K', 'layers\\.(2|30)\\.=q8_0', 'layers\\.(2|29)\\.=q8_0,w1=q4_K'],
    ['dialect/shadowed', 'attention=q8_0,attention.to_q=q4_K', 'attention.to_q=q4_K', 'attention.to_q=q4_K,attention=q8_0'],
  ], zimage, 'rules.txt');

  const pixart = publishedCheckpoint('PixArt-Sigma-1024');
  describeTraps('ggml/', id, [['ggml/block-width', 'attn1.to_q=q4_K,ff.net.2=q4_K', 'attn1.to_q=q4_K', 'attn1.to_q=q8_0,ff.net.2=q4_K']], pixart, 'rules.txt');

  it('takes the first match, and leaves alone what is never converted or does not fit', () => {
    const layers = checkpointOf(Object.fromEntries(([['a.to_q', 512], ['a.to_k', 384], ['x_embedder', 512], ['b', 512]] as const).map(([name, width]) => [`${name}.weight`, { dtype: 'BF16' as const, shape: [8, width] }])));
    const { decisions, all } = evaluated(id, 'a\\.=q4_K,to_q=q8_0,embedder=q8_0', layers, 'rules.txt');
    assert.deepEqual(decisions.map(({ layer, treatment }) => [layer.name, treatment.label]), [['a.to_k', 'kept: its blocks do not fit'], ['a.to_q', 'q4_K'], ['b', 'as --type says'], ['x_embedder', 'kept: never converted']]);
    assert.deepEqual(all.map(({ code }) => code), ['dialect/shadowed', 'ggml/block-width', 'sdcpp/never-converted']);
  });
});

describe('llama-quantize tensor types', () => {
  const original = checkpointOf(Object.fromEntries(['double_blocks.0.img_attn.qkv', 'double_blocks.0.img_attn.proj', 'double_blocks.10.img_attn.proj', 'single_blocks.0.linear1'].map((name) => [`${name}.weight`, { dtype: 'BF16' as const, shape: [8, 256] }])));
  /** A model of a known class with diffusers names among its own. */
  const named = { ...original, architecture: 'FluxTransformer2DModel', layers: [...original.layers, ...publishedCheckpoint('FLUX.1-dev').layers] };
  const good = 'double_blocks\\.[0-9]+\\.img_attn=q6_k\nsingle=q4_k\n';
  describeTraps('llama/', 'llama-quantize', [
    ['llama/malformed', `${good}single=q4_k linear`, 'linear', good],
    ['llama/type', `${good}single=q9_k linear1=q4_k`, 'single=q9_k', good],
    ['llama/lower-case', 'blocks\\.\\D=q6_k single=q4_k', 'blocks\\.\\D=q6_k', good],
    ['llama/overlap', 'img_attn=q6_k img_attn\\.proj=q8_0', 'img_attn\\.proj=q8_0', 'img_attn\\.qkv=q6_k img_attn\\.proj=q8_0'],
    ['llama/ignored', good, 'double_blocks\\.[0-9]+\\.img_attn=q6_k', 'a=q8_0,b=q8_0'],
    ['llama/iq', 'img_attn=iq4_xs single=q4_k', 'img_attn=iq4_xs', good],
    ['llama/five-dimensions', 'attn=q8_0 ffn=q4_k', 'attn=q8_0', 'attn=q8_0 ffn=q4_k', original, publishedCheckpoint('Wan2.1-1.3B')],
    ['llama/long-name', good, 'double_blocks\\.[0-9]+\\.img_attn=q6_k', good, named, { ...named, tensors: [...named.tensors, ...named.tensors.slice(0, 1).map((tensor) => ({ ...tensor, name: 'x'.repeat(128) }))] }],
    ['llama/diffusers-names', 'single=q4_k img_attn=q4_k', 'single=q4_k', 'single=q4_k img_attn=q4_k', original],
    ['dialect/matches-nothing', `${good}img_mlp=q4_k`, 'img_mlp=q4_k', good],
  ], named, 'types.txt');
});
