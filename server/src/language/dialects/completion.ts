/** Completion in files of other tools: their fields, values and names of layers, each name with what it takes by that tool's own rule. Works on broken text. */
import { CompletionItemKind } from 'vscode-languageserver-types';
import type { CompletionList, Position } from 'vscode-languageserver-types';
import type { Field, Json } from '../../config/dialects/field';
import { maxTextLength } from '../../config/tree';
import { column, indented } from '../completion';
import { completionList } from '../completionItems';
import type { Abilities, Offer } from '../completionItems';
import { cursorAt } from '../cursor';
import type { Cursor } from '../cursor';
import { plainScalar } from '../yamlText';
import { fieldOf } from './entries';
import { written } from './hover';
import { jsonCursorAt } from './jsonCursor';
import type { JsonCursor } from './jsonCursor';
import type { DialectModel } from './model';
import { nameOffers } from './nameOffers';
import { pythonCursorAt } from './pythonCursor';
import { ruleCursorAt } from './ruleCursor';

export function completeDialect(model: DialectModel, position: Position, options: Partial<Abilities>): CompletionList {
  const { document, file } = model;
  const text = document.getText();
  const offset = document.offsetAt(position);
  if (file.form === 'text') {
    const cursor = ruleCursorAt(text, offset);
    return completionList(document, offset, cursor, ruleOffers(model, cursor), options);
  }
  const cursor: JsonCursor | undefined = file.form === 'json' ? jsonCursorAt(text, offset) : file.form === 'python' ? pythonCursorAt(file, offset) : text.length > maxTextLength ? undefined : cursorAt(text, offset);
  if (!cursor) {
    return { isIncomplete: false, items: [] };
  }
  const indent = column(text, cursor.start) + (cursor.needsSpace ? 1 : 0);
  const list = completionList(document, offset, cursor, offersAt(model, cursor, indent), options);
  const { commaAt } = cursor;
  const comma = commaAt === undefined ? [] : [{ range: { start: document.positionAt(commaAt), end: document.positionAt(commaAt) }, newText: ',' }];
  return comma.length === 0 ? list : { ...list, items: list.items.map((item) => ({ ...item, additionalTextEdits: comma })) };
}

function offersAt(model: DialectModel, cursor: Cursor, indent: number): Offer[] {
  const form = model.file.form === 'json' ? json : model.file.form === 'python' ? python : yaml;
  const found = fieldOf(model.root, cursor.path);
  if (!found) {
    return [];
  }
  const { field } = found;
  const names = (dash: string): Offer[] => (field.names && !field.each ? nameOffers(field.names, model.checkpoint, cursor.typed, cursor.siblings, (name) => dash + form.scalar(name, cursor)) : []);
  switch (cursor.kind) {
    case 'key': return keyOffers(model, field, cursor, form, indent);
    case 'value': return [...names(''), ...valueOffers(field, cursor, form)];
    case 'fresh': {
      // Behind a dash the path ends in its number; else a block starts here: a list of names, or keys.
      const inList = typeof cursor.path.at(-1) === 'number';
      const dashed = field.type === 'names' && !inList;
      const keys = field.fields || field.each ? keyOffers(model, field, cursor, form, indent) : [];
      return [...names(dashed ? '- ' : ''), ...keys, ...(dashed || keys.length > 0 ? [] : valueOffers(field, cursor, form))];
    }
  }
}

/** How a file writes what is offered; newText in snippet syntax. */
interface Form {
  /** Between a key and its value. */
  colon: string;
  key(name: string, cursor: Cursor): string;
  scalar(text: string, cursor: Cursor): string;
  /** Of a key without one, `$0` in it. */
  value(field: Field, indent: number): string;
}

const json: Form = {
  colon: ': ',
  key: (name) => JSON.stringify(name),
  scalar: (text) => JSON.stringify(text),
  value: (field) => (field.type === 'names' ? '["$1"]$0' : isMap(field) ? '{$1}$0' : placeholder(field, (value) => JSON.stringify(value), field.type === 'list' ? '[$1]$0' : '"$1"$0')),
};

const yaml: Form = {
  colon: ': ',
  key: (name) => plainScalar(name, { quote: '' }),
  scalar: (text, cursor) => plainScalar(text, cursor),
  value: (field, indent) => (field.type === 'names' ? '[$1]$0' : isMap(field) ? `\n${' '.repeat(indent + 2)}$0` : placeholder(field, (value) => (typeof value === 'string' ? plainScalar(value, { quote: '' }) : JSON.stringify(value)), field.type === 'list' ? '[$1]$0' : '$1$0')),
};

/** Arguments of a call; in a text the quotes that it has. */
const python: Form = {
  colon: '=',
  key: (name) => name,
  scalar: (text, { quote }) => (quote === '\'' ? `'${text.replace(/[\\']/g, '\\$&')}'` : JSON.stringify(text)),
  value: (field) => (field.type === 'names' ? '["$1"]$0' : isMap(field) ? '{$1}$0' : placeholder(field, inPython, field.type === 'list' ? '[$1]$0' : '"$1"$0')),
};

