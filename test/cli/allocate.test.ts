/** `allocate` as a user runs it, on the bundled example. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { temporaryFolders } from '../fixtures/folder';

const root = resolve(__dirname, '../..');
const program = join(root, 'bin/quantscope.js');
const example = join(root, 'examples/glyph-dit.quant.yaml');

interface Result {
  bytes: number; averageBits: number; objective: number; loss: { kind: string; description: string }; plan: { layers: { name: string; option: string }[]; hash: string }; written: string | null;
  baselines: { name: string; bytes: number; objective: number }[]; certificate: { optimal: boolean; bound: number; gap: number }; pareto: { bytes: number; objective: number }[];
}

function quantscope(...args: string[]): { code: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], { encoding: 'utf8', maxBuffer: 1 << 28, env: { ...process.env, XDG_CACHE_HOME: join(root, 'test-artifacts/cache') } });
  return { code: status, out: stdout, err: stderr };
}

function json<T = Result>(...args: string[]): T {
  const { code, out, err } = quantscope(...args, '--json');
  assert.equal(code, 0, err);
  return JSON.parse(out) as T;
}

describe('command line: allocate', () => {
  const folder = temporaryFolders();

  it('gives a plan within the size, no worse than any baseline, and writes a config that resolves to it', () => {
    const written = join(folder({}), 'out.quant.yaml');
    const before = readFileSync(example, 'utf8');
    const found = json('allocate', example, '--size', '1.55MB', '--write', written);
    assert.ok(found.bytes <= 1_550_000 && found.certificate.optimal && found.certificate.gap === 0 && found.certificate.bound === found.objective);
    assert.deepEqual(found.baselines.map(({ name }) => name), ['uniform', 'first and last blocks', 'by name', 'random']);
    found.baselines.forEach((baseline) => assert.ok(baseline.bytes <= 1_550_000 && baseline.objective >= found.objective, baseline.name));
    assert.ok(found.pareto.length > 20 && found.pareto.every(({ bytes, objective }) => bytes > found.bytes || objective >= found.objective - 1e-12));
    assert.deepEqual([found.loss.kind, found.written], ['weights', written]);
    const plan = json<{ hash: string; totals: { checkpointBytes: number }; problems: unknown[] }>('plan', written);
    assert.deepEqual([plan.hash, plan.totals.checkpointBytes, plan.problems], [found.plan.hash, found.bytes, []]);
    const text = readFileSync(written, 'utf8');
    assert.ok(text.includes('# Change a rule and watch the hints') && text.includes('budget: { size: 1.55MB }'), text);
    assert.equal(readFileSync(example, 'utf8'), before);
  });

  it('goes by average bits, by the budget of the config, and by measured outputs', () => {
    const bits = json('allocate', example, '--bits', '5.5', '--loss', 'outputs');
    assert.ok(bits.averageBits <= 5.5 && bits.loss.kind === 'outputs' && bits.objective > 0 && bits.written === null);
    bits.baselines.forEach((baseline) => assert.ok(baseline.objective >= bits.objective, baseline.name));
    assert.ok(json('allocate', example).bytes <= 1_700_000);
  });

  it('chooses again where it chose before', () => {
    const written = join(folder({}), 'again.quant.yaml');
    json('allocate', example, '--size', '1.5MB', '--write', written);
    const again = json('allocate', written, '--size', '1.55MB', '--write', written);
    assert.deepEqual([again.plan.layers.length, again.objective], [36, json('allocate', example, '--size', '1.55MB').objective]);
    assert.deepEqual(json<{ problems: unknown[] }>('lint', written).problems, []);
    assert.ok(readFileSync(written, 'utf8').split('\n').length < 40);
  });

  it('takes losses from a file', () => {
    const place = folder({});
    const { plan } = json('allocate', example, '--options', 'W3A4,W4A4');
    const losses = (unit: number): Record<string, number> => Object.fromEntries(plan.layers.map(({ name }) => [name, name.endsWith('to_out.0') ? unit : 0]));
    writeFileSync(join(place, 'l.json'), JSON.stringify({ description: 'made up', losses: { W3A4: losses(3), W4A4: losses(1) } }));
    const found = json('allocate', example, '--options', 'W3A4,W4A4', '--loss', join(place, 'l.json'));
    assert.deepEqual([found.objective, found.loss.description, found.plan.layers.filter(({ option }) => option === 'W4A4').every(({ name }) => name.endsWith('to_out.0'))], [6, 'made up', true]);
  });

  it('goes by what quantizing a layer does to the final output', () => {
    const found = json('allocate', example, '--options', 'W3A4,W4A4', '--layers', '**.ff.net.2', '--loss', 'sensitivity', '--size', '1.6MB');
    assert.deepEqual([found.loss.kind, found.plan.layers.length, found.certificate.optimal], ['sensitivity', 6, true]);
    // Of layers of one size those that matter least have fewer bits.
    const scores = json<{ layers: { name: string; score: number }[] }>('sensitivity', example, '--layers', '**.ff.net.2').layers.map(({ name }) => name);
    const [worst, low] = [scores[0] ?? '', found.plan.layers.filter(({ option }) => option === 'W3A4').map(({ name }) => name)];
    assert.ok(low.length > 0 && low.length < 6 && !low.includes(worst), low.join());
  }).timeout(120_000);

  const bad: [what: string, args: string[], message: RegExp][] = [
    ['a size that is none', ['--size', 'small'], /The size must be a number with a unit, not "small"/],
    ['two budgets', ['--size', '2MB', '--bits', '4'], /Give one of them/],
    ['bits that are none', ['--bits', '0'], /bits must be a number above 0/],
    ['a size that nothing fits', ['--size', '1MB'], /No plan fits into 1000000 bytes/],
    ['an option that is none', ['--options', 'W4A4,int4'], /"int4" is no option/],
    ['a loss that is none', ['--loss', 'guess'], /weights, outputs, sensitivity or a \.json file/],
    ['losses that are not there', ['--loss', 'nowhere.json'], /nowhere\.json: there is no such file/],
  ];
  for (const [what, args, message] of bad) {
    it(`ends with 2 and a clear message: ${what}`, () => {
      const { code, out, err } = quantscope('allocate', example, ...args);
      assert.deepEqual([code, out], [2, '']);
      assert.match(err, message);
      assert.doesNotMatch(err, /^ +at /m, 'no stack');
    });
  }

  it('writes nothing when there is no plan', () => {
    const written = join(folder({}), 'out.quant.yaml');
    assert.equal(quantscope('allocate', example, '--size', '1MB', '--write', written).code, 2);
    assert.ok(!existsSync(written));
  });
});
