import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { context, eventually, file, WEIGHTS, write } from './extension';

describe('checkpoints', () => {
  it('open in the checkpoint editor by default', async () => {
    const uri = file(WEIGHTS);
    await vscode.commands.executeCommand('vscode.open', uri);
    await eventually(vscode.window.tabGroups.onDidChangeTabs, () => vscode.window.tabGroups.all.flatMap(({ tabs }) => tabs)
      .find(({ input }) => input instanceof vscode.TabInputCustom && input.viewType === 'quantscope.checkpoint' && input.uri.toString() === uri.toString()));
  });

  it('are indexed by their headers, and a tensor\'s values are read on demand', async () => {
    const { request } = await context().then((found) => ({ request: found.request.bind(found) }));
    const path = file(WEIGHTS).fsPath;
    const { architecture, tensors, problems } = await request('quantscope/checkpoint', { path });
    assert.equal(architecture, 'DiTTransformer2DModel');
    assert.deepEqual(problems, []);
    const stats = await request('quantscope/tensorStats', { path, tensor: tensors[0]?.name ?? '' });
    assert.equal(stats.count, stats.shape.reduce((product, size) => product * size, 1));
    assert.equal(stats.histogram?.counts.reduce((sum, count) => sum + count, 0), stats.count);
  });

  it('that are damaged say which file and why, and the server goes on', async () => {
    const { request } = await context().then((found) => ({ request: found.request.bind(found) }));
    const uri = await write('damaged.safetensors', Uint8Array.from([9, 0, 1, 255, 3, 200, 7, 128]));
    const answer = await request('quantscope/checkpoint', { path: uri.fsPath }).then(({ problems }) => problems.map(({ message }) => message).join(), (error: Error) => error.message);
    assert.match(answer, /damaged\.safetensors/);
    await vscode.commands.executeCommand('vscode.open', uri);
    assert.ok((await request('quantscope/checkpoint', { path: file(WEIGHTS).fsPath })).tensors.length > 100);
  });
});
