import assert from 'node:assert/strict';
import { nearestDivisors } from '../../../server/src/lints/indivisible';
import { blockFallback, blockOf } from '../../../server/src/checkpoint/superblocks';
import { publishedCheckpoint } from '../../fixtures/checkpoints';
import { lintsOf, marks, remedied } from './linted';

const code = 'plan/refused';
const dit = publishedCheckpoint('DiT-XL/2-256');
const cog = publishedCheckpoint('CogVideoX-2b');
const head = 'version: 1\ncheckpoint: ./m\n';
const kept = 'rules:\n  - { layers: ["**.norm*.**", "proj_out*"], keep: original }\n';

describe('lint: groups and blocks that do not divide the width', () => {
  it('offers the nearest sizes that serve all layers of the same method', () => {
    const text = `${head}# as K-quants\ndefaults: { method: { name: rtn, weights: { group: 256 } }, scheme: W4A16 }\n${kept}`;
    assert.match(lintsOf(text, dit)[0]?.message ?? '', /does not divide the width 1152 \(GGUF's K-quants.*leave such layers in F16\)\. .*\(140 layers: transformer_blocks\.\*\.attn1\.to_k, /);
    assert.deepEqual(Object.keys(remedied(text, code, dit)), ['Use groups of 128', 'Use groups of 192', 'Use groups of 288', 'Use one scale per row']);
  });

  it('1920 of CogVideoX-2B is no multiple of 256 either, and 7680 is', () => {
    const text = `${head}defaults: { method: { name: rtn, weights: { group: 256 } }, scheme: W4A16 }\nrules:\n  - { layers: ["**.norm*.**", "patch_embed.**", "time_embedding.**", "norm_out.**", proj_out], keep: original }\n`;
    assert.deepEqual(lintsOf(text, cog).map(({ message }) => /the width (\d+)/.exec(message)?.[1]), ['1920']);
    remedied(text, code, cog);
  });

  it('changes the method of the rule, not of defaults, on both sides at once', () => {
    const text = `${head}defaults: { method: rtn, scheme: W8A8 }
rules:
  - layers: "transformer_blocks.*.attn1.*" # attention
    method:
      name: q-dit
      weights: { group: 100 }
      activations:
        group: 100 # both
`;
    assert.match(marks(text, lintsOf(text, dit))[0] ?? '', /^plan\/refused \[name: q-dit/);
    assert.equal(remedied(text, code, dit)['Use groups of 96'], text.replaceAll('group: 100', 'group: 96'));
  });

  it('writes what a preset leaves out', () => {
    const small = `${head}defaults: { method: rtn, scheme: W4A4 }\nrules:\n  - { layers: "transformer_blocks.*.attn1.*", method: duquant }\n  - { layers: "transformer_blocks.*.ff.**", method: { name: rtn, weights: { kind: float, format: nvfp4 }, rotate: { kind: outlier-aware, block: 100 } } }\n`;
    assert.deepEqual(Object.keys(remedied(small, code, dit)).slice(0, 2), ['Use blocks of 64', 'Use blocks of 96']);
  });

  it('blocks of other parts, and parts that have no effect', () => {
    const rotated = `${head}defaults: { method: { name: rtn, permute: { kind: zigzag, block: 100 } }, scheme: W8A8 }\n`;
    assert.ok('Use blocks of 64' in remedied(rotated, code, dit));
    const unused = `${head}defaults: { method: { name: rtn, activations: { group: 64 } }, scheme: W8A16 }\n`;
    assert.deepEqual(remedied(unused, code, dit), { 'Remove "activations"': unused.replace(', activations: { group: 64 }', '') });
    const pca = `${head}defaults: { method: { name: rtn, rotate: { kind: pca } }, scheme: W8A8 }\n`;
    assert.ok('Add "tail: { fraction: 0.125 }"' in remedied(pca, code, dit));
  });

  it('settings that are half there are completed', () => {
    const text = `${head}defaults: { keep: original }\nrules:\n  - layers: "transformer_blocks.*.attn1.*"\n    method: rtn\n`;
    assert.deepEqual(remedied(text, code, dit), { 'Add "scheme: W4A4"': `${text}    scheme: W4A4\n` });
  });

  it('knows divisors', () => {
    assert.deepEqual(nearestDivisors(256, [1152]), [128, 192, 288]);
    assert.deepEqual(nearestDivisors(256, [1152, 4608, 256]), [128]);
    assert.deepEqual(nearestDivisors(100, [7]), [7]);
    assert.deepEqual(nearestDivisors(100, [1, 7]), []);
  });
});

describe('GGUF types and the widths they fit', () => {
  it('K-quants on 1152 and 1920 fall back, as formats.md C8 lists widths', () => {
    const fits = [4608, 7680, 512, 3072, 12288, 15360, 3840, 10240, 256, 1536, 8960, 5120, 13824];
    assert.deepEqual(fits.map((width) => blockFallback('Q4_K', width)), fits.map(() => null));
    assert.deepEqual(blockFallback('q4_k_m', 1152), { block: 256, stored: 'F16', instead: 'Q4_0' });
    assert.deepEqual(blockFallback('Q6_K', 1920), { block: 256, stored: 'F16', instead: 'Q8_0' });
    assert.deepEqual(blockFallback('Q5_K', 1160), { block: 256, stored: 'F16', instead: null });
    assert.equal(blockFallback('Q8_0', 1152), null);
    assert.deepEqual(['F16', 'BF16', 'Q5_1', 'IQ4_XS', 'IQ4_NL', 'nonsense'].map(blockOf), [undefined, undefined, 32, 256, 32, undefined]);
  });
});
