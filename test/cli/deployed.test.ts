/** `--as-deployed` on the bundled example, as a user runs it: quantized layers on integers, the others named with their reason. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { writeSafetensors } from '../../server/src/checkpoint/values';
import type { Deployed, PreviewCandidate } from '../../server/src/protocol';
import { temporaryFolders } from '../fixtures/folder';
import { examples } from '../fixtures/plans';
import { random } from '../fixtures/random';

const root = resolve(__dirname, '../..');

describe('--as-deployed', function () {
  this.timeout(120_000);
  const folder = temporaryFolders();

  function json(...args: string[]): unknown {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'bin/quantscope.js'), ...args, '--json', '--cache', 'none'], { encoding: 'utf8', maxBuffer: 1 << 28 });
    assert.equal(status, 0, stderr);
    return JSON.parse(stdout);
  }
  function config(place: string, scheme: string, method = 'rtn'): string {
    const path = join(place, 'q.quant.yaml');
    writeFileSync(path, [
      'version: 1', `checkpoint: ${join(examples, 'glyph-dit')}`, 'rules:',
      '  - { name: attention, layers: ["**.attn1.**"], method: rtn, scheme: W4A16 }',
      `  - { name: feed-forward, layers: ["**.ff.**"], method: ${method}, scheme: ${scheme} }`,
      'preview: { classes: [3], steps: 2, compareSteps: 1 }',
    ].join('\n'));
    return path;
  }

  it('forward: integers equal fake quantization but for rounding, and layers that cannot are listed', async () => {
    const place = folder();
    const next = random(5);
    await writeSafetensors(join(place, 'in.safetensors'), {
      hidden_states: { shape: [1, 3, 16, 16], data: Float32Array.from({ length: 768 }, () => 2 * next() - 1) }, timestep: { shape: [1], data: Float32Array.of(400) }, class_labels: { shape: [1], data: Float32Array.of(3) },
    });
    const run = (...options: string[]): { deployed?: Deployed; quantizedLayers: number } =>
      json('forward', join(examples, 'glyph-dit'), '--inputs', join(place, 'in.safetensors'), '--out', join(place, 'out.safetensors'), ...options) as { deployed?: Deployed; quantizedLayers: number };
    const { deployed, quantizedLayers } = run('--config', config(place, 'W4A4'), '--as-deployed');
    assert.ok(deployed);
    assert.ok(deployed.integerLayers > 0);
    assert.equal(deployed.integerLayers + deployed.floatLayers.length, quantizedLayers);
    assert.ok(deployed.floatLayers.length > 0);
    assert.ok(deployed.floatLayers.every(({ name, reason }) => name.includes('.attn1.') && reason === 'keeps its activations as floats'), JSON.stringify(deployed.floatLayers));
    assert.ok(deployed.relativeMse > 0 && deployed.relativeMse < 1e-4, `${deployed.relativeMse}`);
    assert.deepEqual([deployed.weightSurrogate, deployed.activationSurrogate], [0, 0]);
    assert.equal(run('--config', config(place, 'W4A4')).deployed, undefined);
  });

  it('preview: both executions side by side, and what the surrogate of a codebook costs', () => {
    const place = folder();
    const { candidates } = json('preview', config(place, 'W4A4', 'orbitquant'), '--out', join(place, 'out'), '--as-deployed') as { candidates: PreviewCandidate[] };
    assert.deepEqual(candidates.map(({ label, deployed }) => [label, deployed !== undefined]), [['q.quant.yaml', false], ['q.quant.yaml, as deployed', true]]);
    const [fake, { deployed, metrics }] = candidates as [PreviewCandidate, PreviewCandidate];
    assert.ok(deployed);
    assert.ok(deployed.weightSurrogate > 0 && deployed.weightSurrogate < 1e-3);
    assert.ok(deployed.relativeMse > 0);
    assert.deepEqual(deployed.perStep.map(({ step, outputRelativeMse }) => [step, outputRelativeMse]), [[1, deployed.relativeMse]]);
    assert.ok(Math.abs((metrics.latentPsnrDb ?? NaN) - (fake.metrics.latentPsnrDb ?? NaN)) < 3, `${metrics.latentPsnrDb} and ${fake.metrics.latentPsnrDb} dB`);
    assert.deepEqual(readdirSync(join(place, 'out')).sort(), ['item0-quantized-1-step1.png', 'item0-quantized-2-step1.png', 'item0-reference-step1.png']);
  });
});
