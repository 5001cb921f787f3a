import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import type { LayerExplanation } from '../../server/src/protocol';
import { after, EXAMPLE, file, openConfig, write } from './extension';

describe('Explain This Layer', () => {
  it('tells what the configs of the workspace do to the layer of another view', async () => {
    const explained = await vscode.commands.executeCommand<LayerExplanation | undefined>('quantscope.explainLayer', { layer: 'proj_out_2', checkpoint: file('glyph-dit').fsPath });
    const example = explained?.files.find(({ label }) => label === EXAMPLE);
    assert.ok(example !== undefined, JSON.stringify(explained));
    assert.equal(example.entries.filter(({ decides }) => decides).length, 1);
  });

  it('takes the layer that is written at the cursor', async () => {
    const document = await openConfig(await write('explained.quant.yaml', 'version: 1\ncheckpoint: ./glyph-dit\ndefaults: { method: rtn, scheme: W4A16 }\nrules:\n  - layers: [proj_out_1]\n    keep: bf16\n'));
    const editor = await vscode.window.showTextDocument(document);
    editor.selection = new vscode.Selection(after(document, 'proj_'), after(document, 'proj_'));
    const explained = await vscode.commands.executeCommand<LayerExplanation | undefined>('quantscope.explainLayer');
    assert.equal(explained?.layer, 'proj_out_1');
    assert.equal(explained.files.find(({ label }) => label === 'explained.quant.yaml')?.verdict, 'kept');
  });
});
