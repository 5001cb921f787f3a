/** Neovim as a second client: an editor that waits for diagnostics instead of asking, and knows nothing of QuantScope's own messages. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { temporaryFolders } from '../fixtures/folder';
import { safetensors } from '../fixtures/safetensors';
import { cli } from './client';

const root = resolve(__dirname, '../..');

interface Answers { error?: string; filetype: string; completed: string; hover: string; symbols: string[]; folds: number; references: string[]; renamed: string; offset_encoding: string }

describe('Neovim', function () {
  this.timeout(120_000);
  const folder = temporaryFolders();

  it('is served as docs/editors.md says', () => {
    assert.ok(existsSync(cli), 'dist/cli.js is missing: run node scripts/build.mjs');
    const [, setup = ''] = /^```lua\n(.*?)^```$/ms.exec(readFileSync(join(root, 'docs/editors.md'), 'utf8')) ?? [];
    const lines = setup.replace('/path/to/quantscope', root);
    assert.notEqual(lines, setup);
    const workspace = folder({
      'setup.lua': lines, 'm.safetensors': safetensors({ 'blocks.0.q.weight': { dtype: 'BF16', shape: [8, 4] }, 'out.weight': { dtype: 'BF16', shape: [8, 4] } }),
      'a.quant.yaml': 'version: 1\nrules:\n  - name: "𝒳 one"\n    layers: [q, out]\n    keep: bf16\n', 'b.quant.yaml': 'rules: [{ layers: "blocks.*.q" }]\n',
    });
    const home = folder();
    const env = {
      ...process.env, QUANTSCOPE_SETUP: join(workspace, 'setup.lua'), QUANTSCOPE_ANSWERS: join(home, 'answers.json'),
      XDG_CACHE_HOME: join(home, 'cache'), XDG_STATE_HOME: join(home, 'state'), XDG_DATA_HOME: join(home, 'data'), XDG_CONFIG_HOME: join(home, 'config'), LC_ALL: 'C.UTF-8',
    };
    const { status, stderr, error } = spawnSync('nvim', ['--headless', '-u', 'NONE', '-c', `luafile ${join(__dirname, 'neovim.lua')}`], { cwd: workspace, env, encoding: 'utf8', timeout: 100_000 });
    assert.equal(error, undefined, 'Neovim cannot be started: install the package neovim, or run npm test, which does');
    assert.equal(status, 0, stderr);
    const { hover, ...answers } = JSON.parse(readFileSync(join(home, 'answers.json'), 'utf8')) as Answers;
    assert.deepEqual(answers, {
      filetype: 'quantconfig', completed: '    layers: ["**.q", out]', renamed: '  - name: "renamed"', folds: 2, offset_encoding: 'utf-16',
      references: ['a.quant.yaml:5', 'b.quant.yaml:1'],
      symbols: ['[Property] version', '[File] checkpoint', '[Array] rules', '[Class] 𝒳 one', '[String] **.q', '[String] out'],
    });
    assert.match(hover, /matches \*\*1 layer\*\*/);
    const logs = readdirSync(home, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('lsp.log'));
    assert.deepEqual(logs.flatMap((name) => readFileSync(join(home, name), 'utf8').split('\n').filter((line) => line.includes('ERROR'))), []);
  });
});
