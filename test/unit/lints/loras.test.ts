import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { CheckpointStore } from '../../../server/src/checkpoint';
import { adapterOf, matchAdapter } from '../../../server/src/checkpoint/adapter';
import { writeSafetensors } from '../../../server/src/checkpoint/values';
import type { TensorValues } from '../../../server/src/checkpoint/values';
import { squaredStep } from '../../../server/src/config/steps';
import { loadAndLint, measureLoras } from '../../../server/src/lints';
import { knownDeltas } from '../../../server/src/lints/loraDeltas';
import type { Problem, Quantizer } from '../../../server/src/protocol';
import { checkpointOf } from '../../fixtures/checkpoints';
import { temporaryFolders } from '../../fixtures/folder';
import { random } from '../../fixtures/random';
import { applied, slice } from '../config/found';

const width = 64;
const layers = ['blocks.0.attn.to_q', 'blocks.0.attn.to_out.0', 'blocks.1.attn.to_q', 'blocks.1.attn.to_out.0', 'proj_out'];
const spec = (...shape: number[]): { dtype: 'F32'; shape: number[] } => ({ dtype: 'F32', shape });
const model = checkpointOf(Object.fromEntries(layers.map((name) => [`${name}.weight`, spec(width, width)])));

describe('adapters by their header', () => {
  const down = spec(4, width);
  const up = spec(width, 4);
  const forms: [name: string, tensors: Record<string, { dtype: 'F32'; shape: number[] }>][] = [
    ['diffusers and PEFT', { 'transformer.blocks.0.attn.to_q.lora_A.weight': down, 'transformer.blocks.0.attn.to_q.lora_B.weight': up }],
    ['PEFT with the name of the adapter', { 'base_model.model.blocks.0.attn.to_q.lora_A.default.weight': down, 'base_model.model.blocks.0.attn.to_q.lora_B.default.weight': up }],
    ['ComfyUI', { 'diffusion_model.blocks.0.attn.to_q.lora_A.weight': down, 'diffusion_model.blocks.0.attn.to_q.lora_B.weight': up, 'diffusion_model.blocks.0.attn.to_q.alpha': spec() }],
    ['older diffusers', { 'transformer.blocks.0.attn.to_q.lora.down.weight': down, 'transformer.blocks.0.attn.to_q.lora.up.weight': up }],
    ['attention processors', { 'transformer.blocks.0.attn.processor.to_q_lora.down.weight': down, 'transformer.blocks.0.attn.processor.to_q_lora.up.weight': up }],
    ['Kohya', { 'lora_unet_blocks_0_attn_to_q.lora_down.weight': down, 'lora_unet_blocks_0_attn_to_q.lora_up.weight': up, 'lora_unet_blocks_0_attn_to_q.alpha': spec() }],
    ['bare names', { 'blocks.0.attn.to_q.lora_down.weight': down, 'blocks.0.attn.to_q.lora_up.weight': up }],
  ];
  for (const [name, tensors] of forms) {
    it(name, () => {
      const adapter = adapterOf(checkpointOf(tensors));
      const { layers: found, unknown, misfits } = matchAdapter(adapter, model);
      assert.deepEqual([found.map(({ layer }) => layer.name), unknown.length, misfits.length], [['blocks.0.attn.to_q'], 0, 0]);
      assert.equal(adapter.pairs[0]?.alpha !== null, Object.keys(tensors).some((key) => key.endsWith('.alpha')));
    });
  }

  it('finds the second layer behind a numbered name, a prefix of the checkpoint, alpha in the metadata, and tells text encoders apart', () => {
    const whole = checkpointOf(Object.fromEntries(layers.map((name) => [`model.diffusion_model.${name}.weight`, spec(width, width)])));
    const file = {
      ...checkpointOf({ 'lora_unet_blocks_1_attn_to_out_0.lora_down.weight': down, 'lora_unet_blocks_1_attn_to_out_0.lora_up.weight': up, 'lora_te1_a.lora_down.weight': down, 'lora_te1_a.lora_up.weight': up }),
      metadata: { lora_adapter_metadata: JSON.stringify({ 'transformer.lora_alpha': 16 }) },
    };
    const adapter = adapterOf(file);
    assert.deepEqual([matchAdapter(adapter, whole).layers.map(({ layer }) => layer.name), adapter.elsewhere, adapter.pairs[0]?.alpha], [['model.diffusion_model.blocks.1.attn.to_out.0'], 1, 16]);
  });
});

