import { createConnection, ProposedFeatures } from 'vscode-languageserver/node';
import { nodeRuntime } from '../runtime';
import { startServer } from '../server';
import { UsageError } from './command';
import type { Command } from './command';

export const lsp: Command = {
  name: 'lsp',
  usage: '--stdio',
  summary: 'The language server on standard input and output, for any editor.',
  options: { stdio: { type: 'boolean' } },
  async run(context) {
    if (context.values['stdio'] !== true) {
      throw new UsageError('The language server speaks over standard input and output: quantscope lsp --stdio');
    }
    startServer(createConnection(ProposedFeatures.all, process.stdin, process.stdout), nodeRuntime());
    // The connection ends this process: exit code 0 after a clean shutdown, 1 without. Editors that do not wait for that send a signal; the engine ends with its server.
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => process.exit(1));
    }
    return new Promise<number>(() => undefined);
  },
};
