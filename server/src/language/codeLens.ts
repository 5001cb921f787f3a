import type { CodeLens, Command } from 'vscode-languageserver-types';
import type { Model } from './model';

/** What can be done with the file, above its first line, with each rule, and with the budget, above them. The commands are the client's. */
export function codeLenses(model: Model): CodeLens[] {
  const { plan, parsed, document } = model;
  if (!plan) {
    return [];
  }
  const lens = (line: number, command: Command): CodeLens => ({ range: { start: { line, character: 0 }, end: { line, character: 0 } }, command });
  const { budget } = parsed.config;
  const rules = parsed.config.rules.flatMap((rule, index) => {
    const decides = plan.rules[index]?.decidedLayers ?? 0;
    return decides > 0 && !rule.keep
      ? [lens(rule.range.start.line, { title: 'Preview This Rule Only', command: 'quantscope.previewRule', arguments: [document.uri, index] })] : [];
  });
  return [
    lens(0, { title: 'Preview', command: 'quantscope.preview', arguments: [document.uri] }),
    lens(0, { title: 'Analyze', command: 'quantscope.analyze', arguments: [document.uri] }),
    lens(0, { title: 'Rank Layers', command: 'quantscope.rankLayers', arguments: [document.uri] }),
    ...rules,
    ...(budget ? [lens(budget.range.start.line, { title: 'Allocate Bits', command: 'quantscope.allocate', arguments: [document.uri] })] : []),
  ];
}
