/** What one file does to one layer, and why: ours by its rules, another tool's by that tool's own. */
import type { ExplainedEntry, FileExplanation, LayerPlan } from '../protocol';
import type { LoadedConfig } from './load';
import type { Rule } from './parse';
import { describeQuantizer, describeTransforms } from './describe';
import type { DialectEntry } from './dialects/dialect';
import { evaluate } from './dialects/evaluate';
import { isPacked } from './dialects/load';
import type { LoadedDialect } from './dialects/load';
import { compileGlob } from './glob';
import type { Checkpoint } from '../protocol';

export type Explained = Omit<FileExplanation, 'uri' | 'label'>;

const ourRule = 'Patterns are anchored at both ends, `*` stays within a dotted segment. The last rule that takes a layer decides; what it leaves out comes from `defaults`.';

export function explainByConfig({ plan, parsed, problems, checkpointPath }: LoadedConfig, name: string): Explained {
  const common = { tool: 'QuantScope', rule: ourRule, checkpoint: checkpointPath ?? null, averageBits: null };
  if (!plan) {
    const reason = problems.find(({ severity }) => severity === 'error') ?? problems[0];
    return { ...common, verdict: 'unknown', summary: reason?.message ?? 'It names no checkpoint yet.', entries: [] };
  }
  const layer = plan.layers.find((each) => each.name === name);
  if (!layer) {
    return { ...common, verdict: 'absent', summary: 'Its checkpoint has no layer of this name.', entries: [] };
  }
  const { rules } = parsed.config;
  const taking = rules.flatMap((rule, index) => {
    const pattern = takenBy(rule, name);
    return pattern ? [{ rule, index, pattern }] : [];
  });
  const last = taking.at(-1);
  const entries = taking.reverse().map(({ rule, index, pattern }): ExplainedEntry => ({
    text: plan.rules[index]?.name ? `${plan.rules[index].name}: ${pattern.text}` : pattern.text, range: pattern.range, effect: says(rule), decides: rule === last?.rule,
    why: rule === last?.rule ? 'It is the last rule that takes the layer.' : `A later rule takes the layer too, in line ${(last?.rule.range.start.line ?? 0) + 1}.`,
  }));
  const { decidedBy } = layer;
  const byDefaults = decidedBy?.rule === -1 ? [{ text: 'defaults', range: decidedBy.range, effect: says(parsed.config.defaults), decides: true, why: 'No rule takes the layer.' }] : [];
  const kept = layer.recipe.weights.kind === 'keep' && layer.recipe.activations.kind === 'keep';
  return {
    ...common, verdict: kept ? 'kept' : 'quantized', summary: decidedBy ? summary(layer) : 'Neither a rule nor `defaults` says anything about it: it stays as it is.',
    averageBits: layer.averageBits, entries: [...byDefaults, ...entries],
  };
}

/** The first pattern of a rule that takes the layer; none where an exclusion takes it out again. */
function takenBy(rule: Rule, name: string): { text: string; range: ExplainedEntry['range'] } | undefined {
  const matches = (pattern: string): boolean => compileGlob(pattern).test(name);
  const excluded = rule.layers.some(({ value }) => value.startsWith('!') && matches(value.slice(1)));
  const taken = rule.layers.find(({ value }) => !value.startsWith('!') && matches(value));
  return taken && !excluded ? { text: taken.value, range: taken.range } : undefined;
}

function says({ scheme, method, keep }: Pick<Rule, 'scheme' | 'method' | 'keep'>): string {
  const parts = [...(keep ? [`keep: ${keep.value}`] : []), ...(method ? [method.value.name] : []), ...(scheme ? [`W${scheme.value.weightBits}A${scheme.value.activationBits}`] : [])];
  return parts.length > 0 ? parts.join(' ') : 'says nothing of its own';
}

function summary({ recipe }: LayerPlan): string {
  const { weights, activations, method } = recipe;
  if (weights.kind === 'keep' && activations.kind === 'keep') {
    return `${describeQuantizer(weights)} in high precision`;
  }
  return [`${method}: weights ${describeQuantizer(weights)}`, `activations ${describeQuantizer(activations)}`, ...describeTransforms(recipe)].join(', ');
}

/** @param asked checkpoint that is used where the file has none, or one whose layers are packed and cannot all be seen */
export function explainByDialect(loaded: LoadedDialect, name: string, asked: Checkpoint | undefined): Explained {
  const { dialect, parsed } = loaded;
  const has = (checkpoint: Checkpoint | undefined): boolean => checkpoint?.layers.some((layer) => layer.name === name) ?? false;
  const complete = loaded.checkpoint !== undefined && !isPacked(loaded.checkpoint);
  const checkpoint = has(loaded.checkpoint) ? loaded.checkpoint : !complete && has(asked) ? asked : undefined;
  const common = { tool: dialect.title, rule: dialect.rule, checkpoint: checkpoint?.path ?? loaded.checkpointPath ?? null, averageBits: null };
  const broken = parsed.problems.find(({ severity }) => severity === 'error');
  if (!checkpoint) {
    return { ...common, entries: [], ...(loaded.checkpoint
      ? { verdict: 'absent', summary: 'Its checkpoint has no layer of this name.' } : { verdict: 'unknown', summary: 'No checkpoint stands beside it, so nothing says what its entries take.' }) };
  }
  const decision = (checkpoint === loaded.checkpoint ? loaded.decisions : evaluate(parsed, checkpoint).decisions).find(({ layer }) => layer.name === name);
  if (!decision) {
    return { ...common, verdict: 'unknown', summary: 'The tool passes over layers like this one.', entries: [] };
  }
  const decides = (entry: DialectEntry): boolean => entry === decision.entry || entry === decision.also || (entry.text === decision.entry?.text && entry.builtin !== undefined && entry.builtin === decision.entry.builtin);
  const taking = [...parsed.entries, ...parsed.builtin?.(checkpoint) ?? []].filter((entry) => !entry.aside && entry.takes(decision.layer));
  const entries = taking.map((entry): ExplainedEntry => ({
    text: entry.text, range: entry.builtin === undefined ? entry.range : null, effect: entry.treatment.label, decides: decides(entry),
    why: [entry.builtin, decides(entry) ? (taking.length > 1 ? 'Of those that take the layer it decides.' : 'It alone takes the layer.') : 'It takes the layer too, but another decides.'].filter(Boolean).join(': '),
  }));
  const { treatment } = decision;
  const quiet = taking.length === 0 ? 'No entry takes it: ' : '';
  return {
    ...common, verdict: treatment.kind === 'keep' ? 'kept' : 'quantized', entries: [...entries.filter((each) => each.decides), ...entries.filter((each) => !each.decides)],
    summary: `${quiet}${treatment.kind === 'keep' ? 'kept as it is' : treatment.label}${broken ? `. The tool refuses this file: ${broken.message}` : ''}`,
  };
}
