// One preview panel: runs the candidates, keeps what has arrived so that a hidden panel finds it again, and answers the view.
import * as path from 'node:path';
import * as vscode from 'vscode';
import type { PreviewFrame, PreviewResult } from '../../../server/src/protocol';
import type { PictureFile, PreviewSource, PreviewState, PreviewSummary } from '../../../webview/src/messages';
import { openConfig, revealInConfig } from '../configs';
import { errorMessage } from '../context';
import type { QuantScopeContext } from '../context';
import { durationText, LONG, unlessCancelled, withJobProgress } from '../jobs';
import { openView } from '../webviewHost';

/** What a panel is reopened with. */
export interface SavedPreview { candidates: PreviewSource[]; asDeployed: boolean; result: PreviewSummary | null }

interface Run { session: number; source: vscode.CancellationTokenSource }
let lastSession = 0;

export class PreviewPanel {
  private readonly state: PreviewState;
  private readonly view: ReturnType<typeof openView<'preview'>>;
  private current: Run | undefined;

  constructor(private readonly context: QuantScopeContext, readonly panel: vscode.WebviewPanel, saved: SavedPreview) {
    this.state = initialState(saved, saved.result === null ? 'idle' : 'finished');
    this.view = openView(panel.webview, context.extension.extensionUri, 'preview', {
      load: () => Promise.resolve(this.state),
      run: () => {
        this.runAgain();
        return Promise.resolve(null);
      },
      deploy: ({ on }) => {
        const { phase, withDeployed } = this.state;
        this.state.asDeployed = on;
        // What was run and is only hidden stays; a run in progress starts over with what is wanted now.
        if (phase === 'running' || (on && phase === 'finished' && !withDeployed)) {
          this.runAgain();
        }
        return Promise.resolve(null);
      },
      cancel: () => {
        this.cancel();
        return Promise.resolve(null);
      },
      save: ({ pictures }) => savePicture(pictures, this.state.candidates[0]?.uri ?? ''),
      copy: async ({ markdown }) => {
        await vscode.env.clipboard.writeText(markdown);
        return null;
      },
      goToConfig: ({ candidate }) => this.goToConfig(candidate),
    });
    const listeners = vscode.Disposable.from(
      this.view,
      context.onNotification('quantscope/previewFrame', ({ session, frame, items }) => {
        if (session === this.current?.session) {
          this.addFrame(frame, items);
        }
      }),
      vscode.workspace.onDidChangeTextDocument(({ document, contentChanges }) => {
        if (contentChanges.length > 0 && this.state.phase !== 'idle' && this.state.candidates.some(({ uri }) => uri === document.uri.toString())) {
          this.state.outdated = true;
          this.view.send({ type: 'outdated' });
        }
      }),
    );
    panel.onDidDispose(() => {
      this.cancel();
      // From here on nothing may be sent.
      this.current = undefined;
      listeners.dispose();
    });
  }

  private runAgain(): void {
    void this.run(this.state.candidates).catch((error: unknown) => this.failed(error));
  }

  /** A run in progress gives way. Resolves to undefined when the user, asked about a long run, says no, and what a finished run showed is back; throws CancellationError when cancelled. */
  async run(candidates: readonly PreviewSource[]): Promise<PreviewResult | undefined> {
    this.cancel();
    const run = { session: ++lastSession, source: new vscode.CancellationTokenSource() };
    this.current = run;
    const before = { ...this.state };
    Object.assign(this.state, initialState({ candidates: [...candidates], asDeployed: before.asDeployed, result: null }, 'running'));
    this.view.send({ type: 'state', state: this.state });
    try {
      for (const { uri } of candidates) {
        await openConfig(vscode.Uri.parse(uri));
      }
      if (!(await this.confirmed(run))) {
        this.declined(run, before);
        return undefined;
      }
      const result = await this.withProgress(run);
      const { frames, ...summary } = result;
      frames.forEach((frame) => this.addFrame(frame, result.items));
      this.end(run, 'finished', null, summary);
      return result;
    } catch (error) {
      if (error instanceof vscode.CancellationError) {
        this.end(run, 'cancelled');
      } else {
        this.end(run, 'failed', errorMessage(error));
      }
      throw error;
    } finally {
      run.source.dispose();
    }
  }

  private cancel(): void {
    this.current?.source.cancel();
  }

