/** The numbers of hovers: matched layers, measured errors, sizes. Every number says its unit, and which direction is better. */
import { copiesIn } from '../checkpoint/copies';
import { describeNeeds, describeQuantizer, describeTransforms } from '../config/describe';
import { matchList } from '../config/match';
import type { Budget, Rule } from '../config/parse';
import { formatBytes } from '../config/resolve';
import type { Checkpoint, Layer, LayerPlan, LayerReport, Plan, Recipe } from '../protocol';
import type { Model } from './model';
import { bits, code, layerCount, markdownTable, paramsOf, percent, share } from './text';
import type { FoundPattern } from './tree';

const maxRows = 14;

export function checkpointHover({ architecture, kind, layers, tensors, problems }: Checkpoint): string {
  const bytes = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
  const linear = layers.reduce((sum, layer) => sum + layer.tensor.bytes, 0);
  return [
    `**${architecture}** (${kind}): ${layerCount(layers.length)} with ${formatBytes(linear)} of linear weights; ${tensors.length} tensors, ${formatBytes(bytes)} in all.`,
    ...problems.map((problem) => `- ${problem.message}`),
  ].join('\n');
}

export function patternHover(model: Model, { rule, pattern }: FoundPattern, checkpoint: Checkpoint): string {
  const excludes = pattern.value.startsWith('!');
  const matched = layersOf(checkpoint, pattern.value.replace(/^!/, ''));
  const title = `${code(pattern.value)} ${excludes ? 'excludes' : 'matches'} **${layerCount(matched.length)}**, ${percent(share(matched, checkpoint.layers))} of all linear weights.${excludes ? takenOut(rule, matched, checkpoint) : ''}`;
  if (matched.length === 0) {
    return `${title}\n\n\`*\` stays within one dotted segment, \`**\` crosses segments; both ends are anchored.`;
  }
  return [title, groupTable(matched, checkpoint), ...(excludes ? [] : [decides(model, rule.index, matched), ...calibrated(model, decidedBy(model, rule.index))]), measured(model.reports, matched)].filter(Boolean).join('\n\n');
}

/** How much an exclusion does in its own rule. */
function takenOut({ layers }: Rule, excluded: readonly Layer[], checkpoint: Checkpoint): string {
  const taken = new Set(matchList(checkpoint, layers.map(({ value }) => value).filter((value) => !value.startsWith('!'))));
  const names = new Set(excluded.map(({ name }) => name));
  const out = [...taken].filter((index) => names.has(checkpoint.layers[index]?.name ?? '')).length;
  return ` It takes ${out === 0 ? 'none' : String(out)} of the ${layerCount(taken.size)} out that the other patterns of this rule match.`;
}

/** A rule with all its patterns, exclusions applied. */
export function ruleHover(model: Model, rule: Rule, checkpoint: Checkpoint): string {
  const matched = [...matchList(checkpoint, rule.layers.map(({ value }) => value))].flatMap((index) => checkpoint.layers[index] ?? []);
  return [
    `This rule matches **${layerCount(matched.length)}**, ${percent(share(matched, checkpoint.layers))} of all linear weights.`,
    ...(matched.length > 0 ? [groupTable(matched, checkpoint), decides(model, rule.index, matched), measured(model.reports, matched)] : []),
  ].filter(Boolean).join('\n\n');
}

/** What layers amount to under the plan. */
export function decided(plans: readonly LayerPlan[]): string {
  const packed = plans.reduce((sum, layer) => sum + layer.packedBytes, 0);
  return plans.length === 0 ? 'Decides no layer.' : `Decides ${layerCount(plans.length)}: **${bits((packed * 8) / Math.max(1, paramsOf(plans)))}** per weight with side data, ${formatBytes(packed)} packed.`;
}

/** What a pattern would take that stands nowhere yet, for the narrow pane beside a list: where the layers are, and what decides them now. */
export function patternDocs({ reports, plan }: Model, pattern: string, checkpoint: Checkpoint): string {
  const matched = layersOf(checkpoint, pattern);
  const names = new Set(matched.map(({ name }) => name));
  const deciders = new Map<string, number>();
  (plan?.layers ?? []).filter(({ name }) => names.has(name)).forEach(({ decidedBy }) => deciders.set(decidedBy?.name ?? 'no rule', (deciders.get(decidedBy?.name ?? 'no rule') ?? 0) + 1));
  const rows = groups(matched, checkpoint);
  return [
    rows.slice(0, maxRows).map(([place = '', role = '', count = '', part = '']) => `- ${place}: ${count} × ${role}, ${part}`).join('\n'),
    rows.length > maxRows ? `… and ${rows.length - maxRows} more groups.` : '',
    deciders.size > 0 ? `Decided now by ${[...deciders].map(([name, count]) => `${code(name)} (${count})`).join(', ')}.` : '',
    measured(reports, matched),
  ].filter(Boolean).join('\n\n');
}

