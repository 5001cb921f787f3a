/** The built server over its standard input and output: what only a process can show. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import type { DocumentDiagnosticReport } from 'vscode-languageserver/node';
import { TestClient, cli, example } from './client';

const initialize = { jsonrpc: '2.0', id: 1, method: 'initialize', params: { processId: null, rootUri: null, capabilities: {} } };

function framed(message: object | string): string {
  const body = typeof message === 'string' ? message : JSON.stringify(message);
  return `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

describe('language server as a process', function () {
  this.timeout(30_000);

  before(() => {
    assert.ok(existsSync(cli), 'dist/cli.js is missing: run node scripts/build.mjs');
  });

  it('serves a document and ends with 0', async () => {
    const { client } = TestClient.spawn();
    await client.initialize();
    const uri = await client.open(readFileSync(example, 'utf8'), example);
    const report = await client.ask<DocumentDiagnosticReport>('textDocument/diagnostic', { textDocument: { uri } });
    assert.deepEqual(report, { kind: 'full', items: [] });
    await client.end();
  });

  it('ends with 1 on exit without shutdown', async () => {
    const { client } = TestClient.spawn();
    await client.initialize();
    await client.tell('exit', {});
    assert.equal(await client.exitCode(), 1);
  });

  it('ends with 1 when its input ends', async () => {
    const { client, child } = TestClient.spawn();
    await client.initialize();
    child.stdin.end();
    assert.equal(await client.exitCode(), 1);
  });

  it('ends when the editor it was told of is gone, though its input stays open', async () => {
    const gone = spawn(process.execPath, ['-e', '']);
    await once(gone, 'exit');
    const { client } = TestClient.spawn();
    await client.initialize({}, { processId: gone.pid });
    assert.equal(await client.exitCode(), 1);
  });

  it('ends when it is told to by a signal, and its engine with it', async () => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      const child = spawn(process.execPath, [cli, 'lsp', '--stdio'], { stdio: ['pipe', 'pipe', 'pipe'] });
      child.stdin.write(framed(initialize));
      await once(child.stdout, 'data');
      // The engine has the same standard error, which closes when both are gone.
      child.stdin.write(framed({ jsonrpc: '2.0', id: 9, method: 'quantscope/restartEngine', params: null }));
      await once(child.stdout, 'data');
      const silent = once(child.stderr.resume(), 'close');
      child.kill(signal);
      assert.deepEqual(await once(child, 'exit'), [1, null]);
      await silent;
    }
  });

  it('does not outlive a killed editor', async () => {
    // The editor is a process between; standard error of both is one pipe, which closes when both are gone.
    const editor = spawn(process.execPath, ['-e', `
      const server = require('node:child_process').spawn(process.execPath, [${JSON.stringify(cli)}, 'lsp', '--stdio'], { stdio: ['pipe', 'pipe', 'inherit'] });
      server.stdout.once('data', () => process.stdout.write('ready'));
      server.stdin.write(${JSON.stringify(framed(initialize))});
    `], { stdio: ['ignore', 'pipe', 'pipe'] });
    let words = '';
    editor.stderr.on('data', (text: Buffer) => { words += text.toString(); });
    const silent = once(editor.stderr, 'close');
    assert.equal(String((await once(editor.stdout, 'data'))[0]), 'ready');
    editor.kill('SIGKILL');
    await silent;
    assert.equal(words, '');
  });

  it('answers malformed JSON with silence or an error, and the next request as ever', async () => {
    for (const broken of ['{', 'null', '[]', '"text"', '{"jsonrpc":"2.0"}', '{"jsonrpc":"2.0","id":{},"method":5}', '\u0000\u0001', '{"jsonrpc":"2.0","id":9,"method":"textDocument/hover"}']) {
      const { client, child } = TestClient.spawn();
      await client.initialize();
      child.stdin.write(framed(broken));
      assert.equal(await client.ask('textDocument/hover', { textDocument: { uri: 'file:///x' }, position: { line: 0, character: 0 } }), null, broken);
      client.drop('window/logMessage');
      await client.end();
    }
  });

  it('says that it does not know a method', async () => {
    const { client } = TestClient.spawn();
    await client.initialize();
    await assert.rejects(client.ask('quantscope/nothing', {}), /Unhandled method quantscope\/nothing/);
    await client.end();
  });

  it('refuses requests before initialize', async () => {
    const { client } = TestClient.spawn();
    await assert.rejects(client.request('quantscope/restartEngine', null));
    await client.initialize();
    client.drop('window/logMessage');
    await client.end();
  });
});
