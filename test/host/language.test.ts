import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { after, eventually, EXAMPLE, file, openConfig, write } from './extension';

describe('language features in the editor', () => {
  it('reports a pattern that matches nothing', async () => {
    const uri = await write('nothing.quant.yaml', 'version: 1\ncheckpoint: ./glyph-dit\ndefaults: { method: rtn, scheme: W4A16 }\nrules:\n  - layers: [no_such_layer]\n    keep: bf16\n');
    await openConfig(uri);
    const [problem] = await eventually(vscode.languages.onDidChangeDiagnostics, () => {
      const found = vscode.languages.getDiagnostics(uri);
      return found.length > 0 ? found : undefined;
    });
    assert.match(problem?.message ?? '', /no_such_layer/);
    assert.equal(problem?.range.start.line, 4);
  });

  it('shows what each rule takes as inlay hints, unless the setting says no', async () => {
    const document = await openConfig(file(EXAMPLE));
    const all = new vscode.Range(0, 0, document.lineCount, 0);
    const ask = async (): Promise<string[]> => {
      const hints = await vscode.commands.executeCommand<vscode.InlayHint[]>('vscode.executeInlayHintProvider', document.uri, all);
      return hints.map(({ label }) => (typeof label === 'string' ? label : label.map(({ value }) => value).join('')));
    };
    const hints = await ask();
    assert.ok(hints.some((hint) => /\d+ layers? · [\d.]+ % · [\d.]+ bits/.test(hint)), hints.join('\n'));
    const settings = vscode.workspace.getConfiguration('quantscope', document);
    await settings.update('inlayHints', false, vscode.ConfigurationTarget.Workspace);
    try {
      assert.deepEqual(await ask(), []);
    } finally {
      await settings.update('inlayHints', undefined, vscode.ConfigurationTarget.Workspace);
    }
  });

  it('explains a key on hover', async () => {
    const document = await openConfig(file(EXAMPLE));
    const hovers = await vscode.commands.executeCommand<vscode.Hover[]>('vscode.executeHoverProvider', document.uri, after(document, 'defaul'));
    const text = hovers.flatMap(({ contents }) => contents).map((content) => (typeof content === 'string' ? content : content.value)).join('\n');
    assert.ok(text.length > 20, text);
  });

  it('completes layer names from the checkpoint', async () => {
    const text = 'version: 1\ncheckpoint: ./glyph-dit\ndefaults: { method: rtn, scheme: W4A16 }\nrules:\n  - layers: [transformer_blocks.0.]\n    keep: bf16\n';
    const document = await openConfig(await write('completion.quant.yaml', text));
    const list = await vscode.commands.executeCommand<vscode.CompletionList>('vscode.executeCompletionItemProvider', document.uri, after(document, 'transformer_blocks.0.'));
    const labels = list.items.map(({ label }) => (typeof label === 'string' ? label : label.label));
    assert.ok(labels.some((label) => label.includes('attn1')), labels.join(', '));
  });

  it('goes from a pattern to the layer in the checkpoint\'s listing', async () => {
    const document = await openConfig(file(EXAMPLE));
    const targets = await vscode.commands.executeCommand<(vscode.Location | vscode.LocationLink)[]>('vscode.executeDefinitionProvider', document.uri, after(document, 'norm1'));
    const [target] = targets;
    assert.ok(target !== undefined, 'no definition');
    const uri = 'targetUri' in target ? target.targetUri : target.uri;
    const range = 'targetUri' in target ? target.targetRange : target.range;
    assert.equal(uri.scheme, 'quantscope-checkpoint');
    const listing = await vscode.workspace.openTextDocument(uri);
    assert.match(listing.lineAt(range.start.line).text, /norm1/);
  });

  it('lists the problems of a config that is not open, and takes them back', async () => {
    const uri = await write('unopened.quant.yaml', 'version: 1\ncheckpoint: ./glyph-dit\ndefaults: { keep: original }\nnonsense: 1\n');
    const codes = (): unknown[] => vscode.languages.getDiagnostics(uri).map(({ code }) => (typeof code === 'object' ? code.value : code));
    await eventually(vscode.languages.onDidChangeDiagnostics, () => (codes().includes('config/unknown-key') ? true : undefined));
    assert.ok(!vscode.workspace.textDocuments.some((document) => document.uri.toString() === uri.toString()));
    await vscode.workspace.fs.delete(uri);
    await eventually(vscode.languages.onDidChangeDiagnostics, () => (codes().length === 0 ? true : undefined));
  });

  it('formats, with two spaces and the line ends that configs have', async () => {
    const document = await openConfig(await write('untidy.quant.yaml', 'version:   1  \ncheckpoint: ./glyph-dit\nrules:\n- {layers: x,keep: bf16}'));
    const edits = await vscode.commands.executeCommand<vscode.TextEdit[]>('vscode.executeFormatDocumentProvider', document.uri, { tabSize: 2, insertSpaces: true });
    const edit = new vscode.WorkspaceEdit();
    edit.set(document.uri, edits);
    await vscode.workspace.applyEdit(edit);
    assert.equal(document.getText(), 'version: 1\ncheckpoint: ./glyph-dit\nrules:\n  - { layers: x, keep: bf16 }\n');
  });

  it('compares the resolved plans of two configs, which change with them', async () => {
    const other = await write('other.quant.yaml', 'version: 1\ncheckpoint: ./glyph-dit\ndefaults: { method: rtn, scheme: W8A8 }\n');
    await vscode.commands.executeCommand('quantscope.comparePlans', file(EXAMPLE), other);
    const plans = (): vscode.TextDocument[] => vscode.workspace.textDocuments.filter(({ uri }) => uri.scheme === 'quantscope-plan');
    assert.deepEqual(plans().map(({ uri }) => uri.path).sort(), ['/glyph-dit.plan', '/other.plan']);
    const shown = plans().find(({ uri }) => uri.path === '/other.plan');
    assert.match(shown?.getText() ?? '', /\n {2}W8A8 .* proj_out_1 .* ← defaults\n/);
    const changed = eventually(vscode.workspace.onDidChangeTextDocument, () => (/ W4A8 /.test(shown?.getText() ?? '') ? true : undefined));
    // Not shown: it would take the place of the comparison.
    const document = await vscode.workspace.openTextDocument(other);
    const edit = new vscode.WorkspaceEdit();
    edit.replace(other, new vscode.Range(0, 0, document.lineCount, 0), document.getText().replace('W8A8', 'W4A8'));
    await vscode.workspace.applyEdit(edit);
    await changed;
    await document.save();
  });
});
