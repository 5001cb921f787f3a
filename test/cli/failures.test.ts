/** The command line when a process is killed, or the checkpoint changes, in the middle of long work: messages, exit codes, cache, numbers, no process left behind. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { writeSafetensors } from '../../server/src/checkpoint/values';
import { publishedModel, tensorsOf } from '../fixtures/architectures';
import { shortened } from '../fixtures/fullSize';
import { accidents, assertWhole, ends, kill, longWork } from '../fixtures/longWork';
import { random } from '../fixtures/random';
import { writeSparse } from '../fixtures/sparse';

const program = resolve(__dirname, '../../bin/quantscope.js');

interface Started { pid: number; engine: Promise<number>; ended: Promise<{ code: number | null; out: string; err: string }> }

function start(...args: string[]): Started {
  const child = spawn(process.execPath, [program, ...args, '--verbose', '--json', '--threads', '2'], { stdio: ['ignore', 'pipe', 'pipe'] });
  let [out, err] = ['', ''];
  let started: (pid: number) => void = () => undefined;
  const engine = new Promise<number>((done) => { started = done; });
  child.stdout.setEncoding('utf8').on('data', (text: string) => { out += text; });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
    const pid = /engine: started.* process (\d+)/.exec(err)?.[1];
    if (pid) {
      started(Number(pid));
    }
  });
  return { pid: child.pid ?? 0, engine, ended: once(child, 'close').then(([code]) => ({ code: code as number | null, out, err })) };
}

describe('command line, in the middle of long work', function () {
  this.timeout(120_000);
  const work = longWork();
  const pictures = join(work.folder, 'pictures');
  const preview = (cache: string): Started => start('preview', work.config, '--out', pictures, '--cache', cache);
  let numbers: unknown;

  async function candidates(run: Started): Promise<unknown> {
    const { code, out, err } = await run.ended;
    assert.equal(code, 0, err);
    return (JSON.parse(out) as { candidates: unknown }).candidates;
  }

  before(async () => {
    writeFileSync(work.config, work.text);
    numbers = await candidates(preview('none'));
  });
  after(() => work.remove());

  for (const victim of ['command line', 'engine'] as const) {
    it(`the ${victim} may be killed at any moment: what is kept is whole, and the next run gives the same numbers`, async () => {
      const next = random(7);
      const cache = `${work.cache} ${victim}`;
      for (let attempt = 0; attempt < 3; attempt++) {
        const run = preview(cache);
        const engine = await run.engine;
        await wait(next() * 700);
        kill(victim === 'engine' ? engine : run.pid);
        const { code, err } = await run.ended;
        if (victim === 'engine' && code !== 0) {
          assert.deepEqual([code, /engine process ended in the middle of this job \(SIGKILL.*memory runs out\)\. The next job starts it again/.test(err)], [2, true], err);
          assert.doesNotMatch(err, /^ +at /m, 'no stack');
        }
        await ends(engine);
        await assertWhole(cache);
      }
      assert.deepEqual(await candidates(preview(cache)), numbers);
    });
  }

  /** Starts once the engine is up, and has the accident a moment later. */
  async function struck(run: Started, weights: string, happen: (weights: string) => void, message: RegExp): Promise<void> {
    const engine = await run.engine;
    await wait(100);
    happen(weights);
    const { code, out, err } = await run.ended;
    assert.deepEqual([code, out], [2, ''], err);
    assert.match(err, message);
    assert.doesNotMatch(err, /^ +at /m, 'no stack');
    await ends(engine);
  }

  for (const [what, happen, message] of accidents) {
    for (const command of ['preview', 'capture'] as const) {
      it(`${command} of a checkpoint that is ${what} meanwhile says so and keeps nothing of it`, async () => {
        const cache = join(work.folder, `cache ${command} ${what}`);
        const out = join(work.folder, `${command} ${what}.safetensors`);
        await struck(start(command, work.config, '--out', out, '--cache', cache), work.weights, happen, message);
        assert.equal(existsSync(out), false);
        await assertWhole(cache);
        work.restore();
        if (command === 'preview' && what === 'written over in place') {
          assert.deepEqual(await candidates(preview(cache)), numbers);
        }
      });
    }

    it(`forward on a checkpoint that is ${what} meanwhile says so and writes nothing`, async () => {
      const place = join(work.folder, what);
      const weights = join(place, 'diffusion_pytorch_model.safetensors');
      const model = shortened(publishedModel('DiT-XL/2-256'), { num_layers: 14 });
      const [inputs, out] = [join(work.folder, 'inputs.safetensors'), join(place, 'out.safetensors')];
      await writeSafetensors(inputs, { hidden_states: { shape: [1, 4, 32, 32], data: new Float32Array(4096) }, timestep: { shape: [1], data: Float32Array.of(1) }, class_labels: { shape: [1], data: Float32Array.of(1) } });
      mkdirSync(place);
      writeFileSync(join(place, 'config.json'), JSON.stringify({ _class_name: model.className, ...model.config }));
      // Zeros that take no space on the disk, and a second of work.
      await writeSparse(weights, tensorsOf(model));
      await struck(start('forward', place, '--inputs', inputs, '--out', out), weights, happen, message);
      assert.equal(existsSync(out), false);
    });
  }
});
