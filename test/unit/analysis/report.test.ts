import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CancellationTokenSource } from 'vscode-jsonrpc';
import { ReportCache } from '../../../server/src/analysis/cache';
import { analyze, knownReports } from '../../../server/src/analysis/report';
import { EngineError } from '../../../server/src/engine/client';
import { FakeEngine } from '../../fixtures/fakeEngine';
import { temporaryFolders } from '../../fixtures/folder';
import { glyphRequest } from '../../fixtures/plans';

const orbit = 'defaults: { method: orbitquant, scheme: W4A4 }';

describe('analyze', () => {
  const folder = temporaryFolders();

  it('measures every layer once and reports in between', async () => {
    const request = await glyphRequest(orbit);
    const engine = new FakeEngine();
    const seen: string[] = [];
    const fractions: number[] = [];
    const analysis = await analyze(request, engine, new ReportCache(null), { onReport: (report, done, total) => seen.push(`${report.name} ${done}/${total}`), onProgress: (fraction) => fractions.push(fraction) });
    assert.equal(analysis.layers.length, 56);
    assert.deepEqual([seen.length, seen.at(-1)], [56, `${request.plan.layers.at(-1)?.name} 56/56`]);
    assert.ok(fractions.every((fraction, i) => fraction >= (fractions[i - 1] ?? 0)), 'progress never goes back');
    assert.equal(fractions.at(-1), 1);
  });

  it('puts the marginal the recipe quantizes first: after the rotation, or before where there is none', async () => {
    const engine = new FakeEngine();
    const rotated = (await analyze(await glyphRequest(orbit), engine, new ReportCache(null))).layers[0];
    const plain = (await analyze(await glyphRequest('defaults: { method: rtn, scheme: W4A4 }'), engine, new ReportCache(null))).layers[0];
    assert.deepEqual([rotated?.marginal.rotated, rotated?.marginal.ks], [true, 0.002]);
    assert.deepEqual([plain?.marginal.rotated, plain?.marginal.ks, plain?.marginal.after.ks], [false, 0.1, 0.002]);
  });

  it('gives SQNR in dB, and none for an exact layer', async () => {
    const kept = await analyze(await glyphRequest(), new FakeEngine(), new ReportCache(null), { layers: ['proj_out_1'] });
    assert.deepEqual(kept.layers.map((layer) => [layer.name, layer.weight.sqnrDb]), [['proj_out_1', null]]);
    const quantized = await analyze(await glyphRequest(orbit), new FakeEngine(), new ReportCache(null), { layers: ['proj_out_1'] });
    assert.ok(Math.abs((quantized.layers[0]?.weight.sqnrDb ?? 0) - 20) < 1e-12);
  });

  it('re-measures only what an edit changed', async () => {
    const cache = new ReportCache(folder());
    const engine = new FakeEngine();
    await analyze(await glyphRequest(orbit), engine, cache);
    engine.measured.length = 0;
    const edited = await glyphRequest(orbit, 'rules:', '  - layers: ["**.attn1.to_q"]', '    scheme: W8A8');
    const analysis = await analyze(edited, engine, cache);
    assert.deepEqual([engine.measured.length, analysis.cached], [6, 50]);
    engine.measured.length = 0;
    await analyze(await glyphRequest('defaults: { method: orbitquant, scheme: W4A8 }'), engine, cache);
    assert.equal(engine.measured.length, 0, 'activation bits change no weight report');
    engine.build = 'fake-2';
    await analyze(edited, engine, cache);
    assert.equal(engine.measured.length, 56, 'another build of the engine measures anew');
  });

  it('keeps what a device measured apart from what the processor did', async () => {
    const cache = new ReportCache(folder());
    const request = await glyphRequest(orbit);
    const measuring = async (...devices: string[]): Promise<number> => {
      const engine = new FakeEngine();
      engine.measuredOn = devices;
      await analyze(request, engine, cache);
      return engine.measured.length;
    };
    assert.deepEqual([await measuring(''), await measuring('cuda 1', '')], [56, 0], 'a device there may be does not make old numbers useless');
    assert.deepEqual([await measuring('cuda 1'), await measuring('cuda 1')], [56, 0], 'a device that is demanded measures itself');
    assert.deepEqual([await measuring('cuda 2'), await measuring('')], [56, 0]);
  });

  it('finds reports of an earlier process on the disk, and passes over damaged ones', async () => {
    const place = folder();
    const request = await glyphRequest(orbit);
    await analyze(request, new FakeEngine(), new ReportCache(place));
    assert.equal((await knownReports(request, new FakeEngine(), new ReportCache(place))).length, 56);
    for (const name of readdirSync(place)) {
      writeFileSync(join(place, name), '{"key": "half a fi');
    }
    assert.equal((await knownReports(request, new FakeEngine(), new ReportCache(place))).length, 0);
  });

  it('asks the engine for the codes of what is fitted, and reports in its stead why a layer has none', async () => {
    const request = await glyphRequest('defaults: { method: { name: rtn, permute: { kind: random } }, scheme: W4A4 }', 'rules:', '  - layers: [proj_out_1]', '    method: rtn');
    const engine = new FakeEngine();
    const { layers, failures } = await analyze({ ...request, folder: folder() }, engine, new ReportCache(null));
    assert.deepEqual([layers.map((layer) => layer.name), engine.measured.length, failures.length], [['proj_out_1'], 1, 55]);
    assert.match(failures[0]?.message ?? '', /This engine fits nothing/);
  });

  it('names the layer that cannot be measured and goes on', async () => {
    const engine = new FakeEngine((request) => {
      if (request.tensor.shape[0] === 256) {
        throw new EngineError('IO', 'shard.safetensors: truncated?');
      }
      return {};
    });
    const { layers, failures } = await analyze(await glyphRequest(orbit), engine, new ReportCache(null));
    assert.deepEqual(failures, [{ name: 'proj_out_1', message: 'shard.safetensors: truncated?' }]);
    assert.equal(layers.length, 55);
  });

  it('ends at a crash and at a cancel', async () => {
    const request = await glyphRequest(orbit);
    const crashing = new FakeEngine(() => { throw new EngineError('CRASHED', 'gone'); });
    await assert.rejects(analyze(request, crashing, new ReportCache(null)), { code: 'CRASHED' });
    assert.equal(crashing.measured.length, 1);
    const source = new CancellationTokenSource();
    const engine = new FakeEngine(() => { source.cancel(); return {}; });
    await assert.rejects(analyze(request, engine, new ReportCache(null), { cancellation: source.token }), { code: 'CANCELLED' });
    assert.equal(engine.measured.length, 1);
  });
});
