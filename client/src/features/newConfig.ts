// `QuantScope: New Quantization Config`: checkpoint, method, scheme, then an untitled document. Nothing is written until the user saves.
import * as path from 'node:path';
import * as vscode from 'vscode';
import { LANGUAGE } from '../configs';
import type { OfferedMethod } from '../../../server/src/protocol';
import type { QuantScopeContext } from '../context';
import { openUntitled } from '../untitled';

/** What a script or a test answers in place of the quick picks. */
interface Answers { method?: string; scheme?: string }

export function activate(context: QuantScopeContext): void {
  context.command('quantscope.newConfig', async (resource?: unknown, _selection?: unknown, answers: Answers = {}) => {
    const checkpoint = resource instanceof vscode.Uri ? checkpointOf(resource.fsPath) : await pickCheckpoint();
    const choice = checkpoint === undefined ? undefined : await pickMethodAndScheme(await context.request('quantscope/methods', null), answers);
    if (checkpoint === undefined || choice === undefined) {
      return undefined;
    }
    const folder = homeOf(checkpoint);
    const config = await context.request('quantscope/newConfig', { checkpoint, ...choice, folder });
    return openUntitled(folder, config.fileName, config.text, LANGUAGE);
  });
}

/** A pipeline's model_index.json stands for its folder. */
function checkpointOf(file: string): string {
  return path.basename(file) === 'model_index.json' ? path.dirname(file) : file;
}

const SHARD = /-\d{5}-of-\d{5}\.safetensors$/;

/** Pipelines, index files and single files of the workspace. Shards, and parts of a pipeline that is listed itself, are left out. */
export async function findCheckpoints(): Promise<string[]> {
  const found = await vscode.workspace.findFiles('**/{model_index.json,*.safetensors.index.json,*.safetensors}', '**/{node_modules,.git}/**', 5000);
  const files = found.map((uri) => uri.fsPath);
  const pipelines = files.map(checkpointOf).filter((file, index) => file !== files[index]);
  const alone = files.filter((file) => path.basename(file) !== 'model_index.json' && !SHARD.test(file)
    && !pipelines.some((folder) => file.startsWith(folder + path.sep)));
  return [...pipelines, ...alone].sort();
}

export async function pickCheckpoint(title = vscode.l10n.t('Checkpoint to Quantize')): Promise<string | undefined> {
  const checkpoints = await findCheckpoints();
  if (checkpoints.length === 0) {
    throw new Error(vscode.l10n.t('No checkpoint in this workspace: open a folder with a model_index.json, a .safetensors.index.json or a .safetensors file.'));
  }
  const items = checkpoints.map((file) => ({ label: path.basename(file), description: vscode.workspace.asRelativePath(path.dirname(file)), file }));
  const picked = await vscode.window.showQuickPick(items, { title, matchOnDescription: true });
  return picked?.file;
}

async function pickMethodAndScheme(methods: readonly OfferedMethod[], answers: Answers): Promise<{ method: string; scheme: string } | undefined> {
  const items = methods.map(({ name, title, summary, schemes }) => ({ label: title, description: name, detail: summary, method: name, schemes }));
  const method = items.find((item) => item.method === answers.method)
    ?? await vscode.window.showQuickPick(items, { title: vscode.l10n.t('Method (1/2)'), matchOnDescription: true, matchOnDetail: true });
  if (method === undefined) {
    return undefined;
  }
  const schemes = method.schemes.map((label) => ({ label, description: describeScheme(label) }));
  const scheme = answers.scheme ?? (await vscode.window.showQuickPick(schemes, { title: vscode.l10n.t('Scheme (2/2)') }))?.label;
  return scheme === undefined ? undefined : { method: method.method, scheme };
}

function describeScheme(scheme: string): string {
  const [, weights, activations] = /^W(\d+)A(\d+)$/.exec(scheme) ?? [];
  return activations === '16'
    ? vscode.l10n.t('{0}-bit weights, activations as they are', weights ?? '')
    : vscode.l10n.t('{0}-bit weights, {1}-bit activations', weights ?? '', activations ?? '');
}

/** The workspace folder of a checkpoint, else the folder it lies in. */
function homeOf(checkpoint: string): string {
  return vscode.workspace.getWorkspaceFolder(vscode.Uri.file(checkpoint))?.uri.fsPath ?? path.dirname(checkpoint);
}
