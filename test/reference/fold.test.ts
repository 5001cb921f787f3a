/** Smoothing moved into what comes before, on small random models of every architecture: the same outputs, and inputs that arrive smoothed. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { openCheckpoint } from '../../server/src/checkpoint';
import { readValues } from '../../server/src/checkpoint/values';
import { EngineClient } from '../../server/src/engine/client';
import type { Program } from '../../server/src/engine/graph';
import { modelFor } from '../../server/src/models';
import type { Given } from '../../server/src/models/builder';
import { prepare, runForward } from '../../server/src/models/forward';
import type { Checkpoint, TensorInfo } from '../../server/src/protocol';
import { findFolds } from '../../server/src/quantize/fold';
import type { Fold } from '../../server/src/quantize/fold';
import { writeRescaled } from '../../server/src/quantize/folding';
import { random } from '../fixtures/random';
import { numpy } from './python';

const root = resolve(__dirname, '../..');

/** Of each model: layers whose smoothing folds, with the tensors that take it, and layers where it stays, with the reason. */
const expected: Record<string, { folded: Record<string, string[]>; online: Record<string, RegExp> }> = {
  'dit-wide': {
    folded: {
      'transformer_blocks.1.attn1.to_k': ['transformer_blocks.1.norm1.linear.weight', 'transformer_blocks.1.norm1.linear.bias'],
      'transformer_blocks.1.attn1.to_out.0': ['transformer_blocks.1.attn1.to_v.weight', 'transformer_blocks.1.attn1.to_v.bias'],
      'transformer_blocks.2.ff.net.0.proj': ['transformer_blocks.2.norm1.linear.weight', 'transformer_blocks.2.norm1.linear.bias'],
      proj_out_2: ['proj_out_1.weight', 'proj_out_1.bias'],
    },
    online: {
      'transformer_blocks.0.ff.net.2': /GELU, which is not linear/, 'transformer_blocks.0.norm1.linear': /SiLU, which is not linear/, 'transformer_blocks.0.norm1.emb.timestep_embedder.linear_2': /^it runs more than once/,
      'transformer_blocks.1.norm1.emb.timestep_embedder.linear_1': /timestep embedding/, 'pos_embed.proj': /rearranged/,
    },
  },
  'pixart-plain': {
    folded: {
      'transformer_blocks.1.attn1.to_out.0': ['transformer_blocks.1.attn1.to_v.weight', 'transformer_blocks.1.attn1.to_v.bias'],
      'transformer_blocks.2.attn2.to_v': ['caption_projection.linear_2.weight', 'caption_projection.linear_2.bias'],
    },
    online: {
      'transformer_blocks.1.attn1.to_q': /"transformer_blocks.1.scale_shift_table" plus the output of adaln_single.linear, which the blocks share/, 'transformer_blocks.0.ff.net.0.proj': /which the blocks share/,
      'transformer_blocks.0.attn2.to_q': /also read by a sum/, proj_out: /"scale_shift_table" plus/,
    },
  },
  'flux-guided': {
    folded: {
      'transformer_blocks.0.attn.to_q': ['transformer_blocks.0.norm1.linear.weight', 'transformer_blocks.0.norm1.linear.bias'],
      'transformer_blocks.1.attn.add_v_proj': ['transformer_blocks.1.norm1_context.linear.weight', 'transformer_blocks.1.norm1_context.linear.bias'],
      'single_transformer_blocks.1.proj_mlp': ['single_transformer_blocks.1.norm.linear.weight', 'single_transformer_blocks.1.norm.linear.bias'],
      proj_out: ['norm_out.linear.weight', 'norm_out.linear.bias'],
    },
    online: {
      'transformer_blocks.0.attn.to_out.0': /to_out.0 and transformer_blocks.0.attn.to_add_out read parts of one value and have smoothing factors of their own/, 'single_transformer_blocks.0.proj_out': /GELU/,
      x_embedder: /input of the model/, 'transformer_blocks.0.norm1.linear': /SiLU/,
    },
  },
  'zimage-padded': {
    folded: {
      'layers.0.attention.to_q': ['layers.0.attention_norm1.weight'], 'layers.1.attention.to_out.0': ['layers.1.attention.to_v.weight'], 'context_refiner.0.feed_forward.w1': ['context_refiner.0.ffn_norm1.weight'],
      'layers.0.feed_forward.w2': ['layers.0.feed_forward.w3.weight'], 'cap_embedder.1': ['cap_embedder.0.weight'],
      'all_final_layer.2-1.linear': ['all_final_layer.2-1.adaLN_modulation.1.weight', 'all_final_layer.2-1.adaLN_modulation.1.bias'],
    },
    online: { 'layers.0.adaLN_modulation.0': /also read by SiLU/ },
  },
  'wan-video': {
    folded: {
      'blocks.0.attn2.to_q': ['blocks.0.norm2.weight', 'blocks.0.norm2.bias'], 'blocks.1.attn2.to_k': ['condition_embedder.text_embedder.linear_2.weight', 'condition_embedder.text_embedder.linear_2.bias'],
      'blocks.1.attn1.to_out.0': ['blocks.1.attn1.to_v.weight', 'blocks.1.attn1.to_v.bias'],
    },
    online: { 'blocks.0.attn1.to_q': /"blocks.0.scale_shift_table" plus the output of condition_embedder.time_proj/, 'blocks.0.ffn.net.2': /GELU/ },
  },
  'cog-rotary': {
    folded: {
      'transformer_blocks.0.attn1.to_q': ['transformer_blocks.0.norm1.linear.weight', 'transformer_blocks.0.norm1.linear.bias'], 'transformer_blocks.1.attn1.to_out.0': ['transformer_blocks.1.attn1.to_v.weight', 'transformer_blocks.1.attn1.to_v.bias'],
      'transformer_blocks.1.ff.net.0.proj': ['transformer_blocks.1.norm2.linear.weight', 'transformer_blocks.1.norm2.linear.bias'], proj_out: ['norm_out.linear.weight', 'norm_out.linear.bias'],
    },
    online: { 'transformer_blocks.0.ff.net.2': /GELU/ },
  },
};

