/** Whole rules for this checkpoint: what the papers keep at more bits, as the method of the defaults has it, with patterns that take exactly those layers. */
import { CompletionItemKind } from 'vscode-languageserver-types';
import { matchList } from '../config/match';
import { patternsFor } from '../config/template';
import { methods } from '../methods';
import type { Offer } from './completionItems';
import type { Model } from './model';
import { layerCount, percent, separator, share } from './text';

export interface RuleSnippet extends Omit<Offer, 'newText'> { /** Keys of the rule, one per line, without the dash. */ body: string }

export function ruleSnippets({ checkpoint, parsed: { config } }: Model): RuleSnippet[] {
  const method = methods.get(config.defaults.method?.value.name ?? 'orbitquant');
  const scheme = config.defaults.scheme?.value ?? { weightBits: 4, activationBits: 4 };
  if (!checkpoint || !method) {
    return [];
  }
  const named = new Set(config.rules.map(({ name }) => name));
  return method.policy(checkpoint.architecture, scheme).filter(({ name }) => !named.has(name)).flatMap(({ name, roles, wider, settings }): RuleSnippet[] => {
    const patterns = patternsFor(checkpoint, roles, wider);
    const matched = [...matchList(checkpoint, patterns)].flatMap((index) => checkpoint.layers[index] ?? []);
    const body = [`name: ${name}`, `layers: [${patterns.map((pattern) => JSON.stringify(pattern)).join(', ')}]`, ...settings].join('\n  ');
    return patterns.length === 0 ? [] : [{
      label: `rule: ${name}`, kind: CompletionItemKind.Snippet, detail: [layerCount(matched.length), percent(share(matched, checkpoint.layers)), `as ${method.title} has it`].join(separator), body: body.replaceAll(/[$\\]/g, '\\$&'), snippet: true,
      documentation: `\`\`\`yaml\n- ${body}\n\`\`\``,
    }];
  });
}
