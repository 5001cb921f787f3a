import assert from 'node:assert/strict';
import { codeBits, packedBytes, sharedBytes } from '../../../server/src/config/packedSize';
import type { PackedShape } from '../../../server/src/config/packedSize';
import { keepOriginal, plain } from '../../../server/src/methods/method';
import { tailWidth } from '../../../server/src/methods/widths';
import type { FloatFormat, Quantizer, Recipe } from '../../../server/src/protocol';

const int = (bits: number, more: object = {}): Quantizer => ({ kind: 'int', bits, symmetric: true, group: 'row', scale: 'fp16', ...more });
const codebook = (bits: number): Quantizer => ({ kind: 'codebook', bits, norm: 'bf16' });
const float = (format: FloatFormat, group: number | 'row'): Quantizer => ({ kind: 'float', format, group });
const recipe = (weights: Quantizer, more: Partial<Recipe> = {}): Recipe => ({ ...plain, method: 'm', weights, activations: keepOriginal, ...more });

/** Bytes of a BF16 weight [rows, width]. */
function bytes(of: Recipe, rows: number, width: number, heads: number | null = null): number {
  const shape: PackedShape = { outFeatures: rows, inFeatures: width, stored: 'BF16', tail: tailWidth(of, { inFeatures: width, heads }) ?? NaN, heads };
  return packedBytes(of, shape);
}

/** Average bits per weight. */
function average(of: Recipe, rows: number, width: number): number {
  return (bytes(of, rows, width) * 8) / (rows * width);
}

