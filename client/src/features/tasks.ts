// Tasks of type `quantscope`: the command line tool of this extension on the configs of the workspace, run by the editor's own Node.
import * as path from 'node:path';
import * as vscode from 'vscode';
import type { QuantScopeContext } from '../context';

const TYPE = 'quantscope';
const COMMANDS = ['lint', 'plan', 'analyze', 'preview', 'quantize'] as const;
type Command = typeof COMMANDS[number];

/** As tasks.json has it. */
interface Definition extends vscode.TaskDefinition { command: Command; config: string; args?: string[] }

/** Above it the list of tasks is of no use. */
const MAX_CONFIGS = 50;

export function activate(context: QuantScopeContext): void {
  context.extension.subscriptions.push(vscode.tasks.registerTaskProvider(TYPE, {
    async provideTasks() {
      const configs = await vscode.workspace.findFiles('**/*.quant.{yaml,yml}', '**/{node_modules,.git}/**', MAX_CONFIGS);
      return configs.sort((a, b) => (a.path < b.path ? -1 : 1)).flatMap((uri) => {
        const folder = vscode.workspace.getWorkspaceFolder(uri);
        return folder === undefined ? [] : COMMANDS.map((command) => taskFor(context, { type: TYPE, command, config: path.relative(folder.uri.fsPath, uri.fsPath).split(path.sep).join('/') }, folder));
      });
    },
    resolveTask(task) {
      const { command, config } = task.definition as Partial<Definition>;
      const folder = typeof task.scope === 'object' ? task.scope : vscode.workspace.workspaceFolders?.[0];
      return folder !== undefined && typeof config === 'string' && COMMANDS.some((each) => each === command) ? taskFor(context, task.definition as Definition, folder) : undefined;
    },
  }));
}

function taskFor(context: QuantScopeContext, definition: Definition, folder: vscode.WorkspaceFolder): vscode.Task {
  const { command, config, args = usualArguments(definition) } = definition;
  // The editor's process is Electron or Node; told so, it runs a script as Node either way.
  const execution = new vscode.ProcessExecution(process.execPath, [context.extension.asAbsolutePath('bin/quantscope.js'), command, config, ...args], { cwd: folder.uri.fsPath, env: { ELECTRON_RUN_AS_NODE: '1' } });
  const task = new vscode.Task(definition, folder, `${command} ${config}`, 'QuantScope', execution, '$quantscope');
  task.group = command === 'lint' || command === 'plan' ? vscode.TaskGroup.Test : vscode.TaskGroup.Build;
  task.presentationOptions = { clear: true, reveal: vscode.TaskRevealKind.Always };
  return task;
}

/** Where results go: beside the config, under its name. */
function usualArguments({ command, config }: Definition): string[] {
  const stem = config.replace(/\.quant\.ya?ml$/, '');
  return command === 'preview' ? ['--out', `${stem}.preview`] : command === 'quantize' ? ['--out', `${stem}.packed`] : [];
}