describe('steps of quantizers', () => {
  const next = random(5);
  const row = Float32Array.from({ length: 4096 }, () => Math.sqrt(-2 * Math.log(next() || 1e-9)) * Math.cos(2 * Math.PI * next()));
  const max = row.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const step = (quantizer: Quantizer): number => Math.sqrt(squaredStep(quantizer, row, max) ?? NaN);

  it('follow from range and bits', () => {
    const int = (more: object): Quantizer => ({ kind: 'int', bits: 4, symmetric: true, group: 'row', scale: 'fp16', ...more });
    assert.ok(Math.abs(step(int({})) - max / 7) < 1e-6);
    assert.ok(Math.abs(step(int({ clip: 0.5 })) - max / 14) < 1e-6);
    assert.ok(Math.abs(step(int({ group: 'tensor' })) - max / 7) < 1e-6);
    assert.ok(step(int({ group: 64 })) < 0.8 * step(int({})));
    assert.ok(Math.abs(step(int({ bits: 8 })) / step(int({})) - 7 / 127) < 1e-6);
    assert.equal(squaredStep({ kind: 'keep', dtype: 'original' }, row, max), null);
  });

  it('give the error of a quantizer as step² / 12, within a tenth', () => {
    // Rounding to E2M1 with one scale for the row, by the list of its numbers.
    const levels = [0, 0.5, 1, 1.5, 2, 3, 4, 6].flatMap((value) => [value, -value]).map((value) => (value * max) / 6);
    const error = row.reduce((sum, value) => sum + Math.min(...levels.map((level) => (value - level) ** 2)), 0) / row.length;
    assert.ok(Math.abs(step({ kind: 'float', format: 'fp4', group: 'row' }) ** 2 / 12 / error - 1) < 0.1);
    assert.ok(Math.abs(step({ kind: 'codebook', bits: 4, norm: 'bf16' }) ** 2 / 12 - 0.009497) < 0.0005);
  });
});

