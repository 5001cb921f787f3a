/** Completion: keys, values, methods and schemes from the schema, layer patterns and paths from the checkpoint. Works on broken text (see cursor.ts). */
import { CompletionItemKind, MarkupKind } from 'vscode-languageserver-types';
import type { CompletionItem, CompletionList, Position } from 'vscode-languageserver-types';
import type { Schema } from '../config/schema';
import { maxTextLength } from '../config/tree';
import { methods } from '../methods';
import { completionList } from './completionItems';
import type { Abilities, Offer } from './completionItems';
import { cursorAt } from './cursor';
import type { Cursor } from './cursor';
import { patternDocs } from './hoverNumbers';
import type { Model } from './model';
import { pathItems } from './pathCompletion';
import type { ListFolder } from './pathCompletion';
import { patternItems } from './patternCompletion';
import type { PatternData } from './patternCompletion';
import { ruleSnippets } from './ruleSnippets';
import { listedValues, schemaAt } from './tree';
import { written } from './yamlText';

export const completionTriggers: string[] = [' ', '"', '\'', '*', '.', '!', '/', '[', '{', ','];

export interface CompletionOptions extends Partial<Abilities> {
  /** What lies in a folder; without it there is no path completion. */
  listFolder?: ListFolder | undefined;
}

export function complete(model: Model, position: Position, options: CompletionOptions = {}): CompletionList {
  const { document } = model;
  const text = document.getText();
  const offset = document.offsetAt(position);
  const cursor = text.length > maxTextLength ? undefined : cursorAt(text, offset);
  if (!cursor) {
    return { isIncomplete: false, items: [] };
  }
  const offers = offersAt(model, cursor, options, column(text, cursor.start) + (cursor.needsSpace ? 1 : 0));
  return completionList(document, offset, cursor, offers, options);
}

/** What takes longer than a list may: the layers behind the pattern that has the focus. */
export function resolveCompletion(model: Model, item: CompletionItem): CompletionItem {
  const { pattern } = (item.data ?? {}) as Partial<PatternData>;
  const value = pattern !== undefined && model.checkpoint ? patternDocs(model, pattern, model.checkpoint) : '';
  return value === '' ? item : { ...item, documentation: { kind: MarkupKind.Markdown, value } };
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
  return cursor.kind === 'fresh' && schema.properties ? [...itemSnippets(model, schema, cursor, indent), ...keyOffers(schema, cursor, indent), ...values] : values;
}

function keyOffers(schema: Schema, cursor: Cursor, indent: number): Offer[] {
  return Object.entries(schema.properties ?? {}).filter(([key]) => !cursor.present.has(key)).map(([key, value]) => {
    const required = schema.required?.includes(key) ? ' (required)' : '';
    const body = cursor.hasColon ? undefined : value.defaultSnippets?.[0]?.bodyText;
    return {
      label: key, kind: CompletionItemKind.Property, preselect: required !== '', detail: firstSentence(value.description) + required, documentation: value.description ?? '',
      ...(cursor.hasColon ? { newText: key } : body && !cursor.inFlow ? { newText: indented(body, indent), snippet: true } : cursor.needsComma ? { newText: `${key}: $0, `, snippet: true } : { newText: `${key}: ` }),
    };
  });
}

/** Whole items of a list, `- ` included, at the start of a line. */
function dashOffers(model: Model, schema: Schema, cursor: Cursor, indent: number): Offer[] {
  const snippets = (schema.items?.defaultSnippets ?? []).map(({ label, description, bodyText }): Offer => ({
    label, kind: CompletionItemKind.Snippet, detail: description ?? '', newText: indented(bodyText, indent), snippet: true,
  }));
  const items = isLayers(cursor) ? patternItems(model, cursor).map((offer) => ({ ...offer, newText: `- ${offer.newText}` })) : [];
  return [...snippets, ...isRules(cursor) ? ruleSnippets(model).map(({ body, ...rest }) => ({ ...rest, newText: indented(`- ${body}`, indent) })) : [], ...items];
}

/** The same, behind the dash. */
function itemSnippets(model: Model, schema: Schema, cursor: Cursor, indent: number): Offer[] {
  const written = (schema.defaultSnippets ?? []).filter(({ bodyText }) => bodyText.startsWith('- ')).map(({ label, description, bodyText }) => ({
    label, kind: CompletionItemKind.Snippet, detail: description ?? '', newText: indented(bodyText.slice(2), indent - 2), snippet: true,
  }));
  return [...written, ...isRules({ path: cursor.path.slice(0, -1) }) ? ruleSnippets(model).map(({ body, ...rest }) => ({ ...rest, newText: indented(body, indent - 2) })) : []];
}

function valueOffers(model: Model, schema: Schema, cursor: Cursor, { listFolder }: CompletionOptions): Offer[] {
  if (isLayers(cursor)) {
    return patternItems(model, cursor);
  }
  if (cursor.path.length === 1 && cursor.path[0] === 'checkpoint') {
    return listFolder ? pathItems(model.document.uri, cursor, model.document.getText().slice(cursor.start + cursor.quote.length + cursor.typed.length, cursor.end), listFolder) : [];
  }
  const listed = listedValues(schema);
  const usual = schema.type === 'boolean' ? [true, false] : schema.examples ?? (schema.default === undefined ? [] : [schema.default]);
  const values = listed.length > 0 ? listed : usual.map((value) => ({ value: written(value), text: undefined }));
  const snippets = (schema.defaultSnippets ?? []).filter(({ bodyText }) => bodyText.startsWith('{ ') && cursor.quote === '').map(({ label, description, bodyText }): Offer => ({
    label, kind: CompletionItemKind.Snippet, detail: description ?? '', newText: bodyText, snippet: true,
  }));
  return [...values.map(({ value, text }): Offer => {
    const method = methods.get(value);
    return {
      label: value, newText: cursor.quote + value + cursor.quote, kind: method ? CompletionItemKind.Function : CompletionItemKind.Value,
      detail: schemeText(value) ?? method?.title ?? text ?? '',
      documentation: [text ?? '', method?.source ?? schema.description ?? ''].filter(Boolean).join('\n\n'),
      preselect: value === String(schema.default), closed: listed.length > 0,
    };
  }), ...snippets];
}

function isRules({ path }: Pick<Cursor, 'path'>): boolean { return path.length === 1 && path[0] === 'rules'; }

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

export function column(text: string, offset: number): number {
  return offset - (Math.max(text.lastIndexOf('\n', offset - 1), text.lastIndexOf('\r', offset - 1)) + 1);
}
