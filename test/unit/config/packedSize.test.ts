import assert from 'node:assert/strict';
import { codeBits, packedBytes, sharedBytes } from '../../../server/src/config/packedSize';
import type { Quantizer, Recipe } from '../../../server/src/protocol';

const int = (bits: number, more: object = {}): Quantizer => ({ kind: 'int', bits, symmetric: true, group: 'row', scale: 'fp16', ...more });
const codebook = (bits: number): Quantizer => ({ kind: 'codebook', bits, norm: 'bf16' });

/** Average bits of a [rows, width] weight. */
function average(quantizer: Quantizer, rows: number, width: number): number {
  return (packedBytes(quantizer, rows, width, 'BF16') * 8) / (rows * width);
}

describe('packed size', () => {
  const cases: [name: string, quantizer: Quantizer, width: number, bits: number][] = [
    ['OrbitQuant 4 bits, d = 3072', codebook(4), 3072, 4 + 16 / 3072],
    ['OrbitQuant 2 bits, d = 12288', codebook(2), 12288, 2 + 16 / 12288],
    ['int4 per group of 64', int(4, { group: 64 }), 3072, 4.25],
    ['uint4 per group of 64: a zero point too', int(4, { group: 64, symmetric: false }), 3072, 4.3125],
    ['int4 per group of 64, float32 scales', int(4, { group: 64, scale: 'fp32' }), 3072, 4.5],
    ['int8 per row', int(8), 3072, 8 + 16 / 3072],
    ['bf16', { kind: 'keep', dtype: 'bf16' }, 3072, 16],
    ['as stored in BF16', { kind: 'keep', dtype: 'original' }, 3072, 16],
    ['fp32', { kind: 'keep', dtype: 'fp32' }, 3072, 32],
  ];
  for (const [name, quantizer, width, bits] of cases) {
    it(`${name}: ${bits.toFixed(3)} bits`, () => {
      assert.equal(average(quantizer, 64, width), bits);
    });
  }

  it('gives the two numbers that everyone quotes', () => {
    assert.equal(average(codebook(4), 3072, 3072).toFixed(3), '4.005');
    assert.equal(average(int(4, { group: 64 }), 3072, 3072).toFixed(3), '4.250');
  });

  it('rounds codes and zero points up to whole bytes', () => {
    assert.equal(packedBytes(int(3, { group: 'tensor' }), 1, 3, 'F32'), 2 + 2);
    assert.equal(packedBytes(int(3, { group: 'tensor', symmetric: false }), 1, 3, 'F32'), 2 + 2 + 1);
    assert.equal(packedBytes(codebook(1), 3, 3, 'F32'), 2 + 6);
  });

  it('keeps original types at their own width', () => {
    assert.equal(packedBytes({ kind: 'keep', dtype: 'original' }, 2, 3, 'F8_E4M3'), 6);
    assert.equal(packedBytes({ kind: 'keep', dtype: 'original' }, 2, 3, 'F64'), 48);
    assert.equal(codeBits({ kind: 'keep', dtype: 'original' }, 'F16'), 16);
    assert.equal(codeBits(int(5), 'F16'), 5);
  });

  it('counts what layers share once per width, seed and bits', () => {
    const recipe = (weights: Quantizer, activations: Quantizer, seed: number | null): Recipe =>
      ({ method: 'm', rotate: seed === null ? null : { kind: 'rpbh', seed }, weights, activations, solver: 'rtn' });
    const rotation = (width: number): number => 4 * width + width / 8;
    const four = recipe(codebook(4), codebook(4), 0);
    assert.equal(sharedBytes([{ inFeatures: 64, recipe: four }, { inFeatures: 64, recipe: four }]), rotation(64) + 4 * 16);
    assert.equal(sharedBytes([{ inFeatures: 64, recipe: four }, { inFeatures: 128, recipe: four }]), rotation(64) + rotation(128) + 2 * 64);
    assert.equal(sharedBytes([{ inFeatures: 64, recipe: recipe(codebook(3), codebook(4), 0) }, { inFeatures: 64, recipe: recipe(codebook(3), codebook(4), 1) }]), 2 * rotation(64) + 4 * 8 + 4 * 16);
    assert.equal(sharedBytes([{ inFeatures: 64, recipe: recipe(int(4), int(8), null) }]), 0);
  });
});