function inPython(value: Json): string {
  return value === null ? 'None' : typeof value === 'boolean' ? (value ? 'True' : 'False') : JSON.stringify(value);
}

function isMap({ type, fields, each }: Field): boolean {
  return type === 'map' || fields !== undefined || each !== undefined;
}

/** A choice of the listed values; for switches the one that is not the default; else the usual value. */
function placeholder(field: Field, write: (value: Json) => string, empty: string): string {
  const listed = Object.keys(field.values ?? {});
  const values: Json[] = listed.length > 0 ? listed : field.type === 'flag' ? [field.default !== true, field.default === true] : [...field.examples ?? []];
  const asWritten = (value: Json): string => (field.type === 'number' && typeof value === 'string' ? value : write(value));
  const escaped = values.map((value) => asWritten(value).replace(/[\\$},|]/g, '\\$&'));
  const usual = field.type === 'number' && field.default !== undefined && field.default !== null ? write(field.default) : undefined;
  return escaped.length > 1 && escaped.length <= 12 ? `\${1|${escaped.join(',')}|}$0` : escaped.length === 1 || usual ? `\${1:${usual ?? escaped[0] ?? ''}}$0` : empty;
}

function keyOffers(model: DialectModel, field: Field, cursor: Cursor, form: Form, indent: number): Offer[] {
  const own = Object.entries(field.fields ?? {}).filter(([key, { silent }]) => !silent && !cursor.present.has(key)).map(([key, inner]): Offer => ({
    label: key, kind: CompletionItemKind.Property, detail: detail(inner), documentation: documentation(inner), ...keyText(key, inner, cursor, form, indent),
  }));
  const { each, names, values } = field;
  const usual = each ? Object.entries(values ?? {}).filter(([key]) => !cursor.present.has(key)).map(([key, text]): Offer => ({ label: key, kind: CompletionItemKind.Property, detail: text, ...keyText(key, each, cursor, form, indent) })) : [];
  const layers = each && names ? nameOffers(names, model.checkpoint, cursor.typed, [...cursor.present], (name) => name).map((offer): Offer => ({ ...offer, ...keyText(offer.label, each, cursor, form, indent) })) : [];
  return [...own, ...usual, ...layers];
}

function keyText(key: string, field: Field, cursor: Cursor, form: Form, indent: number): Pick<Offer, 'newText' | 'snippet'> {
  const name = form.key(key, cursor);
  const escaped = name.replace(/[\\$}]/g, '\\$&');
  const value = form.value(field, indent);
  const newText = `${escaped}${value.startsWith('\n') ? ':' : form.colon}${value}${cursor.needsComma ? ',' : ''}`;
  return cursor.hasColon ? { newText: name } : { newText: indented(newText, 0), snippet: true };
}

function valueOffers(field: Field, cursor: Cursor, form: Form): Offer[] {
  if (field.each && field.values) {
    return []; // they are keys
  }
  const listed = Object.entries(field.values ?? {}).map(([value, text]) => ({ value: value as Json, text }));
  const usual: readonly Json[] = field.type === 'flag' ? [true, false] : [...field.default === undefined ? [] : [field.default], ...field.examples ?? []];
  const values = listed.length > 0 ? listed : [...new Map(usual.map((value) => [written(value), { value, text: '' }])).values()];
  return values.map(({ value, text }): Offer => ({
    label: form === python ? inPython(value) : written(value), kind: CompletionItemKind.Value,
    newText: typeof value === 'string' && field.type !== 'number' ? form.scalar(value, cursor) : form === python ? inPython(value) : written(value),
    detail: text || (value === field.default ? 'default' : ''), documentation: field.doc,
  }));
}

function detail({ type, required, values, default: fallback }: Field): string {
  const kinds = { text: 'text', flag: 'true or false', number: 'number', list: 'list', map: 'mapping', names: 'list of layers', any: '' };
  return [required ? 'required' : '', values && type === 'text' ? Object.keys(values).slice(0, 4).join(', ') : kinds[type], fallback === undefined ? '' : `default ${written(fallback)}`].filter(Boolean).join('; ');
}

function documentation({ doc, values }: Field): string {
  const listed = Object.entries(values ?? {}).filter(([, text]) => text !== '').slice(0, 14);
  return [doc, listed.map(([value, text]) => `- \`${value}\`: ${text}`).join('\n')].filter(Boolean).join('\n\n');
}

/** In a text of rules: expressions before the `=`, types behind it. */
function ruleOffers({ dialect, checkpoint, root }: DialectModel, cursor: Cursor): Offer[] {
  if (cursor.kind === 'value') {
    return Object.entries(root.values ?? {}).map(([type, text]): Offer => ({ label: type, newText: type, detail: text, kind: CompletionItemKind.Value }));
  }
  return dialect.names ? nameOffers(dialect.names, checkpoint, cursor.typed, cursor.siblings, (name) => (cursor.hasColon ? name : `${name}=`)) : [];
}

