/** Whole previews of tiny random models against numpy pipelines, through the command line as a user runs it: latents to 1e-4, pictures to the last bit of a PNG. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { decode } from 'fast-png';
import { openCheckpoint } from '../../server/src/checkpoint';
import { readValues } from '../../server/src/checkpoint/values';
import type { TensorValues } from '../../server/src/checkpoint/values';
import { numpy } from './python';

const root = resolve(__dirname, '../..');

interface Printed { images: { path: string; candidate: number; frame: number }[]; settings: { steps: number; guidance: number }; items: string[]; metrics: { psnrDb: number | null } }

async function tensor(path: string, name: string): Promise<TensorValues> {
  const found = (await openCheckpoint(path)).tensors.find((each) => each.name === name);
  assert.ok(found, `${path} has no ${name}`);
  return readValues(found);
}

describe('previews agree with numpy pipelines', function () {
  this.timeout(120_000);
  const folder = mkdtempSync(join(tmpdir(), 'quantscope-'));
  const cases = numpy<string[]>('pipelines.py', null, folder);
  after(() => rmSync(folder, { recursive: true, force: true }));

  for (const name of cases) {
    it(name, async () => {
      const place = join(folder, name);
      const args = ['preview', join(place, 'q.quant.yaml'), '--out', join(place, 'out'), '--cache', join(place, 'cache'), '--json'];
      const printed = JSON.parse(execFileSync(process.execPath, [join(root, 'bin/quantscope.js'), ...args], { encoding: 'utf8' })) as Printed;
      const [trajectory = ''] = readdirSync(join(place, 'cache/trajectories'));

      const expected = await tensor(join(place, 'expected.safetensors'), 'latents');
      const actual = await tensor(join(place, 'cache/trajectories', trajectory), `sample.${printed.settings.steps}`);
      assert.deepEqual(actual.shape, expected.shape);
      const norm = (values: Float32Array): number => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
      const error = norm(actual.data.map((value, i) => value - (expected.data[i] ?? NaN))) / norm(expected.data);
      assert.ok(error <= 1e-4, `relative error of the latents ${error}`);

      const frames = await tensor(join(place, 'expected.safetensors'), 'frames');
      const [count = 0, channels = 0, height = 0, width = 0] = frames.shape;
      const pictures = printed.images.filter((image) => image.candidate < 0).sort((a, b) => a.frame - b.frame).map(({ path }) => decode(readFileSync(path)));
      assert.deepEqual(pictures.map((picture) => [picture.height, picture.width]), Array.from({ length: count }, () => [height, width]));
      const area = height * width;
      const inside = frames.data.filter((value) => value > 0.01 && value < 0.99).length;
      assert.ok(inside > 0.3 * frames.data.length, `only ${inside} of ${frames.data.length} values are not clipped: this case shows nothing`);
      const worst = frames.data.reduce((most, value, i) => {
        const [frame, channel, at] = [Math.floor(i / (channels * area)), Math.floor(i / area) % channels, i % area];
        return Math.max(most, Math.abs(255 * Math.min(1, Math.max(0, value)) - (pictures[frame]?.data[at * channels + channel] ?? NaN)));
      }, 0);
      assert.ok(worst <= 0.51, `largest error of the pictures ${worst} of 255`);
      assert.deepEqual([printed.metrics.psnrDb, printed.items], [null, ['a red fox']]);
    });
  }
});
