/** The checkpoint that files of other tools are about, as the user chose it: the setting `quantscope.checkpoint`, for each folder of the workspace its own. */
import { dirname, isAbsolute, relative, resolve } from 'node:path';
import type { ClientCapabilities, Connection, InitializeParams } from 'vscode-languageserver';
import { configPath } from './language/model';

export class CheckpointSetting {
  /** What the client pushed or started the server with; one that can be asked is asked. */
  private pushed: unknown;
  private readonly asked = new Map<string, Promise<unknown>>();

  constructor(private readonly connection: Connection, private readonly client: () => ClientCapabilities, private readonly folders: () => readonly string[]) {}

  initialize({ initializationOptions }: Pick<InitializeParams, 'initializationOptions'>): void {
    this.pushed = (initializationOptions as { checkpoint?: unknown } | undefined)?.checkpoint;
  }

  /** @param settings of the notification: everything, from clients that push */
  changed(settings: unknown): void {
    const { quantscope } = (settings ?? {}) as { quantscope?: { checkpoint?: unknown } };
    this.pushed = quantscope?.checkpoint ?? this.pushed;
    this.asked.clear();
  }

  /** Absolute path; undefined when nothing was chosen. Relative ones start from the folder of the workspace that holds the document. */
  async of(uri: string): Promise<string | undefined> {
    const value = await this.ask(uri);
    if (typeof value !== 'string' || value.trim() === '') {
      return undefined;
    }
    const path = configPath(uri);
    const folders = this.folders();
    const around = path === undefined ? folders[0] : [...folders].filter((folder) => !/^\.\./.test(relative(folder, path)) && !isAbsolute(relative(folder, path))).sort((a, b) => b.length - a.length)[0] ?? dirname(path);
    const written = value.trim().replace(/^\$\{workspaceFolder\}[\\/]?/, './');
    return isAbsolute(written) ? resolve(written) : around && resolve(around, written);
  }

  private ask(uri: string): Promise<unknown> {
    if (!this.client().workspace?.configuration) {
      return Promise.resolve(this.pushed);
    }
    const known = this.asked.get(uri) ?? this.connection.workspace.getConfiguration({ scopeUri: uri, section: 'quantscope.checkpoint' }).catch(() => this.pushed); // a client that cannot answer after all
    this.asked.set(uri, known);
    return known;
  }
}
