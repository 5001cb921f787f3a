/** `quantscope import`, `export` to other tools, and `lint` of several files, run as a user runs them. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { temporaryFolders } from '../fixtures/folder';
import { safetensors } from '../fixtures/safetensors';

const program = resolve(__dirname, '../../bin/quantscope.js');

function run(cwd: string, ...args: string[]): { code: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args, '--cache', 'none'], { cwd, encoding: 'utf8' });
  return { code: status, out: stdout, err: stderr };
}

describe('conversion on the command line', function () {
  this.timeout(120_000);
  const folder = temporaryFolders();
  const weights = safetensors(Object.fromEntries(['blocks.0.attn', 'blocks.0.proj_out', 'blocks.1.attn', 'blocks.1.proj_out', 'proj_out'].map((name) => [`${name}.weight`, { dtype: 'BF16', shape: [8, 64] }])));
  const config = 'version: 1\ncheckpoint: ./model.safetensors\ndefaults: { method: rtn, scheme: W8A16 }\nrules:\n  - layers: [proj_out]\n    keep: original\n';
  const place = (): string => folder({ 'model.safetensors': weights, 'a.quant.yaml': config, 'notes.json': '{}', 'bad.quant.yaml': config.replace('[proj_out]', '[nothing]') });

  it('exports, imports what it wrote, and replaces nothing unasked', () => {
    const cwd = place();
    const first = run(cwd, 'export', 'a.quant.yaml', '--to', 'compressed-tensors', '--out', 'ct.json', '--json');
    const exported = JSON.parse(first.out) as { to: string; written: string; text: string; lossy: unknown[]; errors: unknown[] };
    assert.deepEqual([first.code, exported.to, exported.written, exported.lossy, exported.errors, exported.text], [0, 'compressed-tensors', join(cwd, 'ct.json'), [], [], readFileSync(join(cwd, 'ct.json'), 'utf8')], first.err);
    const again = run(cwd, 'export', 'a.quant.yaml', '--to', 'compressed-tensors', '--out', 'ct.json');
    assert.deepEqual([again.code, /is there already\. Name another file, or add --force/.test(again.err)], [2, true], again.err);
    const back = run(cwd, 'import', 'ct.json', '--checkpoint', 'model.safetensors', '--out', 'back.quant.yaml', '--json');
    const imported = JSON.parse(back.out) as { dialect: string; written: string; config: string; lossy: { place: string; what: string }[]; layers: { name: string; recipe: { weights: { kind: string; bits?: number } } }[] };
    assert.deepEqual([back.code, imported.dialect, imported.written, imported.lossy.map(({ place: at, what }) => [at, what])], [0, 'compressed-tensors', join(cwd, 'back.quant.yaml'), [['ct.json:4', 'format']]], back.err);
    assert.match(imported.config, /checkpoint: \.\/model\.safetensors\n/);
    assert.deepEqual(imported.layers.map(({ name, recipe }) => [name, recipe.weights.bits ?? recipe.weights.kind]), [['blocks.0.attn', 8], ['blocks.0.proj_out', 8], ['blocks.1.attn', 8], ['blocks.1.proj_out', 8], ['proj_out', 'keep']]);
    assert.deepEqual(readdirSync(cwd).filter((name) => name.endsWith('.tmp')), []);
  });

  it('writes nothing that would do something else, unless it is told to', () => {
    const cwd = place();
    const refused = run(cwd, 'export', 'a.quant.yaml', '--to', 'diffusers-quanto', '--out', 'config.json');
    assert.deepEqual([refused.code, /error: 2 layers: blocks\.\*\.proj_out: treatment: .*by "proj_out"/.test(refused.err), readdirSync(cwd).includes('config.json')], [1, true, false], refused.err);
    const forced = run(cwd, 'export', 'a.quant.yaml', '--to', 'diffusers-quanto', '--out', 'config.json', '--allow-lossy');
    assert.deepEqual([forced.code, JSON.parse(readFileSync(join(cwd, 'config.json'), 'utf8'))], [0, { quantization_config: { quant_method: 'quanto', weights_dtype: 'int8', modules_to_not_convert: ['proj_out'] } }], forced.err);
    const impossible = run(cwd, 'export', 'a.quant.yaml', '--to', 'diffusers-gguf');
    assert.deepEqual([impossible.code, /says nothing about layers/.test(impossible.err)], [2, true]);
  });

  it('lints several files in one call, and fails from warnings on when told so', () => {
    const cwd = place();
    const usual = run(cwd, 'lint', 'a.quant.yaml', 'bad.quant.yaml', 'notes.json', '--skip-unknown', '--json');
    const { files } = JSON.parse(usual.out) as { files: { path: string; problems: { code: string }[] }[] };
    assert.deepEqual([usual.code, files.map(({ path, problems }) => [path, problems.map(({ code }) => code)])], [0, [[join(cwd, 'a.quant.yaml'), ['checkpoint/unknown-architecture']], [join(cwd, 'bad.quant.yaml'), ['checkpoint/unknown-architecture', 'plan/pattern-matches-nothing']]]], usual.err);
    assert.match(usual.err, /notes\.json: passed over/);
    const strict = run(cwd, 'lint', 'a.quant.yaml', 'bad.quant.yaml', '--fail-on', 'warning', '--sarif');
    const { runs: [report] } = JSON.parse(strict.out) as { runs: { results: { locations: { physicalLocation: { artifactLocation: { uri: string } } }[] }[] }[] };
    assert.deepEqual([strict.code, report?.results.map(({ locations }) => locations[0]?.physicalLocation.artifactLocation.uri)], [1, ['model.safetensors', 'model.safetensors', 'bad.quant.yaml']], strict.err);
  });
});
