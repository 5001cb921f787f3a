/** Every transformer and decoder against the numpy programs, on random small models of odd sizes, through the command line as a user runs it. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { openCheckpoint } from '../../server/src/checkpoint';
import { readValues, writeSafetensors } from '../../server/src/checkpoint/values';
import type { TensorValues } from '../../server/src/checkpoint/values';
import { numpy } from './python';

const root = resolve(__dirname, '../..');

async function values(path: string): Promise<Record<string, TensorValues>> {
  const { tensors } = await openCheckpoint(path);
  return Object.fromEntries(await Promise.all(tensors.map(async (tensor) => [tensor.name, await readValues(tensor)] as const)));
}

interface Ran { shape: number[]; firstNonFinite: string | null; flops: number }

function run(command: string, place: string): Ran {
  const args = [command, place, '--inputs', join(place, 'inputs.safetensors'), '--out', join(place, 'out.safetensors'), '--json'];
  return JSON.parse(execFileSync(process.execPath, [join(root, 'bin/quantscope.js'), ...args], { encoding: 'utf8' })) as Ran;
}

/** The largest difference may be 2e-5 on outputs of size 2. */
async function agrees(command: string, place: string): Promise<void> {
  const { shape, firstNonFinite, flops } = run(command, place);
  const expected = (await values(join(place, 'expected.safetensors')))['sample'];
  const actual = (await values(join(place, 'out.safetensors')))['sample'];
  assert.deepEqual(shape, expected?.shape);
  assert.deepEqual(actual?.shape, expected?.shape);
  assert.equal(firstNonFinite, null);
  assert.ok(flops > 0);
  const size = Math.max(...Array.from(expected?.data ?? [], Math.abs)) / 2;
  const worst = Math.max(...Array.from(actual?.data ?? [], (value, i) => Math.abs(value - (expected?.data[i] ?? NaN))));
  assert.ok(worst <= 2e-5 * Math.max(1, size), `largest error ${worst} on outputs up to ${2 * size}`);
  assert.ok(readdirSync(place).every((file) => !file.endsWith('.tmp')));
}

describe('decode agrees with numpy', function () {
  this.timeout(120_000);
  const folder = mkdtempSync(join(tmpdir(), 'quantscope-'));
  const cases = numpy<string[]>('decode.py', null, folder);
  after(() => rmSync(folder, { recursive: true, force: true }));
  for (const name of cases) {
    it(name, () => agrees('decode', join(folder, name)));
  }
});

describe('forward agrees with numpy', function () {
  this.timeout(120_000);
  const folder = mkdtempSync(join(tmpdir(), 'quantscope-'));
  const cases = numpy<string[]>('forward.py', null, folder);
  after(() => rmSync(folder, { recursive: true, force: true }));
  for (const name of cases) {
    it(name, () => agrees('forward', join(folder, name)));
  }

  const wrong: [string, string, (inputs: Record<string, TensorValues>) => Record<string, TensorValues>, RegExp][] = [
    ['a missing input', 'dit-square', ({ hidden_states, timestep }) => ({ hidden_states, timestep }) as Record<string, TensorValues>, /"class_labels" is missing/],
    ['an unknown input', 'dit-square', (inputs) => ({ ...inputs, prompt: { shape: [1], data: new Float32Array(1) } }), /takes no input "prompt"/],
    ['a batch of two', 'dit-square', (inputs) => ({ ...inputs, hidden_states: { shape: [2, 4, 8, 8], data: new Float32Array(512) } }), /batch of 1/],
    ['an odd size', 'dit-square', (inputs) => ({ ...inputs, hidden_states: { shape: [1, 4, 7, 8], data: new Float32Array(224) } }), /multiples of the patch size|does not fit/],
    ['a class the table lacks', 'dit-square', (inputs) => ({ ...inputs, class_labels: { shape: [1], data: Float32Array.of(99) } }), /99|11/],
    ['a caption of another width', 'pixart-plain', (inputs) => ({ ...inputs, encoder_hidden_states: { shape: [1, 5, 41], data: new Float32Array(205) } }), /40 features/],
    ['guidance left out', 'flux-guided', ({ guidance, ...inputs }) => inputs, /"guidance" is missing/],
  ];
  for (const [what, name, change, message] of wrong) {
    it(`refuses ${what}`, async () => {
      const place = join(folder, name);
      const path = join(folder, 'wrong.safetensors');
      await writeSafetensors(path, change(await values(join(place, 'inputs.safetensors'))));
      const { status, stderr } = spawnSync(process.execPath, [join(root, 'bin/quantscope.js'), 'forward', place, '--inputs', path, '--out', join(folder, 'wrong-out.safetensors')], { encoding: 'utf8' });
      assert.equal(status, 2, stderr);
      assert.match(stderr, message);
      assert.doesNotMatch(stderr, /^ +at /m);
    });
  }
});
