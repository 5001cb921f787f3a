import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import { context, eventually, EXAMPLE, extension, file, openConfig } from './extension';

describe('activation', () => {
  it('gives *.quant.yaml the language quantconfig', async () => {
    const document = await vscode.workspace.openTextDocument(file(EXAMPLE));
    assert.equal(document.languageId, 'quantconfig');
  });

  it('registers every command of the manifest', async () => {
    await context();
    const manifest = extension().packageJSON as { contributes: { commands: { command: string }[] } };
    const registered = new Set(await vscode.commands.getCommands(true));
    const missing = manifest.contributes.commands.map(({ command }) => command).filter((command) => !registered.has(command));
    assert.deepEqual(missing, []);
  });

  it('becomes healthy', async () => {
    const { status, onNotification } = await context().then((found) => ({ status: () => found.status, onNotification: found.onNotification.bind(found) }));
    const health = await eventually<string>((listener) => onNotification('quantscope/status', listener), () => (status().health === 'ok' ? status().health : undefined));
    assert.equal(health, 'ok');
  });

  it('answers again after a restart of the server', async () => {
    await openConfig(file(EXAMPLE));
    await vscode.commands.executeCommand('quantscope.restart');
    const { plan } = await (await context()).request('quantscope/plan', { uri: file(EXAMPLE).toString() });
    assert.ok(plan.layers.length > 30);
  });

  it('starts the server anew with the device that the settings name', async () => {
    const found = await context();
    const engineWith = async (device: string | undefined): Promise<string> => {
      const changed = new Promise<void>((done) => {
        const listener = vscode.workspace.onDidChangeConfiguration(() => {
          listener.dispose();
          done();
        });
      });
      await vscode.workspace.getConfiguration('quantscope').update('device', device, vscode.ConfigurationTarget.Workspace);
      await changed;
      return (await found.request('quantscope/restartEngine', null)).cuda.reason;
    };
    const asked = 'the processor was asked for';
    assert.equal(await engineWith('cpu'), asked);
    assert.notEqual(await engineWith(undefined), asked);
  });
});
