/** `report` as a user runs it: files, sections, gates, and reasons where there is nothing to compare. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Comparison } from '../../server/src/analysis/evidence/comparison';
import type { GateResult } from '../../server/src/analysis/evidence/gates';
import { openCheckpoint } from '../../server/src/checkpoint';
import type { Sensitivity } from '../../server/src/protocol';
import { temporaryFolders } from '../fixtures/folder';

const root = resolve(__dirname, '../..');
const glyph = join(root, 'examples/glyph-dit');
const preview = 'preview: { classes: [3], steps: 4, guidance: 2, compareSteps: 2 }\n';

interface Report { date: string; configSha256: string; preview: Comparison & { missing?: string }; sensitivity: Sensitivity & { missing?: string }; gates: GateResult[] }

describe('report on the command line', function () {
  this.timeout(120_000);
  const folder = temporaryFolders();

  function run(config: string, ...args: string[]): { code: number | null; out: string; err: string } {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'bin/quantscope.js'), 'report', config, ...args], { encoding: 'utf8', maxBuffer: 1 << 28 });
    return { code: status, out: stdout, err: stderr };
  }
  function config(place: string, checkpoint: string, rest = preview): string {
    const path = join(place, 'a.quant.yaml');
    writeFileSync(path, `version: 1\ncheckpoint: ${JSON.stringify(checkpoint)}\ndefaults: { method: orbitquant, scheme: W4A4 }\n${rest}`);
    return path;
  }
  function read(path: string): Report { return JSON.parse(readFileSync(path, 'utf8')) as Report; }

  it('pictures, spread over seeds and sensitivities with controls; the same numbers twice, from nothing and from the cache', () => {
    const place = folder();
    const path = config(place, glyph);
    const args = ['--seeds', '2', '--layers', '**.to_q', '--cache', join(place, 'cache')];
    const first = run(path, ...args, '--out', join(place, 'first.html'), '--sensitivity', '--by', 'block', '--images', join(place, 'images'), '--gate', 'psnrDb>=5,ssim>=1', '--json');
    assert.equal(first.code, 1, 'a gate failed');
    assert.match(first.err, /Gate psnrDb >= 5: passed \(.*mean of 2 seeds\)\.\nGate ssim >= 1: FAILED/);
    const written = JSON.parse(first.out) as { html: string; markdown: string; json: string; images: string[]; gates: GateResult[] };
    const report = read(written.json);
    assert.deepEqual(written.gates.map(({ passed }) => passed), [true, false]);
    assert.deepEqual([report.preview.seeds, report.preview.items, report.preview.refused], [[0, 1], ['class 3: digit 3'], null]);
    const { n, mean, standardDeviation } = report.preview.metrics?.psnrDb ?? {};
    assert.ok(n === 2 && (mean ?? 0) > 5 && (standardDeviation ?? 0) > 0);
    assert.deepEqual([report.sensitivity.by, report.sensitivity.controls.zeroSwap.differing, report.sensitivity.controls.noise.length], ['block', 0, 3]);
    assert.deepEqual(readdirSync(join(place, 'images')).length, 6, 'two steps of one class');
    assert.ok(written.images.every((image) => existsSync(image)));
    const html = readFileSync(written.html, 'utf8');
    assert.match(html, /^<!doctype html>/);
    assert.equal(html.match(/<img /g)?.length, 6);
    assert.match(readFileSync(written.markdown, 'utf8'), /!\[reference\]\(images\/item0-reference-step/);

    // What an earlier run has measured is taken, without being asked for.
    const second = run(path, ...args, '--out', join(place, 'second.html'));
    assert.deepEqual([second.code, second.err], [0, '']);
    const { date, ...again } = read(join(place, 'second.json'));
    assert.deepEqual({ ...again, gates: report.gates, date: report.date }, report);
    assert.ok(Date.parse(date) >= Date.parse(report.date));
    const third = run(path, '--seeds', '2', '--layers', '**.to_q', '--cache', 'none', '--out', join(place, 'third.html'));
    assert.equal(third.code, 0, third.err);
    const fresh = read(join(place, 'third.json'));
    assert.deepEqual(fresh.preview, report.preview);
    assert.ok(fresh.sensitivity.layers.every(({ estimate }) => estimate), 'nothing is known: an estimate');
  });

  it('a single file has no pipeline: the report says so and has the rest', async () => {
    const place = folder();
    cpSync(join(glyph, 'transformer/diffusion_pytorch_model.safetensors'), join(place, 'alone.safetensors'));
    const { code, out, err } = run(config(place, './alone.safetensors', ''), '--out', join(place, 'r.html'), '--layers', 'proj_out_2', '--cache', 'none');
    assert.deepEqual([code, err], [0, '']);
    assert.match(out, /^Report: .*r\.html\nBeside it: r\.md \(for a pull request\), r\.json\n$/);
    const { preview: missing, sensitivity } = read(join(place, 'r.json'));
    assert.ok(missing.missing && sensitivity.missing);
    assert.ok(!missing.missing.includes(place), 'a report is read elsewhere');
    const markdown = readFileSync(join(place, 'r.md'), 'utf8');
    assert.match(markdown, /## Same-seed comparison\n\nThere is none\. .+\n\n## Sensitivity\n\nThere is none\. .+/);
    assert.match(markdown, /1 of 56|56 of 56/);
  });

  it('a reference with NaNs is compared with nothing', async () => {
    const place = folder();
    cpSync(glyph, join(place, 'broken'), { recursive: true });
    const file = join(place, 'broken/transformer/diffusion_pytorch_model.safetensors');
    const bias = (await openCheckpoint(file)).tensors.find(({ name }) => name === 'proj_out_2.bias');
    assert.equal(bias?.dtype, 'BF16');
    const bytes = readFileSync(file);
    bytes.writeUInt16LE(0x7fc0, bias.offset);
    writeFileSync(file, bytes);
    const { code, err } = run(config(place, './broken'), '--out', join(place, 'r.html'), '--layers', 'proj_out_2', '--seeds', '2', '--gate', 'psnrDb>=1', '--cache', 'none');
    assert.equal(code, 1);
    assert.match(err, /full-precision reference holds NaN or infinite values \(seed 0, 1\)/);
    assert.match(err, /Gate psnrDb >= 1: FAILED \(nothing was compared\)/);
    const { preview: refused, sensitivity } = read(join(place, 'r.json'));
    assert.deepEqual([refused.metrics, refused.perStep], [null, []]);
    assert.match(sensitivity.missing ?? '', /full-precision model gives values that are not finite/);
    assert.ok(!readFileSync(join(place, 'r.html'), 'utf8').includes('<img'));
  });

  it('refuses what it does not know, and leaves out what it is told to', () => {
    const place = folder();
    const path = config(place, glyph);
    for (const [args, message] of [
      [['--mode', 'slow'], /--mode must be forced or free, not "slow"/], [['--gate', 'lpips>=1'], /"lpips>=1" is no gate/], [['--gate', 'ssim>=1', '--no-preview'], /--no-preview leaves out/],
    ] as [string[], RegExp][]) {
      const { code, err } = run(path, ...args, '--cache', 'none');
      assert.equal(code, 2, err);
      assert.match(err, message);
    }
    assert.equal(run(path, '--no-preview', '--no-sensitivity', '--layers', 'proj_out_2', '--cache', 'none', '--out', join(place, 'r.html')).code, 0);
    assert.match(read(join(place, 'r.json')).preview.missing ?? '', /without a preview/);
  });
});
