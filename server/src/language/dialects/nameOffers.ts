/** Names and patterns for a list of another tool, each with what it takes by that tool's own rule. */
import { CompletionItemKind } from 'vscode-languageserver-types';
import type { NameRule } from '../../config/dialects/field';
import { RegexFault } from '../../config/dialects/regexParser';
import type { Checkpoint, Layer } from '../../protocol';
import type { Offer } from '../completionItems';
import { layerCount, percent, separator, share } from '../text';

/** Editors stay quick with this many; typing more narrows the list. */
const maxOffers = 60;

/** What names take, by checkpoint and rule: counting is the expensive part. */
const counted = new WeakMap<Checkpoint, WeakMap<NameRule, Map<string, Layer[]>>>();

/** @param insert the text as the file writes it. @param taken what the list holds already */
export function nameOffers(rule: NameRule, checkpoint: Checkpoint | undefined, typed: string, taken: readonly string[], insert: (name: string) => string): Offer[] {
  const text = typed.toLowerCase();
  const fitting = rule.offers(checkpoint).filter((name) => name.toLowerCase().includes(text) && !taken.includes(name));
  return fitting.slice(0, maxOffers).map((name): Offer => {
    const layers = checkpoint && layersOf(rule, name, checkpoint);
    return {
      label: name, newText: insert(name), always: true, kind: layers?.length === 1 ? CompletionItemKind.Field : CompletionItemKind.Class,
      ...(layers && checkpoint ? { detail: [layerCount(layers.length), percent(share(layers, checkpoint.layers))].join(separator) } : {}),
      ...(layers && layers.length > 0 ? { documentation: `${layers.slice(0, 5).map((layer) => `- \`${layer.name}\``).join('\n')}${layers.length > 5 ? `\n- … and ${layers.length - 5} more` : ''}` } : {}),
    };
  });
}

function layersOf(rule: NameRule, name: string, checkpoint: Checkpoint): Layer[] {
  const rules = counted.get(checkpoint) ?? new WeakMap<NameRule, Map<string, Layer[]>>();
  counted.set(checkpoint, rules);
  const names = rules.get(rule) ?? new Map<string, Layer[]>();
  rules.set(rule, names);
  const known = names.get(name) ?? count(rule, name, checkpoint);
  names.set(name, known);
  return known;
}

/** A name that makes no pattern in the tool's language takes nothing. */
function count(rule: NameRule, name: string, { layers }: Checkpoint): Layer[] {
  try {
    const takes = rule.takes(name);
    return layers.filter((layer) => takes(layer));
  } catch (error) {
    if (error instanceof RegexFault) {
      return [];
    }
    throw error;
  }
}
