import { TextDocument } from 'vscode-languageserver-textdocument';
import { parseConfig } from '../../../server/src/config/parse';
import type { ParsedConfig, QuantConfig } from '../../../server/src/config/parse';
import { resolvePlan } from '../../../server/src/config/resolve';
import type { Checkpoint, Plan, Problem, QuickFix, Range } from '../../../server/src/protocol';

export function documentOf(text: string): TextDocument {
  return TextDocument.create('file:///project/model.quant.yaml', 'quantconfig', 1, text);
}

export function parse(text: string): ParsedConfig {
  return parseConfig(documentOf(text));
}

/** The config of a text that has no problems. */
export function configOf(...lines: string[]): QuantConfig {
  const { config, problems } = parse(['version: 1', 'checkpoint: ./model', ...lines].join('\n'));
  if (problems.length > 0) {
    throw new Error(problems.map((problem) => problem.message).join('\n'));
  }
  return config;
}

export function planOf(checkpoint: Checkpoint, ...lines: string[]): Plan {
  return resolvePlan(configOf(...lines), checkpoint);
}

/** Text that a range covers. */
export function slice(text: string, range: Range | undefined): string {
  return range ? documentOf(text).getText(range) : '(no range)';
}

/** `severity code [text under the range] message`, one per problem. */
export function found(text: string, problems: readonly Problem[] = parse(text).problems): string[] {
  return problems.map((problem) => `${problem.severity} ${problem.code} [${slice(text, problem.range)}] ${problem.message}`);
}

/** The text after the first quick fix of the first problem that has one. */
export function fixed(text: string, problems: readonly Problem[] = parse(text).problems): string {
  return applied(text, problems.find((problem) => problem.data)?.data?.fixes[0]);
}

/** The text after this quick fix. */
export function applied(text: string, fix: QuickFix | undefined): string {
  return TextDocument.applyEdits(documentOf(text), (fix?.edits ?? []).map(({ range, text: newText }) => ({ range, newText })));
}