interface Case { checkpoint: Checkpoint; given: Record<string, Given>; program: Program; smoothed: Map<string, Float32Array> }

/** Every linear smoothed by factors from ¼ to 4, the same for all that read one buffer. */
async function open(place: string): Promise<Case> {
  const checkpoint = await openCheckpoint(place);
  const model = modelFor(checkpoint);
  const { tensors } = await openCheckpoint(join(place, 'inputs.safetensors'));
  const given = Object.fromEntries(await Promise.all(tensors.map(async (tensor) => {
    const { shape, data } = await readValues(tensor);
    return [tensor.name, { shape: shape.length > (model.inputs[tensor.name] ?? 0) ? shape.slice(1) : shape, data }] as const;
  })));
  const { program } = prepare(model, checkpoint, given);
  return { checkpoint, given, program, smoothed: new Map(factors(program)) };
}

function* factors({ ops, buffers }: Program): Iterable<[string, Float32Array]> {
  const next = random(7);
  const known = new Map<number, Float32Array>();
  for (const op of ops) {
    if (op.op === 'linear') {
      const values = known.get(op.x) ?? Float32Array.from({ length: buffers[op.x]?.at(-1) ?? 0 }, () => 4 ** (2 * next() - 1));
      known.set(op.x, values);
      yield [op.name, values];
    }
  }
}

function namesOf({ tensors }: Checkpoint): (tensor: Pick<TensorInfo, 'file' | 'offset'>) => string {
  return ({ file, offset }) => tensors.find((tensor) => tensor.file === file && tensor.offset === offset)?.name ?? '';
}

/** The checkpoint with rescaled tensors. */
async function refold(checkpoint: Checkpoint, folded: readonly Fold[], folder: string): Promise<Checkpoint> {
  const { tensors } = await writeRescaled(checkpoint, folded, folder);
  return { ...checkpoint, revision: 'folded', tensors: [...checkpoint.tensors.filter(({ name }) => !tensors.has(name)), ...tensors.values()] };
}

/** ‖a − b‖ / ‖b‖. */
function difference(a: Float32Array, b: Float32Array): number {
  assert.equal(a.length, b.length);
  const size = (values: (i: number) => number): number => Math.sqrt(b.reduce((sum, _, i) => sum + values(i) ** 2, 0));
  return size((i) => (a[i] ?? NaN) - (b[i] ?? NaN)) / size((i) => b[i] ?? NaN);
}

