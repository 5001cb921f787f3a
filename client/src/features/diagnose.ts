// `QuantScope: Rank Layers by Effect`, `Find First Bad Layer` and `Allocate Bits under the Budget`, whose plan goes into the config when the user says so.
import { createHash } from 'node:crypto';
import * as vscode from 'vscode';
import type { AllocateParams, AllocateResult, BudgetText, FirstBadResult, Range, SensitivityResult, SensitivityUnit } from '../../../server/src/protocol';
import type { SensitivityTab } from '../../../webview/src/messages';
import { baseName, openConfig, revealInConfig, targetConfig } from '../configs';
import type { QuantScopeContext } from '../context';

export interface AllocateOptions { loss?: AllocateParams['loss']; budget?: BudgetText | null; verify?: boolean }

export function activate(context: QuantScopeContext): void {
  const { diagnoses } = context;
  const subject = async (argument: unknown, tab: SensitivityTab): Promise<vscode.Uri> => {
    const config = targetConfig(argument);
    await openConfig(config);
    await vscode.commands.executeCommand('quantscope.showSensitivity', config, tab);
    return config;
  };

  context.command('quantscope.rankLayers', async (argument: unknown, unit: unknown): Promise<SensitivityResult> => {
    const config = await subject(argument, 'effect');
    const uri = config.toString();
    const by: SensitivityUnit = unit === 'block' || unit === 'role' ? unit : 'layer';
    return diagnoses.run({
      job: 'ranking', config, title: vscode.l10n.t('Ranking layers'), start: { by, planHash: '', scores: [], measured: 0, total: 0 },
      ask: (workDoneToken, token) => context.request('quantscope/sensitivity', { uri, by, workDoneToken }, token),
    });
  });

  context.command('quantscope.findFirstBad', async (argument: unknown): Promise<FirstBadResult> => {
    const config = await subject(argument, 'effect');
    return diagnoses.run({
      job: 'firstBad', config, title: vscode.l10n.t('Finding the first bad layer'), start: {},
      ask: (workDoneToken, token) => context.request('quantscope/firstBad', { uri: config.toString(), workDoneToken }, token),
    });
  });

  context.command('quantscope.allocate', async (argument: unknown, options: AllocateOptions = {}): Promise<AllocateResult | undefined> => {
    const config = await subject(argument, 'allocation');
    const uri = config.toString();
    const earlier = diagnoses.of(uri).allocation;
    const loss = options.loss ?? earlier?.loss ?? 'sensitivity';
    const verify = options.verify ?? earlier?.verify ?? true;
    const budget = options.budget ?? await missingBudget(context, config);
    if (budget === undefined) {
      return undefined;
    }
    return diagnoses.run({
      job: 'allocation', config, title: vscode.l10n.t('Allocating bits'), start: { loss, budget, verify },
      ask: (workDoneToken, token) => context.request('quantscope/allocate', { uri, loss, ...(budget === null ? {} : { budget }), ...(verify ? { verify: {} } : {}), workDoneToken }, token),
    });
  });

  context.command('quantscope.applyAllocation', async (argument: unknown) => {
    const config = targetConfig(argument);
    const result = diagnoses.of(config.toString()).allocation?.result ?? null;
    if (result === null) {
      throw new Error(vscode.l10n.t('There is no plan to apply: run "Allocate Bits under the Budget" first.'));
    }
    await apply(config, result);
  });
}

/** null: the config has one. undefined: it has none, and the user gives none. */
async function missingBudget(context: QuantScopeContext, config: vscode.Uri): Promise<BudgetText | null | undefined> {
  const { budgetBytes } = await context.request('quantscope/plan', { uri: config.toString() });
  if (budgetBytes !== null) {
    return null;
  }
  const text = await vscode.window.showInputBox({
    title: vscode.l10n.t('How Large May the Checkpoint Be?'), placeHolder: '6.9GB',
    prompt: vscode.l10n.t('The whole checkpoint ("6.9GB"), or average bits per linear weight ("4.5 bits"). It becomes the budget of the config when the plan is applied.'),
  });
  const bits = /^\s*([\d.]+)\s*bits?\s*$/i.exec(text ?? '')?.[1];
  return text === undefined || text.trim() === '' ? undefined : bits === undefined ? { size: text.trim() } : { bits };
}

/** One step of undo, and nothing is saved. Refuses when the text is no longer the one that was asked about. */
async function apply(config: vscode.Uri, { edits, textHash }: AllocateResult): Promise<void> {
  const document = await vscode.workspace.openTextDocument(config);
  if (createHash('sha256').update(document.getText()).digest('hex') !== textHash) {
    throw new Error(vscode.l10n.t('{0} has changed since this plan was made. Allocate again; what was measured comes from the cache.', baseName(config)));
  }
  const range = ({ start, end }: Range): vscode.Range => new vscode.Range(start.line, start.character, end.line, end.character);
  const edit = new vscode.WorkspaceEdit();
  edits.forEach((change) => edit.replace(config, range(change.range), change.newText));
  if (!await vscode.workspace.applyEdit(edit)) {
    throw new Error(vscode.l10n.t('{0} could not be edited.', baseName(config)));
  }
  const [first] = edits;
  if (first !== undefined) {
    const { line } = first.range.start;
    const lines = first.newText.split('\n').length - 1;
    await revealInConfig(config, new vscode.Range(line, 0, line + lines, 0));
  }
}
