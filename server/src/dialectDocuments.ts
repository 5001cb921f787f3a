/** The open files of other tools. Any JSON, YAML or plain text may be one: its content says. */
import type { TextDocument } from 'vscode-languageserver-textdocument';
import { TextDocument as Snapshot } from 'vscode-languageserver-textdocument';
import type { CheckpointStore } from './checkpoint';
import type { Dialect } from './config/dialects/dialect';
import { surroundingsOf } from './config/dialects/surroundings';
import type { Surroundings } from './config/dialects/surroundings';
import { buildDialectModels } from './language/dialects/model';
import type { Sources, DialectModel } from './language/dialects/model';
import { configPath } from './language/model';

export class DialectDocuments {
  /** Of the documents as they are now. */
  private readonly models = new Map<string, Promise<DialectModel[]>>();
  /** What each was last, for texts that are broken while one types. */
  private readonly before = new Map<string, Dialect>();
  private readonly around = new Map<string, Promise<Surroundings>>();

  /** @param chosen absolute path of the checkpoint that the user chose for a document */
  constructor(private readonly store: CheckpointStore, private readonly chosen: (uri: string) => Promise<string | undefined>) {}

  modelsOf(document: TextDocument): Promise<DialectModel[]> {
    const known = this.models.get(document.uri) ?? this.build(document);
    this.models.set(document.uri, known);
    return known;
  }

  /** Of one that is not open, or not known to be: nothing is kept. */
  read(document: TextDocument): Promise<DialectModel[]> {
    return buildDialectModels(document, this.store, () => this.sources(document.uri));
  }

  /** The text changed. */
  forget(uri: string): void {
    this.models.delete(uri);
  }

  close(uri: string): void {
    [this.models, this.before, this.around].forEach((map) => map.delete(uri));
  }

  /** Files or settings changed. */
  clear(): void {
    this.models.clear();
    this.around.clear();
  }

  private async build(document: TextDocument): Promise<DialectModel[]> {
    const { uri, languageId, version } = document;
    // The open document changes in place: a model keeps the text it was built from.
    const snapshot = Snapshot.create(uri, languageId, version, document.getText());
    const models = await buildDialectModels(snapshot, this.store, () => this.sources(uri), this.before.get(uri));
    const [first] = models;
    if (first) {
      this.before.set(uri, first.dialect);
    }
    return models;
  }

  private async sources(uri: string): Promise<Sources> {
    return { chosen: await this.chosen(uri), ...await this.aroundOf(uri) };
  }

  /** Looked up once: it takes a look into every folder beside the file, and into those above it. */
  private aroundOf(uri: string): Promise<Surroundings> {
    const path = configPath(uri);
    const known = this.around.get(uri) ?? (path === undefined ? Promise.resolve({ files: [], packages: new Map() }) : surroundingsOf(path));
    this.around.set(uri, known);
    return known;
  }
}
