import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Op, Program } from '../../../server/src/engine/graph';
import { tensorsOf } from '../../../server/src/engine/ops';
import { ModelError } from '../../../server/src/models/builder';
import type { Given } from '../../../server/src/models/builder';
import { modelFor } from '../../../server/src/models';
import { prepare } from '../../../server/src/models/forward';
import type { Checkpoint } from '../../../server/src/protocol';
import { BoundarySamples, cutBlock, withBoundaries } from '../../../server/src/quantize/blocks';
import { publishedCheckpoint } from '../../fixtures/checkpoints';

const zeros = (...shape: number[]): Given => ({ shape, data: new Float32Array(shape.reduce((product, size) => product * size, 1)) });

/** Inputs, the block lists, and how many values go from block to block. */
const families: Record<string, { given: Record<string, Given>; lists: Record<string, number> }> = {
  'DiT-XL/2-256': { given: { hidden_states: zeros(4, 32, 32), timestep: zeros(1), class_labels: zeros(1) }, lists: { transformer_blocks: 1 } },
  'PixArt-Sigma-1024': { given: { hidden_states: zeros(4, 32, 32), timestep: zeros(1), encoder_hidden_states: zeros(7, 4096), encoder_attention_mask: zeros(7), resolution: zeros(2), aspect_ratio: zeros(1) }, lists: { transformer_blocks: 1 } },
  'FLUX.1-dev': {
    given: { hidden_states: zeros(16, 64), encoder_hidden_states: zeros(8, 4096), pooled_projections: zeros(768), timestep: zeros(1), guidance: zeros(1), txt_ids: zeros(8, 3), img_ids: zeros(16, 3) },
    lists: { transformer_blocks: 2, single_transformer_blocks: 1 },
  },
  'Z-Image': { given: { hidden_states: zeros(16, 1, 16, 16), timestep: zeros(1), encoder_hidden_states: zeros(5, 2560) }, lists: { noise_refiner: 1, context_refiner: 1, layers: 1 } },
  'Wan2.1-1.3B': { given: { hidden_states: zeros(16, 2, 8, 8), timestep: zeros(1), encoder_hidden_states: zeros(6, 4096) }, lists: { blocks: 1 } },
  'CogVideoX-2b': { given: { hidden_states: zeros(2, 16, 8, 8), timestep: zeros(1), encoder_hidden_states: zeros(6, 4096) }, lists: { transformer_blocks: 2 } },
};

function namesOf(checkpoint: Checkpoint): (tensor: { file: string; offset: number }) => string | undefined {
  const names = new Map(checkpoint.tensors.map(({ offset, name }) => [offset, name]));
  return ({ offset }) => names.get(offset);
}

