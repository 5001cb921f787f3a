/** What stands under the cursor in a file of another tool: which layers an entry takes and by which rule, or what the tool does with a field. */
import type { Hover, Position } from 'vscode-languageserver-types';
import type { Field, Json } from '../../config/dialects/field';
import { fieldAt } from '../../config/dialects/field';
import type { Layer } from '../../protocol';
import { groupTable } from '../hoverNumbers';
import { code, layerCount, percent } from '../text';
import { contains, placeAt } from '../tree';
import type { Place } from '../tree';
import { entryAt, fieldOf, isKept, outcome, outcomeText, ruleOf } from './entries';
import type { WrittenEntry } from './entries';
import type { DialectModel } from './model';

export function dialectHover(model: DialectModel, position: Position): Hover | null {
  const found = entryAt(model, position);
  if (found) {
    return answer([entryText(model, found), ...(model.file.form === 'text' ? [typeText(model, found)] : [])], found.entry.range);
  }
  const { part, python } = model.file;
  if (part && python && contains(part.at, position)) {
    return answer([`**${python.name || model.dialect.title}**`, model.root.doc, ...source(model.root.source), ...summary(model, [])], part.at);
  }
  const place = placeAt(model.file.root, position);
  return place ? answer(place.onKey ? keyText(model, place) : valueText(model, place), place.range) : null;
}

function answer(parts: readonly string[], range: Hover['range']): Hover | null {
  const value = parts.filter(Boolean).join('\n\n');
  return value === '' ? null : { contents: { kind: 'markdown', value }, ...(range ? { range } : {}) };
}

function entryText(model: DialectModel, { entry, result }: WrittenEntry): string {
  const { checkpoint, dialect, parsed } = model;
  const rule = `How ${dialect.title} compares: ${ruleOf(model, entry)}`;
  const does = entry.aside ? entry.treatment.label : isKept(entry.treatment) ? 'keeps' : `quantizes to ${entry.treatment.label}`;
  if (!checkpoint) {
    return [`${code(entry.text)}: ${does}. Which layers it takes shows with a checkpoint.`, rule].join('\n\n');
  }
  const layers = checkpoint.layers.filter((layer) => entry.takes(layer));
  if (layers.length === 0) {
    return [`${code(entry.text)} takes **no layer** of the checkpoint. ${entry.matchesNothing ?? ''}`.trim(), rule, entry.elsewhere ? '' : parsed.unmatched === 'error' ? 'The tool stops with an error.' : `An entry that takes nothing: ${dialect.unmatched}`].filter(Boolean).join('\n\n');
  }
  return [
    `${code(entry.text)} ${entry.aside ? 'takes' : does} **${layerCount(layers.length)}**, ${percent(result.matchedParamsPercent)} of all linear weights.${entry.aside ? ` They are ${entry.treatment.label}.` : ''}`,
    groupTable(layers, checkpoint), decided(model, { entry, result }, layers), rule,
  ].filter(Boolean).join('\n\n');
}

/** Who decides about the layers that an entry takes. */
function decided({ decisions }: DialectModel, { entry, result: { decidedLayers } }: WrittenEntry, layers: readonly Layer[]): string {
  if (entry.aside || decidedLayers === layers.length) {
    return entry.aside ? '' : 'It decides all of them.';
  }
  const others = new Map<string, number>();
  const taken = new Set(layers);
  for (const decision of decisions) {
    if (taken.has(decision.layer) && decision.entry !== entry && decision.also !== entry) {
      const by = decision.entry === null ? `no entry (${decision.treatment.label})` : `${code(decision.entry.text)}${decision.entry.builtin ? ` (${decision.entry.builtin})` : ` in line ${decision.entry.range.start.line + 1}`}`;
      others.set(by, (others.get(by) ?? 0) + 1);
    }
  }
  return `It decides ${decidedLayers} of them. ${[...others].slice(0, 4).map(([by, count]) => `${count}: ${by}`).join('; ')}.`;
}

/** The type behind a rule's `=`. */
function typeText({ root }: DialectModel, { entry }: WrittenEntry): string {
  const type = Object.keys(root.values ?? {}).find((name) => entry.text.toLowerCase().endsWith(`=${name.toLowerCase()}`));
  return type ? `${code(type)}: ${root.values?.[type] ?? ''}.` : '';
}

function keyText(model: DialectModel, { path }: Place): string[] {
  const found = fieldAt(model.root, path);
  if (!found) {
    return [];
  }
  return [`**${path.filter((step) => typeof step === 'string').join('.')}**${found.field.required ? ' (required)' : ''}`, ...fieldText(found.field), ...source(found.source), ...summary(model, path)];
}

function valueText(model: DialectModel, { path, node }: Place): string[] {
  const found = fieldOf(model.root, path);
  if (!found || node.kind !== 'scalar') {
    return [];
  }
  const meaning = found.field.values?.[String(node.value)];
  return [...(meaning ? [`**${String(node.value)}**: ${meaning}`, found.field.doc] : fieldText(found.field)), ...source(found.source), ...(path.at(-1) === 'quant_method' ? summary(model, path.slice(0, -1)) : [])];
}

function fieldText({ doc, values, open, examples, default: fallback, names, each }: Field): string[] {
  const listed = Object.entries(values ?? {});
  const explained = listed.some(([, text]) => text !== '');
  const list = listed.length === 0 ? '' : explained ? listed.map(([value, text]) => `- ${code(value)}${text ? `: ${text}` : ''}`).join('\n') : `${open ? 'Such as' : 'One of'} ${listed.map(([value]) => code(value)).join(', ')}.`;
  return [
    doc, listed.length > 14 && explained ? `Values: ${listed.map(([value]) => code(value)).join(', ')}.` : list,
    !values && examples ? `Usual: ${examples.map((value) => code(written(value))).join(', ')}.` : '',
    fallback === undefined ? '' : `Default: ${code(written(fallback))}.`,
    names?.doc && !each ? `Compared by: ${names.doc}` : '',
  ].filter(Boolean);
}

export function written(value: Json): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function source(text: string | undefined): string[] {
  return text ? [`Source: ${text}`] : [];
}

/** On the key of the section that holds everything: what the file does. */
function summary(model: DialectModel, path: readonly (string | number)[]): string[] {
  const done = path.length <= 1 && fieldAt(model.root, path)?.field.source ? outcome(model) : undefined;
  const { dialect, parsed } = model;
  return done ? [`**${dialect.title}** ${outcomeText(done)}. Layers that no entry takes: ${parsed.otherwise.label}.`, dialect.rule] : [];
}