describe('packed size', () => {
  const cases: [name: string, quantizer: Quantizer, width: number, bits: number][] = [
    ['OrbitQuant 4 bits, d = 3072', codebook(4), 3072, 4 + 16 / 3072],
    ['OrbitQuant 2 bits, d = 12288', codebook(2), 12288, 2 + 16 / 12288],
    ['mid-rise 2 bits', { kind: 'midrise', bits: 2, norm: 'fp32' }, 3072, 2 + 32 / 3072],
    ['twin-log 4 bits, d = 1152: five FP16 numbers per row', { kind: 'twin-log', bits: 4, form: 'corrected' }, 1152, 4 + 80 / 1152],
    ['twin-log 4 bits as released: 18 codes', { kind: 'twin-log', bits: 4, form: 'released' }, 1152, 5 + 80 / 1152],
    ['int4 per group of 64', int(4, { group: 64 }), 3072, 4.25],
    ['uint4 per group of 64: a zero point too', int(4, { group: 64, symmetric: false }), 3072, 4.3125],
    ['int4 per group of 64, float32 scales', int(4, { group: 64, scale: 'fp32' }), 3072, 4.5],
    ['int8 per row', int(8), 3072, 8 + 16 / 3072],
    ['nvfp4: a byte per 16, and one scale for the tensor', float('nvfp4', 16), 3072, 4.5 + 32 / (64 * 3072)],
    ['mxfp4: a byte per 32', float('mxfp4', 32), 3072, 4.25],
    ['mxfp8', float('mxfp8', 32), 3072, 8.25],
    ['fp4 per group of 32', float('fp4', 32), 3072, 4.5],
    ['fp8 per row', float('fp8', 'row'), 3072, 8 + 16 / 3072],
    ['bf16', { kind: 'keep', dtype: 'bf16' }, 3072, 16],
    ['as stored in BF16', keepOriginal, 3072, 16],
    ['fp32', { kind: 'keep', dtype: 'fp32' }, 3072, 32],
  ];
  for (const [name, quantizer, width, bits] of cases) {
    it(`${name}: ${bits.toFixed(3)} bits`, () => {
      assert.equal(average(recipe(quantizer), 64, width), bits);
    });
  }

  it('gives the two numbers that everyone quotes', () => {
    assert.equal(average(recipe(codebook(4)), 3072, 3072).toFixed(3), '4.005');
    assert.equal(average(recipe(int(4, { group: 64 })), 3072, 3072).toFixed(3), '4.250');
  });

  it('rounds the codes and zero points of a row up to whole bytes', () => {
    assert.equal(bytes(recipe(int(3, { group: 'tensor' })), 1, 3), 2 + 2);
    assert.equal(bytes(recipe(int(3, { group: 'tensor', symmetric: false })), 4, 3), 4 * (2 + 2 + 1));
    assert.equal(bytes(recipe(int(3, { symmetric: false })), 4, 3), 4 * (2 + 2 + 1));
    assert.equal(bytes(recipe(codebook(1)), 3, 3), 3 * (1 + 2));
  });

  it('keeps original types at their own width', () => {
    const kept = (stored: PackedShape['stored']): number => packedBytes(recipe(keepOriginal), { outFeatures: 2, inFeatures: 3, stored, tail: 0, heads: null });
    assert.equal(kept('F8_E4M3'), 6);
    assert.equal(kept('F64'), 48);
    assert.equal(codeBits(keepOriginal, 'F16'), 16);
    assert.equal(codeBits(int(5), 'F16'), 5);
  });

  it('counts a low-rank branch: rank 32 is a third of a bit on 3072 × 3072', () => {
    const residual = int(4, { group: 64 });
    const svdquant = recipe(residual, { lowRank: { rank: 32, iterations: 1, dtype: 'bf16' } });
    assert.equal(bytes(svdquant, 3072, 3072) - bytes(recipe(residual), 3072, 3072), 2 * 32 * 3072 * 2);
    assert.equal(average(svdquant, 3072, 3072).toFixed(3), '4.583');
    // With the smoothing factors of the channels: 32 bits for each of 3072 columns of 3072 weights.
    assert.equal(average({ ...svdquant, smooth: { kind: 'search', steps: 20 } }, 3072, 3072), 4.25 + (2 * 32 * 16 + 32) / 3072);
  });

  it('counts a tail: DiRotQ has 5.72 bits on FLUX and 6.21 on PixArt before its bases', () => {
    const basis = (width: number): number => 4 * width ** 2;
    const dirotq = recipe(int(4, { group: 64 }), { rotate: { kind: 'pca', perHead: false, seed: 0 }, tail: { fraction: 0.125, dtype: 'bf16' } });
    const bits = (rows: number, width: number): string => (((bytes(dirotq, rows, width) - basis(width)) * 8) / (rows * width)).toFixed(2);
    assert.equal(bits(3072, 3072), '5.72');
    assert.equal(bits(3072, 12288), '5.72');
    assert.equal(bits(1152, 1152), '6.21');
    assert.equal(average(dirotq, 3072, 3072).toFixed(2), '37.72', 'a basis of its own costs a square layer as much as the float32 weight');
  });

  it('counts one small basis per head', () => {
    const dirotq = recipe(int(4, { group: 63 }), { rotate: { kind: 'pca', perHead: true, seed: 0 }, tail: { fraction: 0.125, dtype: 'bf16' } });
    // PixArt: 16 heads of 72, 9 of them kept each; per row 1008 codes of 4 bits, 16 scales and 144 BF16 values; an order that brings the tails of all heads together.
    assert.equal(bytes(dirotq, 1152, 1152, 16), 1152 * (504 + 32 + 288) + 16 * 72 * 72 * 4 + 4 * 1152);
  });

  it('counts what is fitted to a layer: orders, block rotations, static ranges', () => {
    const without = bytes(recipe(int(4)), 8, 1152);
    const more = (parts: Partial<Recipe>): number => bytes(recipe(int(4), parts), 8, 1152) - without;
    assert.equal(more({ smooth: { kind: 'csb' } }), 4 * 1152);
    assert.equal(more({ permute: { kind: 'zigzag', block: 128 } }), 4 * 1152);
    assert.equal(more({ rotate: { kind: 'outlier-aware', block: 128, steps: 256, order: 'zigzag', seed: 0 } }), 2 * 128 * 128 * 4 + 4 * 1152);
    assert.equal(more({ rotate: { kind: 'adaptive', threshold: 1, signal: 'rms', seed: 0 } }), 2 * 128 * 128 * 4 + 4 * 1152);
    assert.equal(more({ activations: int(8, { group: 'tensor', range: 'static' }) }), 8);
    assert.equal(more({ rotate: { kind: 'rpbh', seed: 0 }, activations: int(8) }), 0, 'what comes from a seed is shared');
  });

  it('counts what layers share once per width, seed and bits', () => {
    const layer = (inFeatures: number, of: Recipe): { inFeatures: number; tail: number; recipe: Recipe } => ({ inFeatures, tail: 0, recipe: of });
    const orbit = (weights: Quantizer, seed: number): Recipe => recipe(weights, { rotate: { kind: 'rpbh', seed }, activations: codebook(4) });
    const rotation = (width: number): number => 4 * width + width / 8;
    const four = orbit(codebook(4), 0);
    assert.equal(sharedBytes([layer(64, four), layer(64, four)]), rotation(64) + 4 * 16);
    assert.equal(sharedBytes([layer(64, four), layer(128, four)]), rotation(64) + rotation(128) + 2 * 64);
    assert.equal(sharedBytes([layer(64, orbit(codebook(3), 0)), layer(64, orbit(codebook(3), 1))]), 2 * rotation(64) + 4 * 8 + 4 * 16);
    assert.equal(sharedBytes([layer(64, recipe(int(4), { activations: int(8) }))]), 0);
    const rotated = (rotate: Recipe['rotate']): number => sharedBytes([layer(64, recipe(int(4), { rotate })), layer(64, recipe(int(4), { rotate }))]);
    assert.equal(rotated({ kind: 'hadamard', seed: 1 }), 8);
    assert.equal(rotated({ kind: 'random', seed: 1 }), 64 * 64 * 4);
    assert.equal(rotated({ kind: 'pca', perHead: false, seed: 1 }), 0);
    assert.equal(sharedBytes([layer(64, recipe(int(4), { permute: { kind: 'random', seed: 3 } }))]), 256);
  });
});