  private async confirmed(run: Run): Promise<boolean> {
    const { token } = run.source;
    this.progress(run, vscode.l10n.t('Estimating the time'), null);
    const uris = this.state.candidates.map(({ uri }) => uri);
    const { seconds, suggestion } = await unlessCancelled(this.context.request('quantscope/previewEstimate', { uris, asDeployed: this.state.withDeployed }, token), token);
    if (seconds <= LONG) {
      return true;
    }
    const yes = vscode.l10n.t('Run');
    const message = [vscode.l10n.t('This preview takes about {0} on this machine.', durationText(seconds)), suggestion ?? ''].join(' ').trim();
    this.progress(run, vscode.l10n.t('Waiting for your answer'), null);
    return await unlessCancelled(vscode.window.showInformationMessage(message, yes, vscode.l10n.t('Cancel')), token) === yes;
  }

  private withProgress(run: Run): Thenable<PreviewResult> {
    const { session, source } = run;
    const { withDeployed: asDeployed } = this.state;
    const candidates = this.state.candidates.map(({ uri, rule }) => ({ uri, ...(rule === undefined ? {} : { rule }) }));
    return withJobProgress(this.context, {
      title: vscode.l10n.t('Previewing {0}', this.state.candidates.map(({ label }) => label).join(vscode.l10n.t(' and '))), source,
      request: (workDoneToken) => this.context.request('quantscope/preview', { candidates, asDeployed, session, workDoneToken }, source.token),
      onProgress: (message, percent) => this.progress(run, message, percent),
    });
  }

  private progress(run: Run, message: string, percent: number | null): void {
    if (run === this.current) {
      this.state.activity = { message, percent };
      this.view.send({ type: 'progress', activity: this.state.activity });
    }
  }

  private addFrame(frame: PreviewFrame, items: string[]): void {
    const same = (other: PreviewFrame): boolean => other.candidate === frame.candidate && other.item === frame.item && other.frame === frame.frame && other.step === frame.step;
    if (!this.state.frames.some(same)) {
      this.state.frames.push(frame);
      this.state.items = items;
      this.view.send({ type: 'frame', frame, items });
    }
  }

  /** A run that gave way to another one has nothing to say. */
  private end(run: Run, phase: Exclude<PreviewState['phase'], 'running'>, message: string | null = null, result: PreviewSummary | null = null): void {
    if (run === this.current) {
      this.current = undefined;
      Object.assign(this.state, { phase, message, result });
      this.view.send({ type: 'ended', phase, message, result });
    }
  }

  /** Nothing was run: a preview that had finished is shown again, with the switch as it was for that. */
  private declined(run: Run, before: PreviewState): void {
    if (before.phase !== 'finished') {
      this.end(run, 'idle');
    } else if (run === this.current) {
      this.current = undefined;
      Object.assign(this.state, before, { asDeployed: before.asDeployed && before.withDeployed });
      this.view.send({ type: 'state', state: this.state });
    }
  }

  private failed(error: unknown): void {
    if (!(error instanceof vscode.CancellationError)) {
      this.context.reportFailure(error);
    }
  }

  private async goToConfig(candidate: number): Promise<null> {
    const source = this.state.candidates[candidate];
    if (source !== undefined) {
      const uri = vscode.Uri.parse(source.uri);
      await openConfig(uri);
      const plan = source.rule === undefined ? undefined : (await this.context.request('quantscope/plan', { uri: source.uri })).plan;
      const { start, end } = plan?.rules[source.rule ?? -1]?.range ?? { start: { line: 0, character: 0 }, end: { line: 0, character: 0 } };
      await revealInConfig(uri, new vscode.Range(start.line, start.character, end.line, end.character));
    }
    return null;
  }
}

/** @param phase a run that begins includes what is wanted; a result says what it has */
function initialState({ candidates, asDeployed, result }: SavedPreview, phase: PreviewState['phase']): PreviewState {
  const withDeployed = result === null ? phase === 'running' && asDeployed : result.candidates.some(({ deployed }) => deployed !== undefined);
  return { candidates, asDeployed, withDeployed, phase, message: null, activity: { message: '', percent: null }, items: result?.items ?? [], frames: [], result, outdated: false };
}

async function savePicture(pictures: readonly PictureFile[], config: string): Promise<string | null> {
  const items = pictures.map((picture) => ({ label: picture.title, description: picture.fileName, picture }));
  const picked = items.length === 1 ? items[0] : await vscode.window.showQuickPick(items, { title: vscode.l10n.t('Picture to Save') });
  if (picked === undefined) {
    return null;
  }
  const defaultUri = vscode.Uri.joinPath(vscode.Uri.parse(config), '..', picked.picture.fileName);
  const target = await vscode.window.showSaveDialog({ defaultUri, filters: { [vscode.l10n.t('PNG Picture')]: ['png'] }, title: vscode.l10n.t('Save Picture') });
  if (target === undefined) {
    return null;
  }
  await vscode.workspace.fs.writeFile(target, Buffer.from(picked.picture.png, 'base64'));
  return path.basename(target.fsPath);
}
