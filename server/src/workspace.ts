/** The workspace folders and the texts in them: open documents as they are in the editor, all others as they are on the disk. */
import { basename, isAbsolute, relative } from 'node:path';
import type { CancellationToken, Connection, InitializeParams } from 'vscode-languageserver';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { URI } from 'vscode-uri';
import type { FindFiles, ReadText } from './workspaceFiles';

/** Disk texts that are kept; a file is read again when it has changed. */
const maxKept = 2000;

export class Workspace {
  private folders: string[] = [];
  private readonly kept = new Map<string, { stamp: string; document: TextDocument }>();

  constructor(private readonly connection: Connection, private readonly disk: { findFiles: FindFiles; readText: ReadText }, private readonly opened: () => readonly TextDocument[]) {}

  /** From `initialize`. */
  initialize({ workspaceFolders, rootUri }: Pick<InitializeParams, 'workspaceFolders' | 'rootUri'>): void {
    this.folders = (workspaceFolders ?? (rootUri ? [{ uri: rootUri }] : [])).flatMap(({ uri }) => pathOf(uri) ?? []);
  }

  /** Paths of the folders. */
  get roots(): readonly string[] { return this.folders; }

  /** From `initialized` on, for clients that can tell. */
  followFolders(): void {
    this.connection.workspace.onDidChangeWorkspaceFolders(({ added, removed }) => {
      const gone = new Set(removed.map(({ uri }) => pathOf(uri)));
      this.folders = [...this.folders.filter((folder) => !gone.has(folder)), ...added.flatMap(({ uri }) => pathOf(uri) ?? [])];
    });
  }

  /** Paths of files by their names, those of open documents included. What a limit leaves out is said in the log. */
  async find(accepts: (name: string) => boolean, token: CancellationToken): Promise<string[]> {
    const open = this.opened().flatMap(({ uri }) => pathOf(uri) ?? []).filter((path) => accepts(basename(path)));
    const { paths, complete } = await this.disk.findFiles(this.folders, accepts, () => token.isCancellationRequested);
    if (!complete && !token.isCancellationRequested) {
      this.connection.console.info(`This workspace is too large to be searched as a whole: ${paths.length} files were found before the limit. Open a smaller folder to see all.`);
    }
    return [...new Set([...open, ...paths])];
  }

  /**
   * The files that `find` finds, as documents. One that cannot be read, is no text or is larger than `limit` bytes is left out.
   * A document is the same object for as long as its text is.
   */
  async documents(accepts: (name: string) => boolean, limit: number, token: CancellationToken): Promise<TextDocument[]> {
    const open = new Map(this.opened().map((document) => [pathOf(document.uri), document]));
    const found: TextDocument[] = [];
    for (const path of await this.find(accepts, token)) {
      if (token.isCancellationRequested) {
        break;
      }
      const document = open.get(path) ?? await this.fromDisk(path, limit);
      if (document) {
        found.push(document);
      }
    }
    return found;
  }

  /** One file, open or not; undefined where nothing is that can be read. */
  async document(uri: string, limit: number): Promise<TextDocument | undefined> {
    const path = pathOf(uri);
    return this.opened().find((document) => document.uri === uri) ?? (path === undefined ? undefined : this.fromDisk(path, limit));
  }

  /** Path in its workspace folder; the whole path outside of them. */
  label(uri: string): string {
    const path = pathOf(uri) ?? uri;
    const inside = this.folders.map((folder) => relative(folder, path)).filter((each) => !each.startsWith('..') && !isAbsolute(each));
    return inside.sort((a, b) => a.length - b.length)[0] ?? path;
  }

  private async fromDisk(path: string, limit: number): Promise<TextDocument | undefined> {
    const known = this.kept.get(path);
    const read = await this.disk.readText(path, limit, known?.stamp);
    this.kept.delete(path);
    if (!read) {
      return undefined;
    }
    const document = known && read.text === undefined ? known.document : TextDocument.create(URI.file(path).toString(), '', 0, read.text ?? '');
    this.kept.set(path, { stamp: read.stamp, document });
    if (this.kept.size > maxKept) {
      this.kept.delete([...this.kept.keys()][0] ?? '');
    }
    return document;
  }
}

/** Only files can be looked for; a virtual folder holds none. */
function pathOf(uri: string): string | undefined {
  const parsed = URI.parse(uri);
  return parsed.scheme === 'file' ? parsed.fsPath : undefined;
}
