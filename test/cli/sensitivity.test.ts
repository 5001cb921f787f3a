/** `sensitivity` as a user runs it: JSON keys, exit codes, text and messages. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { FirstBad, Sensitivity } from '../../server/src/protocol';
import { temporaryFolders } from '../fixtures/folder';

const root = resolve(__dirname, '../..');

describe('sensitivity on the command line', function () {
  this.timeout(60_000);
  const folder = temporaryFolders();

  function quantscope(...args: string[]): { code: number | null; out: string; err: string } {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'bin/quantscope.js'), 'sensitivity', ...args], { encoding: 'utf8', maxBuffer: 1 << 28 });
    return { code: status, out: stdout, err: stderr };
  }
  function config(place: string): string {
    const path = join(place, 'a.quant.yaml');
    writeFileSync(path, `version: 1\ncheckpoint: ${JSON.stringify(join(root, 'examples/glyph-dit'))}\ndefaults: { method: orbitquant, scheme: W4A4 }\npreview: { classes: [3], steps: 4, guidance: 2, compareSteps: 2 }\n`);
    return path;
  }

  it('ranks blocks with controls, in JSON and for people', () => {
    const place = folder();
    const args = [config(place), '--by', 'block', '--layers', 'transformer_blocks.**,proj_out_2', '--steps', '3', '--cache', join(place, 'cache')];
    const { code, out, err } = quantscope(...args, '--json');
    assert.equal(code, 0, err);
    const { by, layers, additivity, controls, items } = JSON.parse(out) as Sensitivity;
    assert.deepEqual([by, items], ['block', ['class 3: digit 3']]);
    assert.deepEqual(layers.map(({ name }) => name).sort(), ['proj_out_2', ...Array.from({ length: 6 }, (_, i) => `transformer_blocks.${i}`)]);
    assert.deepEqual(layers[0]?.perStep.map(({ step }) => step), [0, 2, 3]);
    assert.deepEqual([controls.zeroSwap.differing, controls.noise.length], [0, 3]);
    assert.ok(additivity?.ratio);
    const text = quantscope(...args).out;
    assert.match(text, /^block +error ↓ +step 0 +step 2 +step 3\n/);
    assert.match(text, /lower is better.*\nAdditivity: the parts add up to .*\nNothing swapped: 0 values differ in 42 measurements/);
  });

  it('estimates', () => {
    const { code, out, err } = quantscope(config(folder()), '--estimate', '--cache', 'none', '--json');
    assert.equal(code, 0, err);
    const { layers, additivity } = JSON.parse(out) as Sensitivity;
    assert.deepEqual([layers.length, layers.every(({ estimate }) => estimate), additivity], [56, true, null]);
  });

  it('--first-bad ends with 1 and names the layer, or with 0', () => {
    const path = config(folder());
    const good = quantscope(path, '--first-bad', '--cache', 'none');
    assert.deepEqual([good.code, good.err], [0, '']);
    assert.match(good.out, /^Nothing is wrong/);
    writeFileSync(path, readFileSync(path, 'utf8').replace('orbitquant, scheme: W4A4', 'rtn, scheme: W2A16'));
    const { code, out } = quantscope(path, '--first-bad', '--cache', 'none', '--json');
    assert.equal(code, 1);
    const { first, findings } = JSON.parse(out) as FirstBad;
    assert.deepEqual([first, first?.kind], [findings[0], 'departs']);
    assert.match(quantscope(path, '--first-bad', '--cache', 'none').out, new RegExp(`^${first?.layer} \\(step 0, (un)?conditional, item 0\\): Its output departs`));
  });

  it('refuses what it does not know', () => {
    const path = config(folder());
    for (const [args, message] of [[['--by', 'head'], /--by must be layer, block or role, not "head"/], [['--layers', 'nothing.*'], /nothing to swap.*--layers/], [['--steps', '0'], /--steps must be a whole number from 1 to 1000/]] as [string[], RegExp][]) {
      const { code, err } = quantscope(path, ...args, '--cache', 'none');
      assert.equal(code, 2);
      assert.match(err, message);
    }
  });
});