describe('blocks of a model as programs', () => {
  for (const [name, { given, lists }] of Object.entries(families)) {
    it(name, () => {
      const checkpoint = publishedCheckpoint(name);
      const { program } = prepare(modelFor(checkpoint), checkpoint, given);
      const nameOf = namesOf(checkpoint);
      for (const [list, streams] of Object.entries(lists)) {
        const paths = [...new Set(checkpoint.layers.map(({ block }) => block))].filter((block) => block?.startsWith(`${list}.`)) as string[];
        assert.ok(paths.length > 1);
        const blocks = paths.map((path) => cutBlock(program, path, nameOf));
        for (const [i, block] of blocks.entries()) {
          const inside = block.ops.flatMap(tensorsOf).map((tensor) => nameOf(tensor) ?? '');
          assert.deepEqual(inside.filter((tensor) => !tensor.startsWith(`${paths[i]}.`)), [], 'tensors of this block alone');
          const linears = checkpoint.layers.filter((layer) => layer.block === paths[i]).map((layer) => layer.name);
          assert.deepEqual(block.ops.flatMap((op) => (op.op === 'linear' ? [op.name] : [])).sort(), linears.sort(), 'every linear of it, once');
          // Nothing reads the text stream of CogVideoX's last block.
          assert.equal(Object.keys(block.outputs).length, i + 1 === blocks.length && name.startsWith('CogVideoX') ? 1 : streams);
          const sums = block.ops.filter((op) => op.op === 'gateAdd' || (op.op === 'binary' && op.kind === 'add')).map(({ out }) => out);
          assert.ok(Object.values(block.outputs).every((buffer) => sums.includes(buffer)), 'what leaves is the residual stream');
          const next = blocks[i + 1];
          if (next && list !== 'noise_refiner') {
            assert.ok(Object.keys(block.outputs).every((output) => output in next.inputs), `${paths[i]} leads to the next block`);
          }
          assert.ok(Object.values(block.inputs).every((buffer) => !program.ops.some((op) => op.op === 'constant' && op.out === buffer)), 'data comes with the block');
        }
        assert.deepEqual(Object.keys(withBoundaries(program, blocks).outputs).sort(), [...new Set(['sample', ...blocks.flatMap(({ inputs, outputs }) => [...Object.keys(inputs), ...Object.keys(outputs)])])].sort());
      }
      assert.throws(() => cutBlock(program, 'transformer_blocks.999', nameOf), (error: unknown) => error instanceof ModelError && error.message.includes('no block "transformer_blocks.999"'));
    });
  }

  it('a block does not take ops of a block whose number begins like its own', () => {
    const file = { file: 'a', dtype: 'F32' as const, shape: [2, 2] };
    const linear = (name: string, x: number, out: number, offset: number): Op => ({ op: 'linear', name, x, weight: { ...file, offset }, bias: null, out });
    const program: Program = { buffers: [[2], [2], [2]], inputs: { x: 0 }, outputs: { y: 2 }, ops: [linear('blocks.1.a', 0, 1, 0), linear('blocks.10.a', 1, 2, 16)] };
    const block = cutBlock(program, 'blocks.1', ({ offset }) => (offset === 0 ? 'blocks.1.a.weight' : 'blocks.10.a.weight'));
    assert.deepEqual(block, { ...program, inputs: { 'buffer 0': 0 }, outputs: { 'buffer 1': 1 }, ops: [program.ops[0]] });
  });
});

describe('samples at the boundary of a block', () => {
  const folder = mkdtempSync(join(tmpdir(), 'quantscope-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  const block: Program = { buffers: [[2], [1, 3]], inputs: { 'buffer 0': 0 }, outputs: { 'buffer 1': 1 }, ops: [] };
  const values = (sample: number): Record<string, Float32Array> => ({ 'buffer 0': Float32Array.of(sample, -sample), 'buffer 1': Float32Array.of(sample, 10 * sample, 100 * sample) });

  it('stand one after the other by buffer, in whatever order they come', async () => {
    const path = join(folder, 'a.f32');
    const samples = await BoundarySamples.create(path, block, 2);
    await samples.add(1, 'inputs', values(2));
    await samples.add(0, 'outputs', values(1));
    await samples.add(1, 'outputs', values(2));
    await samples.add(0, 'inputs', values(1));
    assert.deepEqual(samples.finish(), {
      inputs: { 'buffer 0': { file: path, offset: 0, dtype: 'F32', shape: [2, 2] } },
      outputs: { 'buffer 1': { file: path, offset: 16, dtype: 'F32', shape: [2, 1, 3] } },
    });
    const bytes = readFileSync(path);
    assert.deepEqual([...new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)], [1, -1, 2, -2, 1, 10, 100, 2, 20, 200]);
  });

  it('are complete and of one size', async () => {
    const samples = await BoundarySamples.create(join(folder, 'b.f32'), block, 2);
    await assert.rejects(samples.add(0, 'inputs', { 'buffer 0': new Float32Array(3) }), /The run gave 3 values of "buffer 0"; the block has \[2\] there/);
    await samples.add(0, 'inputs', values(1));
    assert.throws(() => samples.finish(), /2 samples of a block were expected; 1 went in and 0 came out/);
  });
});
