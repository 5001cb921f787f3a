import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { context, EXAMPLE, file, openConfig, WEIGHTS } from './extension';

describe('the engine process', () => {
  it('may be killed in the middle of a job: the job says so, the editor and the server live, the next job starts it again', async () => {
    await openConfig(file(EXAMPLE));
    const { request } = await context().then((found) => ({ request: found.request.bind(found) }));
    const path = file(WEIGHTS).fsPath;
    const tensor = (await request('quantscope/checkpoint', { path })).tensors[0]?.name ?? '';
    const { pid } = await request('quantscope/restartEngine', null);
    // A stopped process takes the job and cannot finish it, so that the kill is in the middle however fast the machine is.
    process.kill(pid, 'SIGSTOP');
    const job = request('quantscope/tensorStats', { path, tensor });
    const failure = assert.rejects(job, /engine process ended in the middle of this job/i);
    // Requests reach the server in order: once these two are answered, the engine has the job.
    await request('quantscope/checkpoint', { path });
    await request('quantscope/plan', { uri: file(EXAMPLE).toString() });
    process.kill(pid, 'SIGKILL');
    await failure;

    const again = await request('quantscope/tensorStats', { path, tensor });
    assert.ok(again.count > 0);
    const hints = await vscode.commands.executeCommand<vscode.InlayHint[]>('vscode.executeInlayHintProvider', file(EXAMPLE), new vscode.Range(0, 0, 100, 0));
    assert.ok(hints.length > 0);
  });
});
