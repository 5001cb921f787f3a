/** The language server as VS Code starts it: over IPC, or --stdio. */
import { createConnection, ProposedFeatures } from 'vscode-languageserver/node';
import { nodeRuntime } from './runtime';
import { startServer } from './server';

startServer(createConnection(ProposedFeatures.all), nodeRuntime());
