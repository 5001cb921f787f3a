import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import type { AllocateResult, FirstBadResult, SensitivityResult } from '../../server/src/protocol';
import { context, eventually, write } from './extension';

const CONFIG = `version: 1
checkpoint: ./glyph-dit
defaults: { method: orbitquant, scheme: W4A4 }
rules:
  # Only the feed-forward layers are free.
  - { layers: ["**.attn1.**", "**.norm1.linear", "**.timestep_embedder.*", "proj_out_*"], keep: original }
budget: { size: 3.4MB }
preview: { classes: [3], steps: 4, guidance: 2, compareSteps: 1 }
`;

describe('diagnosis', () => {
  it('ranks, and keeps what it found for the panel', async () => {
    const config = await write('ranked.quant.yaml', CONFIG);
    const { diagnoses } = await context();
    const estimates = new Set<string>();
    const listener = diagnoses.onChange(({ event }) => {
      if (event.type === 'scores') {
        event.scores.filter(({ estimate }) => estimate).forEach(({ name }) => estimates.add(name));
      }
    });
    const result = await vscode.commands.executeCommand<SensitivityResult | undefined>('quantscope.rankLayers', config, 'block');
    listener.dispose();
    assert.deepEqual([result?.sensitivity.by, result?.sensitivity.layers.length, result?.sensitivity.controls.zeroSwap.differing], ['block', 6, 0]);
    assert.equal(estimates.size, 6);
    const { ranking } = diagnoses.of(config.toString());
    assert.deepEqual([ranking?.phase, ranking?.measured, ranking?.total, ranking?.scores.every(({ estimate }) => !estimate)], ['finished', 6, 6, true]);
  });

  it('finds nothing bad in a clean model', async () => {
    const config = await write('clean.quant.yaml', CONFIG);
    const result = await vscode.commands.executeCommand<FirstBadResult | undefined>('quantscope.findFirstBad', config);
    assert.deepEqual(result?.firstBad.findings, []);
  });

  it('lets a ranking give way to the next, and says when one was cancelled', async () => {
    const config = await write('twice.quant.yaml', CONFIG);
    const { diagnoses } = await context();
    const first = vscode.commands.executeCommand('quantscope.rankLayers', config, 'layer');
    const phase = (): string | undefined => diagnoses.of(config.toString()).ranking?.phase;
    await eventually(diagnoses.onChange, () => (phase() === 'running' ? true : undefined));
    const second = vscode.commands.executeCommand<SensitivityResult | undefined>('quantscope.rankLayers', config, 'role');
    assert.equal(await first, undefined);
    assert.equal((await second)?.sensitivity.by, 'role');
    assert.deepEqual([phase(), diagnoses.of(config.toString()).ranking?.by], ['finished', 'role']);
  });

  it('allocates, puts the plan into the config in one step of undo, and saves nothing', async () => {
    const config = await write('allocated.quant.yaml', CONFIG);
    const document = await vscode.workspace.openTextDocument(config);
    await vscode.window.showTextDocument(document);
    const options = { loss: 'weights', verify: false };
    const result = await vscode.commands.executeCommand<AllocateResult | undefined>('quantscope.allocate', config, options);
    assert.ok(result !== undefined && result.edits.length > 0 && result.allocation.bytes <= 3_400_000);
    assert.equal(document.getText(), CONFIG);
    await vscode.commands.executeCommand('quantscope.applyAllocation', config);
    assert.match(document.getText(), /- name: allocated/);
    assert.ok(document.isDirty);
    const { plan } = await (await context()).request('quantscope/plan', { uri: config.toString() });
    assert.deepEqual([plan.hash, plan.totals.checkpointBytes], [result.newPlanHash, result.allocation.bytes]);
    await vscode.window.showTextDocument(document);
    await vscode.commands.executeCommand('undo');
    assert.equal(document.getText(), CONFIG);
  });

  it('refuses to apply a plan to a text that has changed since', async () => {
    const config = await write('changed.quant.yaml', CONFIG);
    const document = await vscode.workspace.openTextDocument(config);
    await vscode.commands.executeCommand('quantscope.allocate', config, { loss: 'weights', verify: false });
    const edit = new vscode.WorkspaceEdit();
    edit.insert(config, new vscode.Position(0, 0), '# A line more.\n');
    await vscode.workspace.applyEdit(edit);
    await vscode.commands.executeCommand('quantscope.applyAllocation', config);
    assert.equal(document.getText(), `# A line more.\n${CONFIG}`);
  });
});
