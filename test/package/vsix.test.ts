/** What ships: an allow-list, and nothing that a user's machine would have to run or download. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const root = resolve(__dirname, '../..');
const target = `${process.platform}-${process.arch}`;

describe('VSIX', function () {
  this.timeout(120_000);
  let files: string[] = [];
  let size = 0;

  before(() => {
    const script = `import(${JSON.stringify(pathToFileURL(join(root, 'scripts/package.mjs')).href)}).then((it) => it.packageVsix())`;
    execFileSync(process.execPath, ['-e', script], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
    const vsix = join(root, 'build', `quantscope-${target}.vsix`);
    size = statSync(vsix).size;
    // The central directory names every file; a zip reader is not needed to read names.
    files = [...new Set([...readFileSync(vsix, 'latin1').matchAll(/extension\/[\w./-]+/g)].map((match) => match[0].replace('extension/', '')))];
  });

  it('holds every part the manifest and the processes name', () => {
    for (const name of ['package.json', 'package.nls.json', 'dist/client.js', 'dist/server.js', 'dist/engine.js', 'dist/cli.js', 'bin/quantscope.js', 'native/quantscope.node', 'schemas/quantconfig.schema.json',
      'syntaxes/quantconfig.tmLanguage.json', 'syntaxes/language-configuration.json', 'dist/webview/sensitivity.js', 'dist/webview/checkpoint.js', 'dist/webview/preview.js', 'docs/problems.md', 'docs/config.md', 'docs/dialects.md', 'docs/methods/orbitquant.md', 'THIRD_PARTY_NOTICES.md']) {
      assert.ok(files.some((file) => file.startsWith(name)), `${name} is missing`);
    }
  });

  it('holds no source, test, map or package folder', () => {
    assert.deepEqual(files.filter((file) => /\.map$|\.ts$|\.cpp$|node_modules|^test|^examples|^shared|^native\/(src|build)/.test(file)), []);
  });

  it('is small and asks for no install script', () => {
    assert.ok(size < 30e6, `${size} bytes`);
    const manifest = JSON.parse(readFileSync(join(root, 'build/package', target, 'package.json'), 'utf8')) as Record<string, unknown>;
    assert.deepEqual(['scripts', 'dependencies', 'devDependencies'].filter((key) => key in manifest), []);
    assert.ok(existsSync(join(root, 'build/package', target, String(manifest['main']))));
  });
});
