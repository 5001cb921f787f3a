/** Packed checkpoints come from anywhere: whatever their metadata and tensors say, opening one gives layers or problems that name the layer, never a crash. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { CheckpointStore, openCheckpoint } from '../../../server/src/checkpoint';
import { packedLayers } from '../../../server/src/checkpoint/packed';
import { loadConfig } from '../../../server/src/config/load';
import type { LoadedConfig } from '../../../server/src/config/load';
import { temporaryFolders } from '../../fixtures/folder';
import { random } from '../../fixtures/random';
import { safetensors } from '../../fixtures/safetensors';
import type { TensorSpec } from '../../fixtures/safetensors';

const good = {
  shape: [4, 16], dtype: 'BF16', tail: 0, activationRange: null, sides: ['scales'], lowRank: false, relativeMse: 0.01,
  transforms: [{ kind: 'scale', tensor: 'transform.0' }, { kind: 'hadamard', seed: 3 }],
  recipe: {
    method: 'rtn', smooth: { kind: 'absmax' }, permute: null, rotate: { kind: 'hadamard', seed: 3 }, tail: null, lowRank: null, solver: { kind: 'rtn' },
    weights: { kind: 'int', bits: 4, symmetric: true, group: 'row', scale: 'fp16' }, activations: { kind: 'keep', dtype: 'original' },
  },
};
const parts: Record<string, TensorSpec> = {
  'a.weight.codes': { dtype: 'U8', shape: [4, 8] }, 'a.weight.scales': { dtype: 'F16', shape: [4, 1] }, 'a.weight.transform.0': { dtype: 'F32', shape: [16] },
  'a.bias': { dtype: 'BF16', shape: [4] }, 'b.weight': { dtype: 'BF16', shape: [8, 16] },
};

describe('packed checkpoints', () => {
  const folder = temporaryFolders();

  function write(entry: unknown, tensors = parts, name = 'a'): string {
    const text = typeof entry === 'string' ? entry : JSON.stringify(entry);
    return join(folder({ 'm.safetensors': safetensors(tensors, { format: 'quantscope-packed-1', plan: 'x', source: 'y', [`layer:${name}`]: text }) }), 'm.safetensors');
  }
  async function plan(path: string, text = ''): Promise<LoadedConfig> {
    return loadConfig(TextDocument.create('file:///q.quant.yaml', 'quantconfig', 1, `version: 1\ncheckpoint: ${path}\n${text}`), '/q.quant.yaml', new CheckpointStore());
  }
  async function refused(path: string): Promise<string> {
    const checkpoint = await openCheckpoint(path);
    assert.equal(packedLayers(checkpoint).size, 0);
    assert.deepEqual(checkpoint.layers.map((layer) => layer.name), ['b'], 'the rest of the file is still there');
    const found = checkpoint.problems.filter((problem) => problem.severity === 'error');
    assert.deepEqual(found.map((problem) => problem.code), ['checkpoint/packed-weights']);
    assert.match(found[0]?.message ?? '', /the packed layer "a" cannot be read: .*Pack the checkpoint again with "quantscope quantize"/);
    await plan(path);
    return found[0]?.message ?? '';
  }

  it('opens as layers of the shape and type they had, with the bytes they take', async () => {
    const path = write(good);
    const checkpoint = await openCheckpoint(path);
    assert.deepEqual(checkpoint.layers.map(({ name, inFeatures, outFeatures, tensor: { dtype, bytes } }) => [name, inFeatures, outFeatures, dtype, bytes]), [['a', 16, 4, 'BF16', 32 + 8 + 64], ['b', 16, 8, 'BF16', 256]]);
    assert.equal(checkpoint.problems.filter((problem) => problem.severity === 'error').length, 0);
  });

  it('counts what a packed layer took before as baseline, and does not ask for a rule', async () => {
    const { plan: resolved, problems } = await plan(write(good));
    assert.deepEqual([resolved?.totals.baselineBytes, resolved?.totals.otherBytes, (resolved?.totals.packedBytes ?? 0) - (resolved?.totals.sharedBytes ?? 0)], [128 + 256, 8, 104 + 256]);
    assert.match(problems.find((problem) => problem.code === 'plan/uncovered')?.message ?? '', /No rule covers 1 of 2 layers \(first b\)/);
  });

  it('refuses a rule that would quantize codes, and takes one that keeps them', async () => {
    const { plan: resolved, problems } = await plan(write(good), 'rules: [{ layers: [a], method: rtn, scheme: W8A8 }]\n');
    assert.match(problems.find((problem) => problem.code === 'plan/refused')?.message ?? '', /packed already \(rtn, weights int4 per row\).*Name the original checkpoint, or keep them/);
    assert.deepEqual(resolved?.layers[0]?.recipe, good.recipe);
    assert.equal((await plan(write(good), 'rules: [{ layers: [a], keep: original }]\n')).problems.filter((problem) => problem.severity === 'error').length, 0);
  });

  it('says what is wrong with an entry', async () => {
    const cases: [unknown, RegExp][] = [
      ['{"shape": [4,', /no JSON/], ['null', /entry must be object/], ['[]', /entry must be object/], ['7', /entry must be object/],
      [{ ...good, shape: [4] }, /entry\/shape/], [{ ...good, shape: [4, 1e300] }, /entry\/shape\/1/], [{ ...good, shape: [4, -16] }, /entry\/shape\/1/], [{ ...good, shape: [4.5, 16] }, /entry\/shape\/0/],
      [{ ...good, dtype: 'I64' }, /entry\/dtype/], [{ ...good, tail: 2 ** 53 }, /entry\/tail/],
      [{ ...good, transforms: [{ kind: 'frobnicate' }] }, /entry\/transforms\/0/], [{ ...good, transforms: [{ kind: 'scale' }] }, /entry\/transforms\/0/], [{ ...good, transforms: [{ kind: 'rpbh', seed: 1e300 }] }, /entry\/transforms\/0\/seed/],
      [{ ...good, transforms: Array.from({ length: 1000 }, () => ({ kind: 'hadamard', seed: 1 })) }, /entry\/transforms/],
      [{ ...good, recipe: { ...good.recipe, weights: { kind: 'magic', bits: 4 } } }, /entry\/recipe\/weights/], [{ ...good, recipe: { ...good.recipe, weights: { kind: 'keep', dtype: 'original' } } }, /entry\/recipe\/weights/],
      [{ ...good, recipe: { ...good.recipe, weights: { ...good.recipe.weights, bits: 9 } } }, /entry\/recipe\/weights\/bits/], [{ ...good, recipe: { ...good.recipe, weights: { kind: 'int', bits: 4 } } }, /required property/],
      [{ ...good, recipe: { ...good.recipe, rotate: { kind: 'rpbh' } } }, /entry\/recipe\/rotate/], [{ ...good, recipe: null }, /entry\/recipe/], [{ ...good, sides: [7] }, /entry\/sides\/0/], [{ ...good, relativeMse: null }, /entry\/relativeMse/],
      [{ ...good, activationRange: { low: 'x', high: 1 } }, /entry\/activationRange/],
      [{ ...good, sides: ['scales', 'zeros'] }, /no tensor "a\.weight\.zeros"/], [{ ...good, lowRank: true }, /no tensor "a\.weight\.low_rank\.down", "a\.weight\.low_rank\.up"/], [{ ...good, tail: 4 }, /no tensor "a\.weight\.tail"/],
    ];
    for (const [entry, message] of cases) {
      assert.match(await refused(write(entry)), message, JSON.stringify(entry));
    }
  });

  it('says which tensor has a shape or type that cannot be', async () => {
    const cases: [string, TensorSpec, Partial<typeof good> & { [key: string]: unknown }, RegExp][] = [
      ['codes', { dtype: 'U8', shape: [3, 8] }, {}, /"codes" is U8 \[3, 8\], which should be U8 with 4 rows/], ['codes', { dtype: 'I8', shape: [4, 8] }, {}, /"codes" is I8/], ['codes', { dtype: 'U8', shape: [32] }, {}, /"codes" is U8 \[32\]/],
      ['transform.0', { dtype: 'F32', shape: [15] }, {}, /"transform\.0" is F32 \[15\], which should be F32 \[16\]/], ['transform.0', { dtype: 'F16', shape: [16] }, {}, /"transform\.0" is F16/],
      ['tail', { dtype: 'BF16', shape: [4, 3] }, { tail: 4 }, /"tail" is BF16 \[4, 3\], which should be BF16 \[4, 4\]/],
      ['tail', { dtype: 'BF16', shape: [4, 16] }, { tail: 16 }, /a tail of 16 leaves nothing of its 16 inputs to quantize/],
      ['transform.0', { dtype: 'F32', shape: [16] }, { transforms: [{ kind: 'permute', tensor: 'transform.0' }] }, /which should be I32 \[16\]/],
      ['transform.0', { dtype: 'F32', shape: [2, 8, 4] }, { transforms: [{ kind: 'blocks', tensor: 'transform.0' }] }, /square blocks that divide 16 inputs/],
      ['transform.0', { dtype: 'F32', shape: [1, 0, 0] }, { transforms: [{ kind: 'blocks', tensor: 'transform.0' }] }, /square blocks/],
    ];
    for (const [part, spec, change, message] of cases) {
      assert.match(await refused(write({ ...good, ...change }, { ...parts, [`a.weight.${part}`]: spec })), message);
    }
    const branch: Record<string, TensorSpec> = { ...parts, 'a.weight.low_rank.down': { dtype: 'BF16', shape: [2, 16] }, 'a.weight.low_rank.up': { dtype: 'BF16', shape: [4, 3] } };
    assert.match(await refused(write({ ...good, lowRank: true }, branch)), /"low_rank\.up" is BF16 \[4, 3\], which should be BF16 \[4, 2\]/);
  });

  it('never crashes, whatever a value is replaced by', async () => {
    const next = random(11);
    const values: unknown[] = [null, true, -1, 0, 1e308, 2 ** 53, 'x', '', '__proto__', [], {}, { kind: 'int' }, { kind: '__proto__' }, [[[]]]];
    const replaced = (value: unknown): unknown => {
      if (next() < 0.08) {
        return values[Math.floor(next() * values.length)];
      }
      return Array.isArray(value) ? value.map(replaced) : typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value).map(([key, each]) => [key, replaced(each)])) : value;
    };
    let layers = 0;
    for (let i = 0; i < 150; i++) {
      const path = write(replaced(good));
      const checkpoint = await openCheckpoint(path);
      layers += packedLayers(checkpoint).size;
      assert.ok(packedLayers(checkpoint).size === 1 || checkpoint.problems.some((problem) => problem.code === 'checkpoint/packed-weights' && problem.severity === 'error'));
      const { plan: resolved } = await plan(path);
      assert.ok(Number.isFinite(resolved?.totals.packedBytes));
    }
    assert.ok(layers > 5 && layers < 125, `${layers} of 150 were still good`);
  });
});