function layersOf(checkpoint: Checkpoint, pattern: string): Layer[] {
  return [...matchList(checkpoint, [pattern])].flatMap((index) => checkpoint.layers[index] ?? []);
}

/** One row per list of blocks and role. */
export function groupTable(matched: readonly Layer[], checkpoint: Checkpoint): string {
  const rows = groups(matched, checkpoint);
  const rest = rows.length > maxRows ? `\n\n… and ${rows.length - maxRows} more groups.` : '';
  return markdownTable(['block', 'role', '#layers', '#share of weights'], rows.slice(0, maxRows)) + rest;
}

function groups(matched: readonly Layer[], checkpoint: Checkpoint): string[][] {
  const found = new Map<string, { place: string; role: string; blocks: string[]; layers: Layer[] }>();
  for (const layer of matched) {
    const [, list = '', index = ''] = /^(.*)\.(\d+)$/s.exec(layer.block ?? '') ?? [];
    const key = `${list}|${layer.role}`;
    const group = found.get(key) ?? { place: list, role: layer.role, blocks: [], layers: [] };
    group.layers.push(layer);
    if (index !== '' && group.blocks.at(-1) !== index) {
      group.blocks.push(index);
    }
    found.set(key, group);
  }
  return [...found.values()].map(({ place, role, blocks, layers }) => [
    place === '' ? 'outside of blocks' : code(`${place}.${spans(blocks.map(Number))}`), role, String(layers.length), percent(share(layers, checkpoint.layers)),
  ]);
}

/** [0, 1, 2, 5] → '0–2,5'. */
function spans(numbers: readonly number[]): string {
  const found: [number, number][] = [];
  for (const number of [...new Set(numbers)].sort((a, b) => a - b)) {
    const last = found.at(-1);
    if (last && last[1] === number - 1) {
      last[1] = number;
    } else {
      found.push([number, number]);
    }
  }
  const texts = found.map(([from, to]) => (from === to ? String(from) : `${from}–${to}`));
  return texts.length > 6 ? `${texts.slice(0, 6).join(',')},…` : texts.join(',');
}

function decidedBy({ plan }: Model, rule: number): LayerPlan[] { return plan?.layers.filter((layer) => layer.decidedBy?.rule === rule) ?? []; }

function decides(model: Model, rule: number, matched: readonly Layer[]): string {
  const names = new Set(matched.map((layer) => layer.name));
  const plans = (model.plan?.layers ?? []).filter((layer) => names.has(layer.name));
  const own = plans.filter((layer) => layer.decidedBy?.rule === rule);
  const params = paramsOf(own);
  const packed = own.reduce((sum, layer) => sum + layer.packedBytes, 0);
  const average = params > 0 ? `: ${bits((packed * 8) / params)} per weight with side data, ${formatBytes(packed)} packed` : '';
  if (plans.length === 0) {
    return '';
  }
  return own.length === plans.length ? `This rule decides all of them${average}.` : `This rule decides ${own.length} of them${average}; later rules or exclusions take the rest.`;
}

/** What the recipes of these layers have to know of their inputs, and whether it is there. */
export function calibrated({ gathered }: Model, plans: readonly LayerPlan[]): string[] {
  const needs = new Map<string, LayerPlan[]>();
  for (const plan of plans) {
    const what = describeNeeds(plan.recipe);
    needs.set(what, [...(needs.get(what) ?? []), plan]);
  }
  needs.delete('');
  return [...needs].map(([what, layers]) => {
    const known = layers.filter(({ name }) => gathered?.get(name)).length;
    const state = !gathered ? 'gathered when first needed' : known === layers.length ? 'gathered' : known === 0 ? 'not gathered yet' : `gathered for ${known} of ${layers.length} layers`;
    return `needs ${what} from calibration runs: ${state}`;
  });
}

/** Ranges over the layers that have been measured. */
function measured(reports: ReadonlyMap<string, LayerReport>, matched: readonly Layer[]): string {
  const found = matched.flatMap((layer) => reports.get(layer.name) ?? []);
  if (found.length === 0) {
    return '';
  }
  const errors = found.map((report) => report.weight.relativeMse);
  const worst = found.map((report) => ({ name: report.name, factor: deviation(report) ?? -1 })).reduce((a, b) => (b.factor > a.factor ? b : a));
  const mean = (value: (report: LayerReport) => number): number => found.reduce((sum, report) => sum + value(report), 0) / found.length;
  return [
    `Measured on ${found.length === matched.length ? 'all of them' : `${found.length} of ${matched.length}`}:`,
    `- relative MSE ${scientific(Math.min(...errors))} to ${scientific(Math.max(...errors))} (lower is better)`,
    ...(worst.factor >= 0 ? [`- up to ${worst.factor.toFixed(3)} × the expected distortion (1 is what the quantizer promises), in ${code(worst.name)}`] : []),
    `- mean KS distance to the marginal ${mean((report) => report.marginal.before.ks).toFixed(4)} before → ${mean((report) => report.marginal.after.ks).toFixed(4)} after rotation (lower is better)`,
  ].join('\n');
}

