// Long requests: a notification that shows how far the server is, and a cancel that is answered at once.
import * as vscode from 'vscode';
import type { QuantScopeContext } from './context';

/** Estimates above this are asked about first, seconds. */
export const LONG = 20;

let jobs = 0;

export interface Job<T> {
  /** Of the notification. */
  title: string;
  source: vscode.CancellationTokenSource;
  request: (workDoneToken: string) => Promise<T>;
  onProgress?: (message: string, percent: number) => void;
}

/** Settles with the request, or with a CancellationError as soon as the notification's button or the source cancels. */
export function withJobProgress<T>(context: QuantScopeContext, { title, source, request, onProgress }: Job<T>): Thenable<T> {
  return vscode.window.withProgress({ location: vscode.ProgressLocation.Notification, title, cancellable: true }, async (progress, button) => {
    let percent = 0;
    const workDoneToken = `quantscope-job-${++jobs}`;
    const listeners = vscode.Disposable.from(
      button.onCancellationRequested(() => source.cancel()),
      context.onProgress(workDoneToken, (value) => {
        const next = (value.kind === 'end' ? undefined : value.percentage) ?? percent;
        const message = value.message ?? '';
        progress.report({ increment: next - percent, message: message.length > 100 ? `${message.slice(0, 99)}…` : message });
        percent = next;
        onProgress?.(message, next);
      }),
    );
    try {
      return await unlessCancelled(request(workDoneToken), source.token);
    } finally {
      listeners.dispose();
    }
  });
}

/** A cancel is answered at once; what the server still does with the request no longer matters. */
export function unlessCancelled<T>(work: Thenable<T>, token: vscode.CancellationToken): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancelled = (): void => reject(new vscode.CancellationError());
    const listener = token.onCancellationRequested(cancelled);
    if (token.isCancellationRequested) {
      cancelled();
    }
    void Promise.resolve(work).then(resolve, reject).finally(() => listener.dispose());
  });
}

export function durationText(seconds: number): string {
  return seconds < 120 ? vscode.l10n.t('{0} seconds', Math.round(seconds)) : vscode.l10n.t('{0} minutes', Math.round(seconds / 60));
}
