import assert from 'node:assert/strict';
import type { Checkpoint } from '../../../../server/src/protocol';
import { checkpointOf, publishedCheckpoint } from '../../../fixtures/checkpoints';
import type { TensorSpec } from '../../../fixtures/safetensors';
import { describeTraps, evaluated } from './support';

describe('stable-diffusion.cpp tensor type rules', () => {
  const zimage = publishedCheckpoint('Z-Image');
  const good = '^layers.*feed_forward.*weight=q4_K,attention=q8_0';
  const id = 'stable-diffusion.cpp';
  const bf16 = (...shape: number[]): TensorSpec => ({ dtype: 'BF16', shape });
  /** The blocks of q8_0 divide the first norm and not the second. */
  const normed = checkpointOf({ 'layers.0.attention.to_q.weight': bf16(8, 64), 'layers.0.attention.to_q.bias': bf16(64), 'layers.0.attention_norm1.weight': bf16(64), 'layers.0.norm_k.weight': bf16(8), 'layers.0.feed_forward.w1.weight': bf16(8, 64), 'x_embedder.norm.weight': bf16(64) });
  describeTraps('sdcpp/', id, [
    ['sdcpp/broken-rule', 'layers.[0-9]{1,2}.attention=q8_0,w1=q4_K', 'layers.[0-9]{1', good],
    ['sdcpp/broken-rule', '(?=layers).*w1=q4_K,w2=q4_K,w3=q4_K', '(?=layers).*w1=q4_K', good],
    ['sdcpp/type', 'attention=Q4_K,w1=q4_K', 'attention=Q4_K', good],
    ['sdcpp/space', 'attention=q4_K, w1=q4_K', ' w1=q4_K', good],
    ['sdcpp/never-converted', 'embedder=q8_0,w1=q4_K', 'embedder=q8_0', good],
    ['sdcpp/norms', 'to_q=q8_0,^layers=q8_0', '^layers=q8_0', 'to_q=q8_0,norm[^.]*\\.weight$=f32,^layers=q8_0', normed, normed],
    ['dialect/pattern', '*attention=q8_0,w1=q4_K', '*attention=q8_0', good],
    ['dialect/matches-nothing', 'attn=q8_0,w1=q4_K', 'attn=q8_0', good],
    ['dialect/pattern-not-read', '(at)ten\\1ion=q8_0,w1=q4_K', '(at)ten\\1ion=q8_0', good],
    ['dialect/no-such-block', 'layers\\.(2|30)\\.=q8_0,w1=q4_K', 'layers\\.(2|30)\\.=q8_0', 'layers\\.(2|29)\\.=q8_0,w1=q4_K'],
    ['dialect/shadowed', 'attention=q8_0,attention.to_q=q4_K', 'attention.to_q=q4_K', 'attention.to_q=q4_K,attention=q8_0'],
  ], zimage, 'rules.txt');

  const pixart = publishedCheckpoint('PixArt-Sigma-1024');
  describeTraps('ggml/', id, [['ggml/other-tensors', 'attention=q8_0,\\.bias$=q8_0', '\\.bias$=q8_0', 'attention=q8_0,norm1=f32', normed, normed], ['ggml/block-width', 'attn1.to_q=q4_K,ff.net.2=q4_K', 'attn1.to_q=q4_K', 'attn1.to_q=q8_0,ff.net.2=q4_K']], pixart, 'rules.txt');

  it('takes the first match, and leaves alone what is never converted or does not fit', () => {
    const layers = checkpointOf(Object.fromEntries(([['a.to_q', 512], ['a.to_k', 384], ['x_embedder', 512], ['b', 512]] as const).map(([name, width]) => [`${name}.weight`, { dtype: 'BF16' as const, shape: [8, width] }])));
    const { decisions, all } = evaluated(id, 'a\\.=q4_K,to_q=q8_0,embedder=q8_0', layers, 'rules.txt');
    assert.deepEqual(decisions.map(({ layer, treatment }) => [layer.name, treatment.label]), [['a.to_k', 'kept: its blocks do not fit'], ['a.to_q', 'q4_K'], ['b', 'as --type says'], ['x_embedder', 'kept: never converted']]);
    assert.deepEqual(all.map(({ code }) => code), ['dialect/shadowed', 'ggml/block-width', 'sdcpp/never-converted']);
  });

  it('says what a rule names besides layers: what stays as it is, and norms that it converts', () => {
    const seen = (text: string): [code: string, message: string][] => evaluated(id, text, normed, 'rules.txt').all.map(({ code, message }) => [code, message]);
    const [[code, message] = [], ...more] = seen('bias=q8_0,norm_k=q8_0,x_embedder=q8_0');
    assert.deepEqual([code, more.map(([each]) => each)], ['ggml/other-tensors', ['ggml/other-tensors', 'ggml/other-tensors']]);
    assert.match(message ?? '', /^"bias=q8_0" takes no layer\. It names 1 tensor such as "layers\.0\.attention\.to_q\.bias" \[64\]\. stable-diffusion\.cpp converts no \.bias, .*The rule does nothing\.$/);
    // Those that take a layer, or a tensor that is converted, do something.
    assert.deepEqual(seen('to_q=q8_0,norm1=f32'), []);
    assert.deepEqual(seen('nothing=q8_0,to_q=f16').map(([each]) => each), ['dialect/matches-nothing']);
    assert.match(seen('^layers=q8_0')[0]?.[1] ?? '', /takes 1 vector along, such as "layers\.0\.attention_norm1\.weight": norms in q8_0/);
    assert.deepEqual(seen('^layers=f16'), []);
  });
});

