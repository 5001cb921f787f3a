/** Offers as the client can take them: placeholders, counts beside the label, an edit that all items share, characters that accept. */
import type { TextDocument } from 'vscode-languageserver-textdocument';
import { InsertReplaceEdit, InsertTextFormat, InsertTextMode, MarkupKind } from 'vscode-languageserver-types';
import type { CompletionItem, CompletionItemKind, CompletionList } from 'vscode-languageserver-types';
import type { Cursor } from './cursor';

/** What the client says it can. */
export interface Abilities {
  /** It fills in placeholders. */
  snippets: boolean;
  /** It shows a text beside every label, not only beside the one that has the focus. */
  labelDetails: boolean;
  /** `CompletionList.itemDefaults` may hold these. */
  itemDefaults: readonly string[];
  /** It tells apart inserting before what is there and replacing it. */
  insertReplace: boolean;
  commitCharacters: boolean;
}

const none: Abilities = { snippets: false, labelDetails: false, itemDefaults: [], insertReplace: false, commitCharacters: false };

/** What one feature offers; `newText` replaces the whole scalar under the cursor. */
export interface Offer {
  label: string;
  newText: string;
  kind: CompletionItemKind;
  detail?: string;
  /** The part of the detail that tells offers apart. */
  summary?: string;
  documentation?: string;
  /** newText holds placeholders in LSP snippet syntax. */
  snippet?: boolean;
  sortText?: string;
  /** Show it whatever has been typed: it was chosen by what was typed. */
  always?: boolean;
  preselect?: boolean;
  /** One of few values: nothing else can be meant, so a comma or bracket behind it accepts it. */
  closed?: boolean;
  /** How much of what stands behind the cursor an editor that inserts leaves there; without it nothing. */
  tail?: number;
  /** For resolving. */
  data?: object;
}

/** Each offer replaces the scalar under the cursor. @param offset of the cursor */
export function completionList(document: TextDocument, offset: number, cursor: Cursor, offers: readonly Offer[], able: Partial<Abilities>): CompletionList {
  const abilities = { ...none, ...able };
  const text = document.getText();
  const range = { start: document.positionAt(cursor.start), end: document.positionAt(cursor.end) };
  const shared = { editRange: abilities.itemDefaults.includes('editRange'), insertTextMode: abilities.itemDefaults.includes('insertTextMode') };
  const textOf = (offer: Offer): string => [
    cursor.needsSpace ? ' ' : '',
    offer.snippet && !abilities.snippets ? withoutPlaceholders(offer.newText) : offer.newText,
    cursor.needsComma && cursor.kind === 'value' ? ', ' : '',
  ].join('');
  const edit = (offer: Offer): Partial<CompletionItem> => {
    const newText = textOf(offer);
    if (offer.tail && abilities.insertReplace) {
      return { textEdit: InsertReplaceEdit.create(newText, { start: range.start, end: document.positionAt(cursor.end - offer.tail) }, range) };
    }
    return shared.editRange ? { textEditText: newText } : { textEdit: { range, newText } };
  };
  const item = (offer: Offer, index: number): CompletionItem => ({
    label: offer.label,
    kind: offer.kind,
    ...(offer.detail === undefined ? {} : { detail: offer.detail }),
    ...(abilities.labelDetails && offer.summary !== undefined ? { labelDetails: { description: offer.summary } } : {}),
    ...(offer.documentation === undefined ? {} : { documentation: { kind: MarkupKind.Markdown, value: offer.documentation } }),
    sortText: offer.sortText ?? String(index).padStart(5, '0'),
    filterText: offer.always ? text.slice(cursor.start, offset) || offer.label : cursor.quote + offer.label,
    ...(offer.preselect ? { preselect: true } : {}),
    ...edit(offer),
    ...(abilities.commitCharacters && offer.closed && cursor.inFlow && !cursor.needsComma ? { commitCharacters: [',', '}', ']'] } : {}),
    ...(shared.insertTextMode ? {} : { insertTextMode: InsertTextMode.asIs }),
    ...(offer.snippet && abilities.snippets ? { insertTextFormat: InsertTextFormat.Snippet } : {}),
    ...(offer.data ? { data: { uri: document.uri, ...offer.data } } : {}),
  });
  const defaults = { ...(shared.editRange ? { editRange: range } : {}), ...(shared.insertTextMode ? { insertTextMode: InsertTextMode.asIs } : {}) };
  return {
    isIncomplete: offers.some((offer) => offer.always),
    ...(offers.length > 0 && Object.keys(defaults).length > 0 ? { itemDefaults: defaults } : {}),
    items: offers.map(item),
  };
}

/** `${1:W4A4}` → `W4A4`, `${1|a,b|}` → `a`, `$0` → nothing, and characters behind a backslash stand for themselves. */
export function withoutPlaceholders(snippet: string): string {
  const plain = (text: string): string => text.replace(/\\([\\$},|])/g, '$1');
  return snippet.replace(/\\[\\$},|]|\$\{\d+:((?:\\.|[^\\}])*)\}|\$\{\d+\|((?:\\.|[^\\,|])*)(?:\\.|[^\\}])*\}|\$\d+/g, (all, text?: string, choice?: string) => plain(text ?? choice ?? (all.startsWith('$') ? '' : all)));
}
