import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { after, eventually, file, write } from './extension';

describe('files of other tools in the editor', () => {
  const recipe = 'QuantizationModifier:\n  targets: [Linear]\n  scheme: W4A16\n  ignore: ["re:.*norm1", "re:norm1"]\n';

  async function hints(document: vscode.TextDocument): Promise<string[]> {
    const found = await vscode.commands.executeCommand<vscode.InlayHint[] | undefined>('vscode.executeInlayHintProvider', document.uri, new vscode.Range(0, 0, document.lineCount, 0));
    return (found ?? []).map(({ label }) => String(label));
  }

  async function open(name: string, text: string): Promise<vscode.TextDocument> {
    const document = await vscode.workspace.openTextDocument(await write(name, text));
    await vscode.window.showTextDocument(document);
    return document;
  }

  it('have diagnostics, hints, completion and a lens', async () => {
    const document = await open('recipe.yaml', recipe);
    const problems = await eventually(vscode.languages.onDidChangeDiagnostics, () => {
      const found = vscode.languages.getDiagnostics(document.uri);
      return found.length > 0 ? found : undefined;
    });
    assert.deepEqual(problems.map(({ code }) => (typeof code === 'object' ? code.value : code)).filter((code) => code === 'dialect/matches-nothing').length, 1);
    const shown = await hints(document);
    assert.equal(shown.length, 3);
    assert.match(shown[0] ?? '', /^\d+ layers \(\d+ decided\) · 100\.00 %$/);
    assert.match(shown[2] ?? '', /^0 layers$/);
    const { items } = await vscode.commands.executeCommand<vscode.CompletionList>('vscode.executeCompletionItemProvider', document.uri, after(document, '["re:.*norm'));
    assert.ok(items.some(({ label, detail }) => (typeof label === 'string' ? label : label.label) === 're:.*norm1_context' || /layers? · [\d.]+ %/.test(detail ?? '')));
    const lenses = await vscode.commands.executeCommand<vscode.CodeLens[]>('vscode.executeCodeLensProvider', document.uri, 5);
    assert.ok(lenses.some(({ command }) => /^llm-compressor recipe quantizes \d+ of \d+ layers/.test(command?.title ?? '')), JSON.stringify(lenses));
  });

  it('follow the checkpoint that is chosen', async () => {
    const document = await open('recipe.yaml', recipe);
    const own = await hints(document);
    await vscode.commands.executeCommand('quantscope.chooseCheckpoint', document.uri.toString(), file('glyph-dit/no-such-folder').fsPath);
    try {
      assert.equal(vscode.workspace.getConfiguration('quantscope', document).get('checkpoint'), './glyph-dit/no-such-folder');
      await eventually(vscode.languages.onDidChangeDiagnostics, () => vscode.languages.getDiagnostics(document.uri).find(({ code }) => (typeof code === 'object' ? code.value : code) === 'dialect/checkpoint'));
      assert.deepEqual(await hints(document), []);
    } finally {
      await vscode.commands.executeCommand('quantscope.chooseCheckpoint', document.uri.toString(), '');
    }
    await eventually(vscode.languages.onDidChangeDiagnostics, () => (vscode.languages.getDiagnostics(document.uri).some(({ code }) => (typeof code === 'object' ? code.value : code) === 'dialect/checkpoint') ? undefined : true));
    assert.deepEqual(await hints(document), own);
  });

  it('leave other documents alone', async () => {
    const document = await open('settings-of-others.yaml', 'name: x\non: push\n');
    assert.deepEqual(await hints(document), []);
    const lenses = await vscode.commands.executeCommand<vscode.CodeLens[] | undefined>('vscode.executeCodeLensProvider', document.uri, 5);
    assert.deepEqual(lenses ?? [], []);
    assert.deepEqual(vscode.languages.getDiagnostics(document.uri), []);
  });
});
