/** Completion: keys, values, methods and schemes from the schema, layer patterns and paths from the checkpoint. Works on broken text (see cursor.ts). */
import { CompletionItemKind, InsertTextFormat, InsertTextMode, MarkupKind } from 'vscode-languageserver-types';
import type { CompletionItem, CompletionList, Position } from 'vscode-languageserver-types';
import type { TextDocument } from 'vscode-languageserver-textdocument';
import type { Schema } from '../config/schema';
import { maxTextLength } from '../config/tree';
import { methods } from '../methods';
import { cursorAt } from './cursor';
import type { Cursor } from './cursor';
import type { Model } from './model';
import { pathItems } from './pathCompletion';
import type { ListFolder } from './pathCompletion';
import { patternItems } from './patternCompletion';
import { listedValues, schemaAt } from './tree';
import { written } from './yamlText';

export const completionTriggers: string[] = [' ', '"', '\'', '*', '.', '!', '/', '[', '{', ','];

export interface CompletionOptions {
  /** The client fills in placeholders. */
  snippets: boolean;
  /** What lies in a folder; without it there is no path completion. */
  listFolder?: ListFolder | undefined;
}

/** What one feature offers; `newText` replaces the whole scalar under the cursor. */
export interface Offer {
  label: string;
  newText: string;
  kind: CompletionItemKind;
  detail?: string;
  documentation?: string;
  /** newText holds placeholders in LSP snippet syntax. */
  snippet?: boolean;
  sortText?: string;
  /** Show it whatever has been typed: it was chosen by what was typed. */
  always?: boolean;
}

export function complete(model: Model, position: Position, options: CompletionOptions = { snippets: false }): CompletionList {
  const { document } = model;
  const text = document.getText();
  const offset = document.offsetAt(position);
  const cursor = text.length > maxTextLength ? undefined : cursorAt(text, offset);
  if (!cursor) {
    return { isIncomplete: false, items: [] };
  }
  return completionList(document, offset, cursor, offersAt(model, cursor, options, column(text, cursor.start) + (cursor.needsSpace ? 1 : 0)), options);
}

/** Offers as the wire takes them: each replaces the scalar under the cursor. */
export function completionList(document: TextDocument, offset: number, cursor: Cursor, offers: readonly Offer[], options: Pick<CompletionOptions, 'snippets'>): CompletionList {
  const range = { start: document.positionAt(cursor.start), end: document.positionAt(cursor.end) };
  const newText = (offer: Offer): string => [
    cursor.needsSpace ? ' ' : '',
    offer.snippet && !options.snippets ? withoutPlaceholders(offer.newText) : offer.newText,
    cursor.needsComma && cursor.kind === 'value' ? ', ' : '',
  ].join('');
  const item = (offer: Offer, index: number): CompletionItem => ({
    label: offer.label,
    kind: offer.kind,
    ...(offer.detail === undefined ? {} : { detail: offer.detail }),
    ...(offer.documentation === undefined ? {} : { documentation: { kind: MarkupKind.Markdown, value: offer.documentation } }),
    sortText: offer.sortText ?? String(index).padStart(5, '0'),
    filterText: offer.always ? document.getText().slice(cursor.start, offset) || offer.label : cursor.quote + offer.label,
    textEdit: { range, newText: newText(offer) },
    insertTextMode: InsertTextMode.asIs,
    ...(offer.snippet && options.snippets ? { insertTextFormat: InsertTextFormat.Snippet } : {}),
  });
  return { isIncomplete: offers.some((offer) => offer.always), items: offers.map(item) };
}

function offersAt(model: Model, cursor: Cursor, options: CompletionOptions, indent: number): Offer[] {
  const schema = schemaAt(cursor.path);
  if (!schema) {
    return [];
  }
  if (cursor.kind === 'key') {
    return keyOffers(schema, cursor, indent);
  }
  if (cursor.kind === 'fresh' && schema.items) {
    return dashOffers(model, schema, cursor, indent);
  }
  const values = valueOffers(model, schema, cursor, options);
  return cursor.kind === 'fresh' && schema.properties ? [...itemSnippets(schema, indent), ...keyOffers(schema, cursor, indent), ...values] : values;
}

