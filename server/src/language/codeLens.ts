import type { CodeLens, Command } from 'vscode-languageserver-types';
import { formatBytes } from '../config/resolve';
import type { Model } from './model';
import { bits, layerCount, separator } from './text';

/** What the file amounts to and what can be done with it, above its first line; with each rule, and with the budget, above them. The commands are the client's. */
export function codeLenses(model: Model): CodeLens[] {
  const { plan, parsed, document } = model;
  if (!plan) {
    return [];
  }
  const lens = (line: number, command: Command): CodeLens => ({ range: { start: { line, character: 0 }, end: { line, character: 0 } }, command });
  const { budget } = parsed.config;
  const { checkpointBytes, averageBits } = plan.totals;
  const over = budget !== undefined && ('bytes' in budget.value ? checkpointBytes > budget.value.bytes : averageBits > budget.value.bits);
  const rules = parsed.config.rules.flatMap((rule, index) => {
    const { matchedLayers = 0, decidedLayers = 0 } = plan.rules[index] ?? {};
    const { line } = rule.range.start;
    return [
      ...(matchedLayers > 0 ? [lens(line, { title: decidedLayers < matchedLayers ? `Decides ${decidedLayers} of ${layerCount(matchedLayers)}` : `Decides ${layerCount(matchedLayers)}`, command: 'quantscope.showPlan', arguments: [document.uri, rule.name] })] : []),
      ...(decidedLayers > 0 && !rule.keep ? [lens(line, { title: 'Preview This Rule Only', command: 'quantscope.previewRule', arguments: [document.uri, index] })] : []),
    ];
  });
  return [
    lens(0, { title: [formatBytes(checkpointBytes), bits(averageBits), ...over ? ['over the budget'] : []].join(separator), command: 'quantscope.showPlan', arguments: [document.uri] }),
    lens(0, { title: 'Preview', command: 'quantscope.preview', arguments: [document.uri] }),
    lens(0, { title: 'Analyze', command: 'quantscope.analyze', arguments: [document.uri] }),
    lens(0, { title: 'Rank Layers', command: 'quantscope.rankLayers', arguments: [document.uri] }),
    ...rules,
    ...(budget ? [lens(budget.range.start.line, { title: 'Allocate Bits', command: 'quantscope.allocate', arguments: [document.uri] })] : []),
  ];
}