describe('smoothing folds into what comes before', function () {
  this.timeout(300_000);
  const folder = mkdtempSync(join(tmpdir(), 'quantscope-'));
  numpy<string[]>('forward.py', null, folder);
  const engine = new EngineClient({ hostPath: join(root, 'dist/engine.js'), addonPath: join(root, 'native/build/quantscope.node'), threads: 2, log: () => undefined });
  after(async () => {
    await engine.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const [name, { folded: into, online: reasons }] of Object.entries(expected)) {
    it(`${name}: where it goes, and why it stays`, async () => {
      const { checkpoint, program, smoothed } = await open(join(folder, name));
      const { folded, online } = findFolds(program, smoothed, namesOf(checkpoint));
      assert.deepEqual([...folded, ...online].flatMap(({ layers }) => layers).sort(), [...smoothed.keys()].sort(), 'every layer is told of once');
      for (const [layer, tensors] of Object.entries(into)) {
        const fold = folded.find(({ layers }) => layers.includes(layer));
        assert.ok(fold, `${layer} should fold: ${online.find(({ layers }) => layers.includes(layer))?.reason}`);
        assert.deepEqual([...new Set(fold.edits.map(({ tensor }) => tensor))], tensors);
      }
      for (const [layer, reason] of Object.entries(reasons)) {
        assert.match(online.find(({ layers }) => layers.includes(layer))?.reason ?? 'folded', reason, layer);
      }
    });

    it(`${name}: the same output, and inputs that arrive smoothed`, async () => {
      const { checkpoint, given, program, smoothed } = await open(join(folder, name));
      const { folded } = findFolds(program, smoothed, namesOf(checkpoint));
      const layers = folded.map(({ layers: [first = ''] }) => first);
      const capture = { layers, seed: 0, histogramBins: 16, sampleRows: 4, secondMoments: null };
      const model = modelFor(checkpoint);
      const before = await runForward(prepare(model, checkpoint, given), given, engine, { capture });
      const changed = await refold(checkpoint, folded, join(folder, `${name}-folded`));
      const after = await runForward(prepare(model, changed, given), given, engine, { capture });
      const error = difference(after.sample.data, before.sample.data);
      assert.ok(error <= 1e-5, `relative difference ${error}`);
      assert.ok(layers.length > 2);
      for (const layer of layers) {
        const [x, y] = [before, after].map(({ captured }) => captured.find((each) => each.name === layer)?.sample ?? new Float32Array()) as [Float32Array, Float32Array];
        const values = smoothed.get(layer) ?? new Float32Array();
        const apart = difference(y, x.map((value, i) => value * (values[i % values.length] ?? NaN)));
        assert.ok(apart <= 2e-5, `${layer}: inputs ${apart} from smoothed ones`);
        assert.ok(difference(y, x) > 0.1, `${layer}: its input was rescaled`);
      }
    });
  }

  it('FLUX.1 attention folds where text and image share their factors, into the values of both', async () => {
    const { checkpoint, program, smoothed } = await open(join(folder, 'flux-guided'));
    smoothed.set('transformer_blocks.0.attn.to_add_out', smoothed.get('transformer_blocks.0.attn.to_out.0') as Float32Array);
    const { folded } = findFolds(program, smoothed, namesOf(checkpoint));
    const fold = folded.find(({ layers }) => layers.includes('transformer_blocks.0.attn.to_add_out'));
    assert.deepEqual(fold?.layers, ['transformer_blocks.0.attn.to_out.0', 'transformer_blocks.0.attn.to_add_out']);
    assert.deepEqual(fold.edits.map(({ tensor }) => tensor), ['add_v_proj.weight', 'add_v_proj.bias', 'to_v.weight', 'to_v.bias'].map((tensor) => `transformer_blocks.0.attn.${tensor}`));
  });

  it('stays where a layer that reads the same values is not smoothed', async () => {
    const { checkpoint, program, smoothed } = await open(join(folder, 'dit-wide'));
    smoothed.delete('transformer_blocks.1.attn1.to_v');
    const { online } = findFolds(program, smoothed, namesOf(checkpoint));
    assert.match(online.find(({ layers }) => layers.includes('transformer_blocks.1.attn1.to_q'))?.reason ?? '', /to_v reads the same values and is not smoothed/);
  });

  it('stays where the tensor before it is shared, packed or of a type that cannot be rescaled', async () => {
    const { checkpoint, program, smoothed } = await open(join(folder, 'wan-video'));
    const reason = (change: (op: Program['ops'][number]) => Program['ops'][number], layer: string): string => {
      const { online } = findFolds({ ...program, ops: program.ops.map(change) }, smoothed, namesOf(checkpoint));
      return online.find(({ layers }) => layers.includes(layer))?.reason ?? 'folded';
    };
    const norms = program.ops.flatMap((op) => (op.op === 'layernorm' && op.weight ? [op] : []));
    assert.match(reason((op) => (op.op === 'layernorm' && op.weight ? { ...op, weight: norms[0]?.weight ?? null } : op), 'blocks.0.attn2.to_q'), /norm2.weight" before it is used in more than one place/);
    assert.match(reason((op) => (op.op === 'layernorm' && op.weight ? { ...op, weight: { ...op.weight, dtype: 'F8_E4M3' } } : op), 'blocks.0.attn2.to_q'), /norm2.weight" is stored as F8_E4M3; F32, BF16, F16 can be rescaled/);
    assert.match(reason((op) => (op.op === 'linear' && op.weight && op.name === 'blocks.0.attn2.to_q' ? { ...op, weight: { ...op.weight, dtype: 'F8_E4M3' } } : op), 'blocks.0.attn2.to_q'), /attn2.to_q.weight" is stored as F8_E4M3/);
    assert.match(reason((op) => (op.op === 'linear' && op.name === 'blocks.0.attn1.to_v' ? { ...op, weight: null } : op), 'blocks.0.attn1.to_out.0'), /to_v before it is packed already/);
  });

  it('a modulation without a bias gets one', async () => {
    const { checkpoint, given, smoothed } = await open(join(folder, 'dit-wide'));
    const bare = { ...checkpoint, revision: 'bare', tensors: checkpoint.tensors.filter(({ name }) => name !== 'proj_out_1.bias') };
    const model = modelFor(checkpoint);
    const prepared = prepare(model, bare, given);
    const { folded } = findFolds(prepared.program, smoothed, namesOf(bare));
    const changed = await refold(bare, folded, join(folder, 'bare-folded'));
    assert.ok(changed.tensors.some(({ name }) => name === 'proj_out_1.bias'));
    const [before, after] = [await runForward(prepared, given, engine), await runForward(prepare(model, changed, given), given, engine)];
    assert.ok(difference(after.sample.data, before.sample.data) <= 1e-5);
  });
});