function keyOffers(schema: Schema, cursor: Cursor, indent: number): Offer[] {
  return Object.entries(schema.properties ?? {}).filter(([key]) => !cursor.present.has(key)).map(([key, value]) => {
    const required = schema.required?.includes(key) ? ' (required)' : '';
    const body = cursor.hasColon ? undefined : value.defaultSnippets?.[0]?.bodyText;
    return {
      label: key, kind: CompletionItemKind.Property, detail: firstSentence(value.description) + required, documentation: value.description ?? '',
      ...(cursor.hasColon ? { newText: key } : body && !cursor.inFlow ? { newText: indented(body, indent), snippet: true } : cursor.needsComma ? { newText: `${key}: $0, `, snippet: true } : { newText: `${key}: ` }),
    };
  });
}

/** Whole items of a list, `- ` included, at the start of a line. */
function dashOffers(model: Model, schema: Schema, cursor: Cursor, indent: number): Offer[] {
  const snippets = (schema.items?.defaultSnippets ?? []).map(({ label, description, bodyText }): Offer => ({
    label, kind: CompletionItemKind.Snippet, detail: description ?? '', newText: indented(bodyText, indent), snippet: true,
  }));
  const items = isLayers(cursor) ? patternItems(model.checkpoint, cursor).map((offer) => ({ ...offer, newText: `- ${offer.newText}` })) : [];
  return [...snippets, ...items];
}

/** The same, behind the dash. */
function itemSnippets(schema: Schema, indent: number): Offer[] {
  return (schema.defaultSnippets ?? []).filter(({ bodyText }) => bodyText.startsWith('- ')).map(({ label, description, bodyText }) => ({
    label, kind: CompletionItemKind.Snippet, detail: description ?? '', newText: indented(bodyText.slice(2), indent - 2), snippet: true,
  }));
}

function valueOffers(model: Model, schema: Schema, cursor: Cursor, { listFolder }: CompletionOptions): Offer[] {
  if (isLayers(cursor)) {
    return patternItems(model.checkpoint, cursor);
  }
  if (cursor.path.length === 1 && cursor.path[0] === 'checkpoint') {
    return listFolder ? pathItems(model.document.uri, cursor, listFolder) : [];
  }
  const listed = listedValues(schema);
  const usual = schema.type === 'boolean' ? [true, false] : schema.examples ?? (schema.default === undefined ? [] : [schema.default]);
  const values = listed.length > 0 ? listed : usual.map((value) => ({ value: written(value), text: undefined }));
  return values.map(({ value, text }): Offer => {
    const method = methods.get(value);
    return {
      label: value, newText: cursor.quote + value + cursor.quote, kind: method ? CompletionItemKind.Function : CompletionItemKind.Value,
      detail: schemeText(value) ?? method?.title ?? text ?? '',
      documentation: [text ?? '', method?.source ?? schema.description ?? ''].filter(Boolean).join('\n\n'),
    };
  });
}

/** Inside `layers`, as its only value or as an item of its list. */
function isLayers({ path }: Cursor): boolean {
  return path[0] === 'rules' && path[2] === 'layers' && path.length <= 4;
}

function schemeText(value: string): string | undefined {
  const match = /^W(\d+)A(\d+)$/.exec(value);
  const side = (bits: string | undefined, name: string): string => (bits === '16' ? `${name} untouched` : `${bits ?? ''}-bit ${name}`);
  return match ? `${side(match[1], 'weights')}, ${side(match[2], 'activations')}` : undefined;
}

function firstSentence(text = ''): string {
  return /^.*?[.:](?=\s|$)/.exec(text)?.[0].replace(/[.:]$/, '') ?? text;
}

export function indented(body: string, indent: number): string {
  return body.replaceAll('\n', `\n${' '.repeat(Math.max(0, indent))}`);
}

/** `${1:W4A4}` → `W4A4`, `${1|a,b|}` → `a`, `$0` → nothing, and characters behind a backslash stand for themselves. */
export function withoutPlaceholders(snippet: string): string {
  const plain = (text: string): string => text.replace(/\\([\\$},|])/g, '$1');
  return snippet.replace(/\\[\\$},|]|\$\{\d+:((?:\\.|[^\\}])*)\}|\$\{\d+\|((?:\\.|[^\\,|])*)(?:\\.|[^\\}])*\}|\$\d+/g, (all, text?: string, choice?: string) => plain(text ?? choice ?? (all.startsWith('$') ? '' : all)));
}

export function column(text: string, offset: number): number {
  return offset - (Math.max(text.lastIndexOf('\n', offset - 1), text.lastIndexOf('\r', offset - 1)) + 1);
}
