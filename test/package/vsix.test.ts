/** What ships: an allow-list, and nothing that a user's machine would have to run or download. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { temporaryFolders } from '../fixtures/folder';

const root = resolve(__dirname, '../..');
const target = `${process.platform}-${process.arch}`;

describe('VSIX', function () {
  this.timeout(120_000);
  let files: string[] = [];
  let size = 0;
  const folder = temporaryFolders();

  before(() => {
    // nvcc takes minutes: any file stands in for what it makes.
    const cuda = join(folder({ library: 'no library' }), 'library');
    const script = `import(${JSON.stringify(pathToFileURL(join(root, 'scripts/package.mjs')).href)}).then((it) => it.packageVsix(undefined, ${JSON.stringify(cuda)}))`;
    execFileSync(process.execPath, ['-e', script], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
    const vsix = join(root, 'build', `quantscope-${target}.vsix`);
    size = statSync(vsix).size;
    // The central directory names every file; a zip reader is not needed to read names.
    files = [...new Set([...readFileSync(vsix, 'latin1').matchAll(/extension\/[\w./-]+/g)].map((match) => match[0].replace('extension/', '')))];
  });

  it('holds every part the manifest and the processes name', () => {
    for (const name of ['package.json', 'package.nls.json', 'dist/client.js', 'dist/server.js', 'dist/engine.js', 'dist/cli.js', 'bin/quantscope.js', 'native/quantscope.node', 'native/libquantscope_cuda.so', 'schemas/quantconfig.schema.json',
      'syntaxes/quantconfig.tmLanguage.json', 'syntaxes/language-configuration.json', 'dist/webview/sensitivity.js', 'dist/webview/checkpoint.js', 'dist/webview/preview.js', 'docs/problems.md', 'docs/config.md', 'docs/dialects.md', 'docs/methods/orbitquant.md', 'THIRD_PARTY_NOTICES.md', 'dist/LICENSES.txt']) {
      assert.ok(files.some((file) => file.startsWith(name)), `${name} is missing`);
    }
  });

  it('has the license of every package that it contains', () => {
    const licenses = readFileSync(join(root, 'dist/LICENSES.txt'), 'utf8').split(/^─+\n/m).slice(1).map((text) => [/^(\S+) \S+ \((.*)\)/.exec(text)?.slice(1), text] as const);
    const said = new Map(licenses.map(([[name = '', license = ''] = []]) => [name, license]));
    assert.deepEqual(['@lezer/python', '@renovatebot/pep440', '@vscode/webview-ui-toolkit', 'ajv', 'd3-scale', 'fast-png', 'smol-toml', 'vscode-languageclient', 'yaml'].filter((name) => !said.has(name)), []);
    assert.deepEqual([...said].filter(([, license]) => !/^\(?(?:MIT|ISC|BSD-[23]-Clause|Apache-2\.0|0BSD|BlueOak-1\.0\.0)\b/.test(license)), []);
    assert.deepEqual(licenses.filter(([, text]) => text.length < 100).map(([name]) => name), []);
  });

  it('holds no source, test, map or package folder', () => {
    assert.deepEqual(files.filter((file) => /\.map$|\.ts$|\.cpp$|node_modules|^test|^examples|^shared|^native\/(src|build)/.test(file)), []);
  });

  it('has the CUDA library where its engine looks for it', () => {
    const { QUANTSCOPE_CUDA_LIBRARY: _ours, ...env } = process.env;
    const doctor = execFileSync(process.execPath, [join(root, 'build/package', target, 'bin/quantscope.js'), 'doctor', '--json'], { encoding: 'utf8', env });
    const { addon, engine } = JSON.parse(doctor) as { addon: string; engine: { cuda: { reason: string } } };
    assert.equal(addon, join(root, 'build/package', target, 'native/quantscope.node'));
    // Without a driver the file is not opened; with one it turns out to be no library.
    assert.match(engine.cuda.reason, /no NVIDIA driver|cannot be opened/);
  });

  it('names the reason where the CUDA library cannot be built', () => {
    const script = `import(${JSON.stringify(pathToFileURL(join(root, 'scripts/setup.mjs')).href)}).then((it) => process.stdout.write(String(it.whyNoCuda())))`;
    for (const [release, why] of [['12.4', /^nvcc 12\.4 is too old .*12\.8 or newer/], ['12.8', /^null$/], ['13.1', /^null$/]] as const) {
      const place = folder({ nvcc: `#!/bin/sh\necho "Cuda compilation tools, release ${release}, V${release}.1"\n` });
      chmodSync(join(place, 'nvcc'), 0o755);
      assert.match(execFileSync(process.execPath, ['-e', script], { encoding: 'utf8', env: { ...process.env, PATH: `${place}:${process.env['PATH'] ?? ''}` } }), why);
    }
  });

  it('is small and asks for no install script', () => {
    assert.ok(size < 30e6, `${size} bytes`);
    const manifest = JSON.parse(readFileSync(join(root, 'build/package', target, 'package.json'), 'utf8')) as Record<string, unknown>;
    assert.deepEqual(['scripts', 'dependencies', 'devDependencies'].filter((key) => key in manifest), []);
    assert.ok(existsSync(join(root, 'build/package', target, String(manifest['main']))));
  });
});
