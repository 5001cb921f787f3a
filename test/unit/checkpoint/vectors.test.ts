import assert from 'node:assert/strict';
import { isLowVector, kindOfVector } from '../../../server/src/checkpoint/vectors';
import type { Dtype } from '../../../server/src/protocol';
import { publishedModels, tensorsOf } from '../../fixtures/architectures';
import { checkpointOf } from '../../fixtures/checkpoints';

const problems = (specs: Record<string, { dtype: Dtype; shape: number[] }>): string[] =>
  checkpointOf({ 'a.weight': { dtype: 'BF16', shape: [8, 8] }, ...specs }).problems.filter(({ code }) => code === 'checkpoint/low-precision-vectors').map(({ message }) => message);

describe('norms, biases and other vectors in few bits', () => {
  const kinds: [name: string, shape: number[], kind: string | undefined][] = [
    ['transformer_blocks.0.attn.norm_q.weight', [128], 'norms'],
    ['double_blocks.0.img_attn.norm.query_norm.scale', [128], 'norms'],
    ['blocks.0.norm1.gamma', [64], 'norms'],
    ['proj_out.bias', [64], 'biases'],
    ['cap_embedder.0.weight', [2560], '1-D tensors'],
    ['norm1.linear.weight', [6, 6], undefined],
    ['blocks.0.to_q.weight_scale', [64], undefined],
    ['blocks.0.norm1.linear.weight_scale', [64], undefined],
    ['blocks.0.to_q.weight.absmax', [64], undefined],
    ['blocks.0.to_q.weight.quant_state.bitsandbytes__nf4', [90], undefined],
    ['blocks.0.to_q.scale', [64], undefined],
    ['blocks.0.to_q.wzeros', [64], undefined],
    ['logit_scale', [], undefined],
  ];
  for (const [name, shape, kind] of kinds) {
    it(`${name} [${shape.join(', ')}]: ${kind ?? 'none of them'}`, () => {
      assert.equal(kindOfVector({ name, shape }), kind);
      assert.equal(isLowVector({ name, shape }, 4.5), kind !== undefined);
      assert.equal(isLowVector({ name, shape }, 16), false);
    });
  }

  it('a checkpoint that was cast to FP8 as a whole is told so, with the price of the remedy', () => {
    const [message, ...none] = problems({ 'a.bias': { dtype: 'F8_E4M3', shape: [100] }, 'norm.weight': { dtype: 'F8_E4M3', shape: [50] }, 'b.weight': { dtype: 'F8_E4M3', shape: [8, 8] } });
    assert.deepEqual(none, []);
    assert.match(message ?? '', /biases and norms are stored as F8_E4M3 \(2 tensors: "a\.bias", "norm\.weight"\).* 16 bits would take 150 bytes more/);
  });

  it('packed matrices and side data are none of them, and neither is any published model', () => {
    assert.deepEqual(problems({ 'b.weight': { dtype: 'U8', shape: [512] }, 'b.weight_scale': { dtype: 'F8_E4M3', shape: [64] }, 'b.weight.absmax': { dtype: 'U8', shape: [64] } }), []);
    for (const model of publishedModels) {
      assert.deepEqual(checkpointOf(tensorsOf(model)).problems.filter(({ code }) => code === 'checkpoint/low-precision-vectors'), []);
    }
  });
});
