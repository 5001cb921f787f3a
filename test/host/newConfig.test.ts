import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { context, file } from './extension';

describe('new config', () => {
  for (const [method, scheme] of [['orbitquant', 'W4A4'], ['rtn', 'W8A16']] as const) {
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
