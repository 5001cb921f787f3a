import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import type { PreviewFrame, PreviewResult } from '../../server/src/protocol';
import { context, eventually, EXAMPLE, file, openConfig, write } from './extension';

const RTN = 'version: 1\ncheckpoint: ./glyph-dit\ndefaults: { method: rtn, scheme: W4A4 }\n';

async function config(name: string): Promise<vscode.Uri> {
  return write(name, `${RTN}preview: { classes: [3], steps: 4, compareSteps: 2 }\n`);
}

describe('preview', () => {
  it('compares the quantized model with full precision and opens the panel, pictures arriving on the way', async () => {
    const uri = file(EXAMPLE);
    const seen: PreviewFrame[] = [];
    const listener = (await context()).onNotification('quantscope/previewFrame', ({ frame }) => seen.push(frame));
    try {
      const result = await vscode.commands.executeCommand<PreviewResult | undefined>('quantscope.preview', uri);
      assert.ok(result !== undefined);
      const [candidate] = result.candidates;
      assert.ok(result.reference.finite && !result.reference.uniform);
      assert.ok(candidate !== undefined && candidate.scope.quantizedLayers > 30 && candidate.perStep.length > 0);
      assert.ok(candidate.metrics.ssim > 0.5 && candidate.metrics.ssim <= 1, String(candidate.metrics.ssim));
      assert.equal(seen.length, result.frames.length);
      assert.ok(seen.some((frame) => frame.candidate === -1) && seen.some((frame) => frame.candidate === 0));
    } finally {
      listener.dispose();
    }
    await eventually(vscode.window.tabGroups.onDidChangeTabs, () => vscode.window.tabGroups.all.flatMap(({ tabs }) => tabs)
      .find(({ input }) => input instanceof vscode.TabInputWebview && input.viewType.endsWith('quantscope.preview')));
  });

  it('takes the arguments of the code lenses', async () => {
    const uri = file(EXAMPLE);
    await openConfig(uri);
    const lenses = await vscode.commands.executeCommand<vscode.CodeLens[]>('vscode.executeCodeLensProvider', uri);
    const lens = lenses.find(({ command }) => command?.command === 'quantscope.previewRule');
    assert.ok(lens?.command !== undefined, 'no rule has a lens');
    const result = await vscode.commands.executeCommand<PreviewResult | undefined>(lens.command.command, ...(lens.command.arguments as unknown[]));
    const [candidate] = result?.candidates ?? [];
    assert.equal(candidate?.rule, lens.command.arguments?.[1]);
    assert.ok(candidate !== undefined && candidate.scope.quantizedLayers < 30, String(candidate?.scope.quantizedLayers));
  });

  it('compares two configs with one reference, and tells them apart', async () => {
    const [first, second] = [await config('first.quant.yaml'), await write('second.quant.yaml', RTN.replace('W4A4', 'W8A8'))];
    const result = await vscode.commands.executeCommand<PreviewResult | undefined>('quantscope.compareConfigs', first, second);
    assert.deepEqual(result?.candidates.map(({ label }) => label), ['first.quant.yaml', 'second.quant.yaml']);
    assert.equal(result.settings.steps, 4);
    const [four, eight] = result.candidates;
    assert.ok((four?.metrics.latentPsnrDb ?? Infinity) < (eight?.metrics.latentPsnrDb ?? Infinity), 'W8A8 is nearer to full precision than W4A4');
  });

  it('gives way to a newer run of the same config', async () => {
    const uri = await config('twice.quant.yaml');
    const [first, second] = await Promise.all([0, 1].map(() => vscode.commands.executeCommand<PreviewResult | undefined>('quantscope.preview', uri)));
    assert.equal(first, undefined);
    assert.ok(second !== undefined);
  });

  it('fails with the reason, and leaves the panel usable', async () => {
    const uri = await write('missing.quant.yaml', RTN.replace('./glyph-dit', './no-such-model'));
    assert.equal(await vscode.commands.executeCommand('quantscope.preview', uri), undefined);
    await write('missing.quant.yaml', `${RTN}preview: { classes: [3], steps: 4, compareSteps: 2 }\n`);
    const document = await vscode.workspace.openTextDocument(uri);
    const edit = new vscode.WorkspaceEdit();
    edit.replace(uri, new vscode.Range(0, 0, document.lineCount, 0), `${RTN}preview: { classes: [3], steps: 4, compareSteps: 2 }\n`);
    await vscode.workspace.applyEdit(edit);
    const result = await vscode.commands.executeCommand<PreviewResult | undefined>('quantscope.preview', uri);
    assert.equal(result?.items.length, 1);
  });

  it('is cancelled long before it would have ended', async () => {
    const classes = Array.from({ length: 64 }, (_, index) => index % 10).join(', ');
    const uri = await write('long-run.quant.yaml', `${RTN}preview: { classes: [${classes}], steps: 60, mode: free }\n`);
    await openConfig(uri);
    const owner = await context();
    const source = new vscode.CancellationTokenSource();
    const started = performance.now();
    let [cancelled, remaining] = [0, 0];
    const listener = owner.onProgress('long-run', (value) => {
      const percentage = value.kind === 'report' ? (value.percentage ?? 0) : 0;
      if (percentage >= 1 && cancelled === 0) {
        cancelled = performance.now();
        remaining = ((cancelled - started) * (100 - percentage)) / percentage;
        source.cancel();
      }
    });
    try {
      await assert.rejects(owner.request('quantscope/preview', { candidates: [{ uri: uri.toString() }], session: 0, workDoneToken: 'long-run' }, source.token), vscode.CancellationError);
    } finally {
      listener.dispose();
    }
    const settled = performance.now() - cancelled;
    assert.ok(settled * 10 < remaining, `${settled} ms after the cancel of a job with ${remaining} ms to go`);
  });
});