function deviation({ weight }: LayerReport): number | null {
  return weight.expectedRelativeMse ? weight.relativeMse / weight.expectedRelativeMse : null;
}

function scientific(value: number): string {
  return value === 0 ? '0' : value.toExponential(3);
}

export function layerHover(model: Model, layer: Layer, checkpoint: Checkpoint): string {
  const { tensor } = layer;
  const plan = model.plan?.layers.find((each) => each.name === layer.name);
  const packed = plan ? ` → ${formatBytes(plan.packedBytes)} packed, ${bits(plan.averageBits)} per weight with side data` : '';
  return [
    `**${code(layer.name)}**: ${layer.role}${layer.block === null ? ', outside of blocks' : ` of ${code(layer.block)}`}`,
    [
      `- ${layer.outFeatures} × ${layer.inFeatures} (out × in), ${tensor.dtype}, ${percent(share([layer], checkpoint.layers))} of all linear weights`,
      `- ${formatBytes(tensor.bytes)} stored${packed}`,
      ...(plan ? [`- ${describeRecipe(plan.recipe)}; decided by ${plan.decidedBy ? code(plan.decidedBy.name) : 'no rule'}`, ...calibrated(model, [plan]).map((line) => `- ${line}`)] : []),
      ...copiesIn(checkpoint).flatMap(({ pattern, layers }) => layers.filter((copies) => copies.includes(layer)).map((copies) => `- one of ${copies.length} copies of the same layer, which is computed once: ${code(pattern)} takes them all`)),
    ].join('\n'),
    layerReport(model.reports.get(layer.name)),
  ].filter(Boolean).join('\n\n');
}

export function describeRecipe(recipe: Recipe): string {
  const { weights } = recipe;
  return recipe.method === 'keep' ? `not quantized${weights.kind === 'keep' && weights.dtype !== 'original' ? `, stored as ${weights.dtype}` : ''}`
    : `${recipe.method}: ${[...describeTransforms(recipe), `weights ${describeQuantizer(recipe.weights)}`, `activations ${describeQuantizer(recipe.activations)}`].join(', ')}`;
}

function layerReport(report: LayerReport | undefined): string {
  if (!report) {
    return '';
  }
  const { weight, marginal, rows, sampledRows, nonFinite } = report;
  const factor = deviation(report);
  return [
    `Measured${sampledRows < rows ? ` on ${sampledRows} of ${rows} rows` : ''}:`,
    `- SQNR ${weight.sqnrDb === null ? '∞' : weight.sqnrDb.toFixed(2)} dB (higher is better), relative MSE ${scientific(weight.relativeMse)} (lower is better)`,
    ...(factor === null ? [] : [`- ${factor.toFixed(3)} × the expected ${scientific(weight.expectedRelativeMse ?? 0)} (1 is what the quantizer promises)`]),
    `- KS distance to the marginal ${marginal.before.ks.toFixed(4)} before → ${marginal.after.ks.toFixed(4)} after rotation (lower is better); ` +
      `ρ ${marginal.rho.toFixed(2)} (far above 1: the rotation cannot promise the marginal)`,
    ...(nonFinite > 0 ? [`- ${nonFinite} weights are NaN or infinite; their rows are left out`] : []),
  ].join('\n');
}

export function planSize({ totals }: Plan, budget: Budget['value'] | undefined): string {
  const now = `Now: **${formatBytes(totals.checkpointBytes)}** for the whole quantized checkpoint (${formatBytes(totals.packedBytes)} linear weights with side data, ` +
    `${formatBytes(totals.otherBytes)} other tensors), **${bits(totals.averageBits)}** per linear weight; ${formatBytes(totals.baselineBytes + totals.otherBytes)} as stored.`;
  if (!budget) {
    return now;
  }
  const left = 'bytes' in budget ? budget.bytes - totals.checkpointBytes : budget.bits - totals.averageBits;
  const amount = 'bytes' in budget ? formatBytes(Math.abs(left)) : bits(Math.abs(left));
  return `${now}\n\n${left >= 0 ? `${amount} below the budget.` : `${amount} **over** the budget.`}`;
}
