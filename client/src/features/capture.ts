// `QuantScope: Capture Activations` and `Open Capture`: activation statistics into a file the user names, and a panel for each such file.
import * as vscode from 'vscode';
import type { Capture } from '../../../server/src/protocol';
import { baseName, openConfig, targetConfig } from '../configs';
import type { QuantScopeContext } from '../context';
import { withJobProgress } from '../jobs';
import { openView, viewOptions } from '../webviewHost';

export const VIEW = 'quantscope.capture';

/** `config` is the URI of the config whose thresholds count; '' for those of the capture. */
interface CapturePanel { panel: vscode.WebviewPanel; config: string; send: (type: 'changed' | 'edited') => void }

export function activate(context: QuantScopeContext): void {
  const panels = new Map<string, CapturePanel>();
  const extension = context.extension.extensionUri;
  const attach = (file: vscode.Uri, panel: vscode.WebviewPanel, config: string): void => {
    const key = file.toString();
    const opened: CapturePanel = { panel, config, send: (type) => view.send({ type }) };
    const view = openView(panel.webview, extension, 'capture', {
      load: async (_params, token) => {
        const uri = opened.config;
        return { uri: key, config: uri, capture: await context.request('quantscope/openCapture', { path: file.fsPath, ...(uri === '' ? {} : { uri }) }, token) };
      },
      cell: (cell, token) => context.request('quantscope/captureCell', { path: file.fsPath, ...cell }, token),
    });
    panels.set(key, opened);
    panel.onDidDispose(() => {
      panels.delete(key);
      view.dispose();
    });
  };
  const show = (file: vscode.Uri, config = ''): void => {
    const existing = panels.get(file.toString());
    if (existing !== undefined) {
      existing.config = config || existing.config;
      existing.send('changed');
      existing.panel.reveal(undefined, true);
      return;
    }
    const column = { viewColumn: vscode.ViewColumn.Beside, preserveFocus: true };
    attach(file, vscode.window.createWebviewPanel(VIEW, vscode.l10n.t('Activations: {0}', baseName(file)), column, viewOptions(extension)), config);
  };
  context.extension.subscriptions.push(context.onNotification('quantscope/planChanged', ({ uri }) => {
    [...panels.values()].filter(({ config }) => config === uri).forEach(({ send }) => send('edited'));
  }));

  context.command('quantscope.capture', async (argument: unknown, target: unknown) => {
    const config = targetConfig(argument);
    await openConfig(config);
    const file = target instanceof vscode.Uri ? target : await chooseTarget(config);
    if (file === undefined) {
      return undefined;
    }
    const captured = await capture(context, config, file);
    show(file, config.toString());
    return captured;
  });
  context.command('quantscope.openCapture', async (argument: unknown) => {
    const file = argument instanceof vscode.Uri ? argument : await chooseFile();
    if (file !== undefined) {
      // A file that is no capture is a message, not a panel.
      await context.request('quantscope/openCapture', { path: file.fsPath });
      show(file);
    }
  });
  context.extension.subscriptions.push(vscode.window.registerWebviewPanelSerializer(VIEW, {
    deserializeWebviewPanel: async (panel, state: unknown) => {
      const saved = typeof state === 'object' && state !== null ? state as { uri?: unknown; config?: unknown } : {};
      if (typeof saved.uri === 'string' && saved.uri !== '') {
        attach(vscode.Uri.parse(saved.uri), panel, typeof saved.config === 'string' ? saved.config : '');
      } else {
        panel.dispose();
      }
    },
  }));
}

async function capture(context: QuantScopeContext, config: vscode.Uri, file: vscode.Uri): Promise<Capture> {
  const source = new vscode.CancellationTokenSource();
  try {
    return await withJobProgress(context, {
      title: vscode.l10n.t('Capturing activations of {0}', baseName(config)), source,
      request: (workDoneToken) => context.request('quantscope/capture', { uri: config.toString(), path: file.fsPath, workDoneToken }, source.token),
    });
  } finally {
    source.dispose();
  }
}

/** Proposes a name beside the config that is still free; the dialog asks before it lets an existing file be replaced. */
async function chooseTarget(config: vscode.Uri): Promise<vscode.Uri | undefined> {
  const folder = vscode.Uri.joinPath(config, '..');
  const stem = baseName(config).replace(/(\.quant)?\.ya?ml$/, '');
  const taken = config.scheme === 'file' ? new Set((await vscode.workspace.fs.readDirectory(folder)).map(([name]) => name)) : new Set<string>();
  const name = (count: number): string => `${stem}.activations${count === 1 ? '' : `-${count}`}.safetensors`;
  let count = 1;
  while (taken.has(name(count))) {
    count++;
  }
  return vscode.window.showSaveDialog({
    title: vscode.l10n.t('Capture Activations'), saveLabel: vscode.l10n.t('Capture'), filters: { [vscode.l10n.t('Safetensors')]: ['safetensors'] },
    ...(config.scheme === 'file' ? { defaultUri: vscode.Uri.joinPath(folder, name(count)) } : {}),
  });
}

async function chooseFile(): Promise<vscode.Uri | undefined> {
  const files = await vscode.window.showOpenDialog({ title: vscode.l10n.t('Open Capture'), filters: { [vscode.l10n.t('Safetensors')]: ['safetensors'] } });
  return files?.[0];
}