describe('llama-quantize tensor types', () => {
  const original = checkpointOf(Object.fromEntries(['double_blocks.0.img_attn.qkv', 'double_blocks.0.img_attn.proj', 'double_blocks.10.img_attn.proj', 'single_blocks.0.linear1'].map((name) => [`${name}.weight`, { dtype: 'BF16' as const, shape: [8, 256] }])));
  const others = { ...original, tensors: [...original.tensors, ...checkpointOf({ 'double_blocks.0.img_attn.proj.bias': { dtype: 'F32', shape: [8] }, 'double_blocks.0.norm.query_norm.scale': { dtype: 'F32', shape: [8] }, scale_shift_table: { dtype: 'F32', shape: [6, 256] }, 'vocab.weight': { dtype: 'F32', shape: [4, 256] } }).tensors] };
  /** A model of a known class with diffusers names among its own. */
  const named = { ...original, architecture: 'FluxTransformer2DModel', layers: [...original.layers, ...publishedCheckpoint('FLUX.1-dev').layers] };
  const good = 'double_blocks\\.[0-9]+\\.img_attn=q6_k\nsingle=q4_k\n';
  const unet = (attention: number): Checkpoint => checkpointOf({ 'down_blocks.0.downsamplers.0.conv.weight': { dtype: 'F16', shape: [320, 320, 3, 3] }, 'down_blocks.0.attn.to_q.weight': { dtype: 'F16', shape: [attention, attention] }, 'down_blocks.0.time_emb_proj.weight': { dtype: 'F16', shape: [320, 1280] } });
  describeTraps('llama/', 'llama-quantize', [
    ['llama/reshaped', 'to_q=q4_k\ntime_emb=q4_k\n', 'to_q=q4_k', 'to_q=q8_0\ntime_emb=q4_k\n', unet(320), unet(320)], ['llama/reshaped', 'to_q=q4_k\ntime=q8_0\n', 'to_q=q4_k', 'to_q=q4_k\ntime=q8_0\n', unet(1280), unet(640)],
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
    ['ggml/other-tensors', `${good}norm=q8_0`, 'norm=q8_0', good, others, others],
    ['ggml/other-tensors', `${good}bias=f32`, 'bias=f32', `${good}single.*bias=f32`, others, others],
  ], named, 'types.txt');

  it('says of a rule for vectors alone that they stay as they are', () => {
    const [first, ...more] = evaluated('llama-quantize', `${good}table|bias=f32 vocab=q8_0`, others, 'types.txt').all.filter(({ code }) => code !== 'llama/ignored');
    assert.match(first?.message ?? '', /^"table\|bias=f32" takes no layer\. It names 2 tensors such as "double_blocks\.0\.img_attn\.proj\.bias" \[8\]\. llama-quantize converts tensors of two dimensions .*F32\. The rule does nothing\.$/);
    // A table that ends in "weight" is converted like any matrix.
    assert.deepEqual(more, []);
  });
});
