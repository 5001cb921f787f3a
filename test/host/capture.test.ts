import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import type { Capture } from '../../server/src/protocol';
import { context, eventually, file, WEIGHTS, write } from './extension';

const CONFIG = 'version: 1\ncheckpoint: ./glyph-dit\ndefaults: { method: rtn, scheme: W4A4 }\npreview: { classes: [3], steps: 4, compareSteps: 2 }\n';

function panels(): vscode.Tab[] {
  return vscode.window.tabGroups.all.flatMap(({ tabs }) => tabs).filter(({ input }) => input instanceof vscode.TabInputWebview && input.viewType.endsWith('quantscope.capture'));
}

describe('capture', () => {
  it('writes the activations where it is told and shows them in one panel', async () => {
    const config = await write('captured.quant.yaml', CONFIG);
    const target = file('captured.activations.safetensors');
    for (const round of [1, 2]) {
      const captured = await vscode.commands.executeCommand<Capture | undefined>('quantscope.capture', config, target);
      assert.deepEqual([captured?.items, captured?.steps], [['class 3: digit 3'], 4]);
      assert.equal(captured?.layers.length, 56 * 2 * 2, `round ${round}`);
    }
    assert.ok((await vscode.workspace.fs.stat(target)).size > 1000);
    await eventually(vscode.window.tabGroups.onDidChangeTabs, () => panels()[0]);
    assert.deepEqual(panels().map(({ label }) => label), ['Activations: captured.activations.safetensors']);
  });

  it('opens such a file again, and nothing else', async () => {
    await vscode.window.tabGroups.close(panels());
    await vscode.commands.executeCommand('quantscope.openCapture', file(WEIGHTS));
    assert.deepEqual(panels(), []);
    await vscode.commands.executeCommand('quantscope.openCapture', file('captured.activations.safetensors'));
    await eventually(vscode.window.tabGroups.onDidChangeTabs, () => panels()[0]);
  });

  it('is cancelled by its request, and leaves no file', async () => {
    const config = await write('cancelled.quant.yaml', CONFIG);
    await vscode.workspace.openTextDocument(config);
    const source = new vscode.CancellationTokenSource();
    const target = file('cancelled.activations.safetensors');
    const owner = await context();
    const listener = owner.onProgress('cancelled', () => source.cancel());
    try {
      await assert.rejects(owner.request('quantscope/capture', { uri: config.toString(), path: target.fsPath, workDoneToken: 'cancelled' }, source.token), vscode.CancellationError);
    } finally {
      listener.dispose();
    }
    await assert.rejects(async () => vscode.workspace.fs.stat(target));
  });
});
