import { TextDocument } from 'vscode-languageserver-textdocument';
import type { CheckpointStore } from '../../../../server/src/checkpoint';
import { buildDialectModel } from '../../../../server/src/language/dialects/model';
import type { DialectModel } from '../../../../server/src/language/dialects/model';
import type { Checkpoint, Position } from '../../../../server/src/protocol';

export interface Options { checkpoint?: Checkpoint; name?: string; before?: DialectModel['dialect'] }

/** What the features see for this text; without a checkpoint none stands beside it. */
export async function dialectModel(text: string, { checkpoint, name = 'config.json', before }: Options = {}): Promise<DialectModel | undefined> {
  const store = { recent: () => Promise.resolve(checkpoint) } as unknown as CheckpointStore;
  return buildDialectModel(TextDocument.create(`file:///project/${name}`, 'json', 1, text), store, () => Promise.resolve({ files: [], packages: new Map(), ...(checkpoint ? { chosen: '/project' } : {}) }), before);
}

/** The same for a text with `|` where the cursor stands. @throws when no tool is recognised */
export async function atDialectCursor(marked: string, options?: Options): Promise<{ model: DialectModel; position: Position; text: string }> {
  const offset = marked.indexOf('|');
  if (offset < 0 || marked.includes('|', offset + 1)) {
    throw new Error(`exactly one | in ${JSON.stringify(marked)}`);
  }
  const text = marked.slice(0, offset) + marked.slice(offset + 1);
  const model = await dialectModel(text, options);
  if (!model) {
    throw new Error(`no tool reads ${JSON.stringify(text)}`);
  }
  return { model, position: model.document.positionAt(offset), text };
}
