/** The built language server with its engine process, as an editor runs it, and the processor time that both have used. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createProtocolConnection } from 'vscode-languageserver/node';
import type { CancellationToken, ProtocolConnection } from 'vscode-languageserver/node';
import { URI } from 'vscode-uri';
import type { Requests, StatusParams } from '../server/src/protocol';

export const root = resolve(__dirname, '..');

export interface BenchServer {
  /** Opens a config and waits for its plan: a new server's first one compiles schema and patterns, and an editor has asked for it long before. @returns its URI */
  open(path: string, text: string): Promise<string>;
  request<M extends keyof Requests>(method: M, params: Requests[M]['params'], token?: CancellationToken): Promise<Requests[M]['result']>;
  /** Seconds that the server and every engine it has started have run on all processors; NaN where the system has no /proc. */
  processorSeconds(): number;
  end(): Promise<void>;
}

export async function startServer(cacheDirectory: string): Promise<BenchServer> {
  const server = spawn(process.execPath, [join(root, 'dist/cli.js'), 'lsp', '--stdio'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const connection: ProtocolConnection = createProtocolConnection(server.stdout, server.stdin);
  const processes = new Set<number>(server.pid === undefined ? [] : [server.pid]);
  connection.onNotification('quantscope/status', ({ info }: StatusParams) => {
    if (info) {
      processes.add(info.pid);
    }
  });
  connection.listen();
  await connection.sendRequest('initialize', { processId: process.pid, rootUri: null, capabilities: {}, initializationOptions: { cacheDirectory } });
  await connection.sendNotification('initialized', {});
  const request: BenchServer['request'] = (method, params, token) => (token ? connection.sendRequest(method, params, token) : connection.sendRequest(method, params));
  return {
    request,
    async open(path, text) {
      const uri = URI.file(path).toString();
      await connection.sendNotification('textDocument/didOpen', { textDocument: { uri, languageId: 'quantconfig', version: 1, text } });
      await request('quantscope/plan', { uri });
      return uri;
    },
    processorSeconds: () => [...processes].reduce((sum, pid) => sum + processorSeconds(pid), 0),
    async end() {
      await connection.sendRequest('shutdown');
      await connection.sendNotification('exit');
      server.kill();
    },
  };
}

/** Fields 14 and 15 of /proc/<pid>/stat, user and system, in ticks of 1/100 s; the name before them, in brackets, may hold spaces. */
function processorSeconds(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return NaN;
  }
}

export interface Cost { wall: number; processor: number }

/** Seconds. */
export async function costOf(server: BenchServer, work: () => Promise<unknown>): Promise<Cost> {
  const [started, used] = [performance.now(), server.processorSeconds()];
  await work();
  return { wall: (performance.now() - started) / 1000, processor: server.processorSeconds() - used };
}
