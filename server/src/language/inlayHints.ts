/** What every rule takes, behind the rule: `38 layers · 15.07 % · 4.005 bits`. */
import type { InlayHint, Position, Range } from 'vscode-languageserver-types';
import { formatBytes } from '../config/resolve';
import { find } from '../config/tree';
import type { EntryMatch, Plan, RuleMatch } from '../protocol';
import type { Model } from './model';
import { bits, layerCount, percent, separator, share } from './text';
import { contains } from './tree';

export function inlayHints(model: Model, range: Range): InlayHint[] {
  return [...checkpointHint(model), ...planHints(model)].filter((hint) => contains(range, hint.position));
}

function checkpointHint({ checkpoint, parsed }: Model): InlayHint[] {
  const named = parsed.config.checkpoint;
  if (!checkpoint || !named) {
    return [];
  }
  const bytes = checkpoint.tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
  return [hint(named.range.end, [checkpoint.architecture, layerCount(checkpoint.layers.length), formatBytes(bytes)],
    `${checkpoint.architecture}: ${layerCount(checkpoint.layers.length)} that can be quantized, ${checkpoint.tensors.length} tensors, ${formatBytes(bytes)} as stored.`)];
}

function planHints({ plan, parsed, document }: Model): InlayHint[] {
  if (!plan) {
    return [];
  }
  const { config, root } = parsed;
  const endOfLine = (position: Position): Position => document.positionAt(document.offsetAt({ line: position.line, character: Number.MAX_SAFE_INTEGER }));
  const hints = plan.rules.flatMap((rule, index) => {
    const written = config.rules[index];
    if (!written || written.layers.length === 0) {
      return [];
    }
    // A list of dashes gets the rule's hint on the line of its key, and each pattern its own.
    const isBlock = rule.range.start.line > written.layersKey.end.line;
    // A list whose bracket or quote is open ends where the next key begins, for the parser; for the eye it ends with its line.
    const { start, end } = rule.range;
    const isOpen = end.line > start.line && document.getText({ start, end }).at(-1) !== ']';
    const at = isBlock ? endOfLine(written.layersKey.end) : isOpen ? endOfLine(start) : end;
    const own = isBlock && rule.patterns.length > 1 ? rule.patterns.map((pattern) => patternHint(pattern)) : [];
    return [ruleHint(rule, at), ...own];
  });
  const defaults = find(root, 'defaults')?.value;
  if (defaults) {
    const block = defaults.kind === 'map' && defaults.range.start.line > (find(root, 'defaults')?.keyRange.end.line ?? 0);
    hints.push(defaultsHint(plan, block ? endOfLine(find(root, 'defaults')?.keyRange.end ?? defaults.range.start) : defaults.range.end));
  }
  const budget = find(root, 'budget');
  if (budget && config.budget) {
    const block = budget.value.range.start.line > budget.keyRange.end.line;
    hints.push(budgetHint(plan, block ? config.budget.range.end : budget.value.range.end));
  }
  return hints;
}

function ruleHint(rule: RuleMatch, at: Position): InlayHint {
  const { matchedLayers, decidedLayers, matchedParamsPercent, averageBits } = rule;
  if (matchedLayers === 0) {
    return hint(at, [layerCount(0)], 'No layer of the checkpoint matches. Hover the pattern, or see its diagnostic.');
  }
  const decided = decidedLayers === matchedLayers ? '' : ` (${decidedLayers} decided)`;
  return hint(at, [layerCount(matchedLayers) + decided, percent(matchedParamsPercent), ...(averageBits === null ? [] : [bits(averageBits)])],
    `Matches ${layerCount(matchedLayers)} with ${percent(matchedParamsPercent)} of all linear weights. ` +
    (decidedLayers === matchedLayers ? 'Decides all of them' : `Later rules take ${matchedLayers - decidedLayers}; it decides ${decidedLayers}`) +
    (averageBits === null ? '.' : `: ${bits(averageBits)} per weight, scales and norms included.`));
}

function patternHint(pattern: EntryMatch): InlayHint {
  return hint(pattern.range.end, [layerCount(pattern.matchedLayers), percent(pattern.matchedParamsPercent)],
    `${pattern.text.startsWith('!') ? 'Excludes' : 'Matches'} ${layerCount(pattern.matchedLayers)} with ${percent(pattern.matchedParamsPercent)} of all linear weights.`);
}

function defaultsHint(plan: Plan, at: Position): InlayHint {
  const decided = plan.layers.filter((layer) => layer.decidedBy?.rule === -1);
  const part = share(decided, plan.layers);
  const average = decided.reduce((sum, layer) => sum + layer.packedBytes, 0) * 8 / decided.reduce((sum, layer) => sum + layer.params, 0);
  return hint(at, [layerCount(decided.length), ...(decided.length > 0 ? [percent(part), bits(average)] : [])],
    decided.length > 0 ? `No rule takes these ${layerCount(decided.length)} with ${percent(part)} of all linear weights: ${bits(average)} per weight, scales and norms included.`
      : 'Rules take every layer; defaults only fill in what they leave out.');
}

function budgetHint({ totals }: Plan, at: Position): InlayHint {
  return hint(at, [formatBytes(totals.checkpointBytes), bits(totals.averageBits)],
    `Now: ${formatBytes(totals.checkpointBytes)} for the whole quantized checkpoint, of which ${formatBytes(totals.otherBytes)} are not linear weights; ` +
    `${bits(totals.averageBits)} per linear weight, side data included.`);
}

function hint(position: Position, parts: readonly string[], tooltip: string): InlayHint {
  return { position, label: parts.join(separator), tooltip, paddingLeft: true };
}
