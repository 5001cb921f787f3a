import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { findCheckpoints } from '../../client/src/features/newConfig';
import { context, file, write } from './extension';

describe('new config', () => {
  it('offers a pipeline once, without the files inside of it and without shards', async () => {
    await write('alone.safetensors', '');
    await write('model-00001-of-00002.safetensors', '');
    const found = await findCheckpoints();
    assert.ok(found.includes(file('glyph-dit').fsPath) && found.includes(file('alone.safetensors').fsPath), found.join());
    assert.deepEqual(found.filter((path) => path.includes('-of-') || path.includes('transformer')), []);
  });

  for (const [method, scheme] of [['orbitquant', 'W4A4'], ['rtn', 'W8A16'], ['svdquant', 'W4A4']] as const) {
    it(`drafts ${method} ${scheme} as an unsaved document with a valid plan`, async () => {
      const editor = await vscode.commands.executeCommand<vscode.TextEditor | undefined>('quantscope.newConfig', file('glyph-dit/model_index.json'), undefined, { method, scheme });
      const document = vscode.window.activeTextEditor?.document;
      assert.ok(editor !== undefined && document !== undefined);
      assert.ok(document.isUntitled && document.languageId === 'quantconfig');
      assert.match(document.uri.path, /glyph-dit[^/]*\.quant\.yaml$/);
      const { plan } = await (await context()).request('quantscope/plan', { uri: document.uri.toString() });
      assert.deepEqual(plan.problems.filter(({ severity }) => severity === 'error'), []);
      assert.ok(plan.layers.some(({ recipe }) => recipe.method === method));
    });
  }
});
