/** Invariants of docs/architecture.md that no lint rule can hold. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';

const root = resolve(__dirname, '../..');

function sources(...folders: string[]): string[] {
  return folders.flatMap((folder) => readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts')).map((entry) => relative(root, join(entry.parentPath, entry.name))));
}

describe('architecture', () => {
  it('only the engine host loads native code', () => {
    const loaders = sources('client/src', 'server/src', 'webview/src').filter((file) => /\bcreateRequire\b|\bprocess\.dlopen\b|\brequire\(/.test(readFileSync(join(root, file), 'utf8')));
    assert.deepEqual(loaders, ['server/src/engine/host.ts']);
  });

  it('the addon needs nothing but the C and C++ runtime', function () {
    assert.equal(process.platform, 'linux', 'readelf reads ELF files: on another system this needs its own tool');
    const dynamic = execFileSync('readelf', ['-d', join(root, 'native/build/quantscope.node')], { encoding: 'utf8' });
    const needed = [...dynamic.matchAll(/\(NEEDED\).*\[(.*?)\]/g)].map((match) => match[1] ?? '');
    assert.deepEqual(needed.filter((library) => !/^(libc|libm|libpthread|libdl|ld-linux.*|libgcc_s|libstdc\+\+)\.so/.test(library)), []);
    assert.ok(needed.length > 0);
  });

  it('the required packages and top level are there', () => {
    const { dependencies = {}, devDependencies = {} } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, Record<string, string>>;
    for (const name of ['vscode-languageclient', 'vscode-languageserver', '@vscode/webview-ui-toolkit', 'node-addon-api', 'd3', 'mocha']) {
      assert.ok(name in dependencies || name in devDependencies, name);
    }
    const top = readdirSync(root);
    for (const name of ['package.json', 'client', 'server', 'native', 'webview', 'syntaxes', 'test', '.vscodeignore']) {
      assert.ok(top.includes(name), name);
    }
  });
});