describe('lint: adapters', () => {
  const folder = temporaryFolders();
  const head = 'version: 1\ncheckpoint: ./m.safetensors\ndefaults: { method: rtn, scheme: W4A16 }\n';
  const adapterCodes = ['plan/lora-matches-nothing', 'plan/lora-below-step', 'checkpoint/not-found'];

  /** As `lint` does it: measured, then linted. */
  async function lints(text: string, place: string): Promise<Problem[]> {
    const load = (): ReturnType<typeof loadAndLint> => loadAndLint(TextDocument.create('file:///x', 'quantconfig', 1, text), join(place, 'x.quant.yaml'), new CheckpointStore());
    const first = await load();
    const { problems } = await measureLoras(first) ? await load() : first;
    return problems.filter(({ code }) => adapterCodes.includes(code));
  }

  function table(seed: number, deviation: number, ...shape: number[]): TensorValues {
    const next = random(seed);
    return { shape, data: Float32Array.from({ length: (shape[0] ?? 1) * (shape[1] ?? 1) }, () => deviation * Math.sqrt(3) * (2 * next() - 1)) };
  }

  /** A model of weights in ±0.1, so that a 4-bit step is 1/70, and an adapter that moves to_q by `small` and to_out.0 by `large`. */
  async function write(place: string, small: number, large: number, alpha?: number): Promise<void> {
    await writeSafetensors(join(place, 'm.safetensors'), Object.fromEntries(layers.map((name, i) => [`${name}.weight`, table(i + 1, 0.1 / Math.sqrt(3), width, width)])));
    await writeSafetensors(join(place, 'a.safetensors'), Object.fromEntries(layers.slice(0, 4).flatMap((name, i) => [
      [`transformer.${name}.lora_A.weight`, table(i + 11, 1, 1, width)],
      [`transformer.${name}.lora_B.weight`, { shape: [width, 1], data: new Float32Array(width).fill(name.endsWith('q') ? small : large) }],
      ...(alpha === undefined ? [] : [[`transformer.${name}.alpha`, { shape: [], data: Float32Array.of(alpha) }]]),
    ] as [string, TensorValues][])));
  }

  it('says which layers lose it, by how much, and what helps', async () => {
    const place = folder();
    await write(place, 1 / 700, 1 / 70);
    const text = `${head}# style\nloras:\n  - path: ./a.safetensors # mine\n    scale: 1\n`;
    const [problem, ...none] = await lints(text, place);
    assert.deepEqual([none, slice(text, problem?.range)], [[], './a.safetensors']);
    assert.match(problem?.message ?? '', /^a\.safetensors at scale 1 changes 2 of 4 quantized layers by less than half a step of their weights: 0\.(09|1)\d* of a step in the median of these, 0\.(09|1)\d* in blocks\.\d\.attn\.to_q /);
    assert.deepEqual(problem?.data?.fixes.map(({ title }) => title), ['Give these layers 8-bit weights: add a rule with "scheme: W8A16"', 'Keep these layers: add a rule with "keep: original"']);
    for (const fix of problem?.data?.fixes ?? []) {
      const after = applied(text, fix);
      assert.match(after, /layers: \["blocks\.\*\.attn\.to_q"\]/);
      assert.deepEqual(await lints(after, place), []);
    }
  });

  it('counts the scale of the entry and alpha over rank', async () => {
    const place = folder();
    await write(place, 1 / 700, 1 / 70);
    assert.deepEqual(await lints(`${head}loras: [{ path: a.safetensors, scale: 10 }]\n`, place), []);
    await write(place, 1 / 700, 1 / 70, 10);
    assert.deepEqual(await lints(`${head}loras: [{ path: a.safetensors }]\n`, place), []);
    assert.match((await lints(`${head}loras: [{ path: a.safetensors, scale: 0.01 }]\n`, place))[0]?.message ?? '', /changes 4 of 4 quantized layers/);
  });

  it('measures the ratio that was built in, with and without a rotation', async () => {
    const place = folder();
    await write(place, 1 / 700, 1 / 70);
    const ratio = async (settings: string): Promise<number> => {
      const store = new CheckpointStore();
      const linted = await loadAndLint(TextDocument.create('file:///x', 'quantconfig', 1, `${head.replace('method: rtn, scheme: W4A16', settings)}loras: [{ path: a.safetensors }]\n`), join(place, 'x.quant.yaml'), store);
      await measureLoras(linted);
      const use = linted.loras?.[0]?.use;
      return (use && linted.checkpoint && linted.plan && knownDeltas(use, linted.checkpoint, linted.plan)?.get('blocks.0.attn.to_out.0')?.ratio) ?? NaN;
    };
    // A has deviation 1 and B is 1/70; the largest of 64 weights is close to 0.1.
    assert.ok(Math.abs(await ratio('method: rtn, scheme: W4A16') - 1) < 0.1);
    // Uniform weights have deviation 0.1 / √3; spread by a rotation they are Gaussian, whose 4-bit codebook has steps of √(12 · 0.0095) deviations.
    assert.ok(Math.abs(await ratio('method: orbitquant, scheme: W4A16') - 1 / 70 / (0.1 / Math.sqrt(3)) / Math.sqrt(12 * 0.009497)) < 0.1);
  });

  it('says when it changes nothing here, and goes', async () => {
    const place = folder();
    await write(place, 1, 1);
    await writeSafetensors(join(place, 'flux.safetensors'), { 'lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight': table(1, 1, 2, 8), 'lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight': table(2, 1, 8, 2) });
    await writeSafetensors(join(place, 'wide.safetensors'), { 'transformer.proj_out.lora_A.weight': table(1, 1, 2, 8), 'transformer.proj_out.lora_B.weight': table(2, 1, width, 2) });
    await writeSafetensors(join(place, 'mixed.safetensors'), { ...Object.fromEntries(['proj_out', 'elsewhere'].flatMap((name) => [[`${name}.lora_A.weight`, table(1, 1, 2, width)], [`${name}.lora_B.weight`, table(2, 9, width, 2)]])) });
    const text = `${head}loras:\n  - path: flux.safetensors\n  - path: wide.safetensors\n  - path: m.safetensors\n  - path: nowhere.safetensors\n  - path: mixed.safetensors\n`;
    const found = await lints(text, place);
    assert.deepEqual(found.map(({ message, severity }) => [severity, message.replace(/\.(?: .*)?$/, '')]), [
      ['warning', 'flux.safetensors: none of the 1 layers it changes is in this checkpoint (first lora_unet_double_blocks_0_img_attn_qkv)'],
      ['warning', 'wide.safetensors: one change has another shape than its layer, first proj_out: [64, 2] · [2, 8] for a weight of [64, 64]'],
      ['warning', 'm.safetensors: holds no pair of lora_A and lora_B, lora_down and lora_up'],
      ['warning', found[3]?.message.replace(/\.(?: .*)?$/, '')],
      ['warning', 'mixed.safetensors: 1 of the 2 layers it changes are not in this checkpoint (first elsewhere)'],
    ]);
    assert.match(found[0]?.message ?? '', /names of the original release/);
    assert.equal(applied(text, found[3]?.data?.fixes[0]), text.replace('  - path: nowhere.safetensors\n', ''));
    assert.equal(found[4]?.data, undefined);
    const only = `${head}loras: [{ path: nowhere.safetensors }]\n`;
    assert.equal(applied(only, (await lints(only, place))[0]?.data?.fixes[0]), head);
  });

  it('leaves alone what is not quantized, and files it cannot read', async () => {
    const place = folder();
    await write(place, 1 / 7000, 1 / 7000);
    assert.deepEqual(await lints(`${head.replace('method: rtn, scheme: W4A16', 'keep: bf16')}loras: [{ path: a.safetensors }]\n`, place), []);
    writeFileSync(join(place, 'broken.safetensors'), 'nothing');
    const { problems } = await loadAndLint(TextDocument.create('file:///x', 'quantconfig', 1, `${head}loras: [{ path: broken.safetensors }]\n`), join(place, 'x.quant.yaml'), new CheckpointStore());
    assert.deepEqual(problems.filter(({ code }) => code.startsWith('checkpoint/')).map(({ severity }) => severity), ['info', 'warning']);
  });
});
