import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import type { AnalyzeResult, LayerReport, WriteReportResult } from '../../server/src/protocol';
import { context, eventually, EXAMPLE, file, openConfig, write } from './extension';

function tabOf(viewType: string): vscode.Tab | undefined {
  return vscode.window.tabGroups.all.flatMap(({ tabs }) => tabs).find(({ input }) => input instanceof vscode.TabInputWebview && input.viewType.endsWith(viewType));
}

describe('analysis', () => {
  it('measures every layer, sends reports while it runs, and opens the panel', async () => {
    const uri = file(EXAMPLE);
    await openConfig(uri);
    const seen = new Map<string, LayerReport>();
    const listener = (await context()).onNotification('quantscope/reports', ({ layers }) => layers.forEach((layer) => seen.set(layer.name, layer)));
    try {
      const result = await vscode.commands.executeCommand<AnalyzeResult | undefined>('quantscope.analyze', uri);
      assert.ok(result !== undefined);
      assert.deepEqual(result.failures, []);
      assert.equal(result.layers.length, result.plan.layers.length);
      assert.equal(seen.size, result.layers.length);
      const quantized = result.layers.filter(({ weight }) => weight.expectedRelativeMse !== null);
      assert.ok(quantized.length > 20 && quantized.every(({ weight }) => weight.relativeMse > 0 && weight.relativeMse < 1));
    } finally {
      listener.dispose();
    }
    await eventually(vscode.window.tabGroups.onDidChangeTabs, () => tabOf('quantscope.sensitivity'));
  });

  it('knows the reports afterwards without measuring again', async () => {
    const uri = file(EXAMPLE).toString();
    const { plan, reports } = await (await context()).request('quantscope/plan', { uri });
    assert.equal(reports.length, plan.layers.length);
    const again = await (await context()).request('quantscope/analyze', { uri });
    assert.equal(again.cached, plan.layers.length);
  });

  it('rejects a cancelled analysis as a cancellation', async () => {
    const source = new vscode.CancellationTokenSource();
    const request = (await context()).request('quantscope/analyze', { uri: file(EXAMPLE).toString() }, source.token);
    source.cancel();
    await assert.rejects(request, vscode.CancellationError);
  });

  it('writes the evidence report and shows it', async () => {
    const config = await write('evidence.quant.yaml', 'version: 1\ncheckpoint: ./glyph-dit\ndefaults: { method: rtn, scheme: W4A4 }\npreview: { classes: [3], steps: 3, guidance: 2, compareSteps: 1 }\n');
    const written = await vscode.commands.executeCommand<WriteReportResult | undefined>('quantscope.openReport', config);
    assert.ok(written !== undefined);
    const html = new TextDecoder().decode(await vscode.workspace.fs.readFile(vscode.Uri.file(written.html)));
    assert.match(html, /glyph-dit/);
    assert.equal(html.match(/<img src="data:image\/png/g)?.length, 3);
    await eventually(vscode.window.tabGroups.onDidChangeTabs, () => tabOf('quantscope.report'));
  });
});
