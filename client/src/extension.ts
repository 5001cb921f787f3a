// Entry of the extension: one list of features, each of which gets the context.
import type * as vscode from 'vscode';
import { QuantScopeContext } from './context';
import * as analyze from './features/analyze';
import * as capture from './features/capture';
import * as checkpointEditor from './features/checkpointEditor';
import * as chooseCheckpoint from './features/chooseCheckpoint';
import * as convert from './features/convert';
import * as diagnose from './features/diagnose';
import * as explainLayer from './features/explainLayer';
import * as newConfig from './features/newConfig';
import * as openReport from './features/openReport';
import * as preview from './features/preview';
import * as resolvedPlan from './features/resolvedPlan';
import * as sensitivityPanel from './features/sensitivityPanel';
import * as status from './features/status';
import * as tasks from './features/tasks';

const features = [status, analyze, sensitivityPanel, diagnose, checkpointEditor, explainLayer, newConfig, openReport, preview, resolvedPlan, capture, chooseCheckpoint, convert, tasks];

let current: QuantScopeContext | undefined;

/** What other extensions and the in-host tests get. */
export interface QuantScopeApi { readonly context: QuantScopeContext }

export function activate(extension: vscode.ExtensionContext): QuantScopeApi {
  const context = new QuantScopeContext(extension);
  current = context;
  for (const feature of features) {
    feature.activate(context);
  }
  // Not awaited: editors open at once and requests wait for the server themselves.
  void context.start();
  return { context };
}

export async function deactivate(): Promise<void> {
  await current?.stop();
}
