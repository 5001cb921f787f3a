/** The report's short form, to paste into a pull request. GitHub shows no inlined pictures, so these are links where they were written beside it. */
import { basename } from 'node:path';
import { formatBytes } from '../../config/resolve';
import { markdownTable as table } from '../../markdown';
import type { Evidence } from '.';
import type { Comparison } from './comparison';
import { agreementMetrics, metricText, spreadText } from './metrics';
import type { PictureRow, Triple } from './pictures';
import { controlTexts, isEstimate, lpipsNote, measuredOn, provenance, rankingText, scoreText, seedsText, settingTexts, shortName, stepText, thresholdsText } from './words';

/** Layers and findings listed here; the JSON beside it has all. */
const listed = 8;

/** @param links of the pictures, relative to the file */
export function evidenceMarkdown(evidence: Evidence, links: ReadonlyMap<PictureRow, Triple> = new Map()): string {
  const { config, plan, scope, comparison, gates } = evidence;
  return [
    `# Quantization evidence: ${inline(config.name)}`, '',
    table(['', ''], [
      ['Checkpoint', `${code(basename(plan.checkpoint))} (${inline(plan.architecture)})`],
      ['Scope', `${scope.quantized} of ${scope.layers} linear layers quantized (${scope.activations} with activations), ${scope.paramsPercent.toFixed(2)} % of the linear weights`],
      ['True average', `**${scope.averageBits.toFixed(3)} bits** per linear weight, side data included`],
      ['Size', `${formatBytes(scope.checkpointBytes)}, was ${formatBytes(scope.originalBytes)}; linear weights ${formatBytes(scope.baselineBytes)} → ${formatBytes(scope.packedBytes)}`],
    ]), '',
    ...('missing' in comparison ? ['## Same-seed comparison', '', `There is none. ${inline(comparison.missing)}`, ''] : comparisonLines(comparison.found, links)),
    ...(gates.length === 0 ? [] : [table(['gate', 'at least', 'measured', 'result'], gates.map(({ metric, atLeast, value, passed, why }) => [metric, String(atLeast), value === null ? '–' : value.toFixed(4), `**${passed ? 'passed' : 'FAILED'}**, ${why}`])), '']),
    ...rankingLines(evidence),
    ...findingLines(evidence),
    ...details('Rules', table(['rule', '#layers', '#share of weights', '#average bits'], scope.rules.map(({ name, text, decides, matches, paramsPercent, averageBits }) =>
      [`${inline(name)}: ${text === null ? 'what no rule takes' : code(text)}`, matches === null ? String(decides) : `${decides} of ${matches}`, `${paramsPercent.toFixed(2)} %`, averageBits?.toFixed(3) ?? '–']))),
    ...details('Layers furthest above the expected distortion', worstLayers(evidence)),
    ...details('Versions and hashes', table(['', ''], provenance(evidence).map(([title, value]) => [title, inline(value)]))),
  ].join('\n').trimEnd() + '\n';
}

function comparisonLines(found: Comparison, links: ReadonlyMap<PictureRow, Triple>): string[] {
  const { settings, items, refused, metrics, seeds, pictures } = found;
  const how = inline([...settingTexts(settings), seedsText(found), ...items].join(' · '));
  if (refused !== null || !metrics) {
    return ['## Same-seed comparison', '', how, '', `**${inline(refused ?? '')}**`, ''];
  }
  const rows = pictures.flatMap((row) => {
    const to = links.get(row);
    const place = `${shortName(row.name)}, ${stepText(row.step, settings.steps)}${row.frames > 1 ? `, frame ${row.frame + 1}` : ''}`;
    const image = (kind: keyof Triple): string => `![${kind}](${to?.[kind] ?? ''})`;
    return to ? [[inline(place), image('reference'), image('quantized'), `${image('difference')}<br>white: ${row.differenceEnd} of 255`, inline(agreementMetrics.map((metric) => `${metric.title} ${metricText(metric, row.metrics[metric.id])}`).join(', '))]] : [];
  });
  return [
    '## Same-seed comparison', '', how, '',
    table(['metric', 'direction', '#n', '#mean ± standard deviation', '#worst item of any seed'], agreementMetrics.map((metric) => {
      const { worst, ...spread } = metrics[metric.id];
      return [metric.title, metric.direction, String(seeds.length), spreadText(metric, spread), worst ? `${worst.finite ? metricText(metric, worst.value) : 'not finite'} (${inline(shortName(items[worst.item] ?? ''))}, seed ${worst.seed})` : '–'];
    })), '',
    `Of the ${measuredOn(found)}. The reference is finite and not uniform. ${rows.length > 0 ? '' : lpipsNote}`.trimEnd(), '',
    ...(rows.length === 0 ? [] : [table(['', 'reference', 'quantized', 'difference', 'higher is better'], rows), '']),
  ];
}

function rankingLines({ ranking }: Evidence): string[] {
  if ('missing' in ranking) {
    return ['## Sensitivity', '', `There is none. ${inline(ranking.missing)}`, ''];
  }
  const { found } = ranking;
  const estimate = isEstimate(found);
  return [
    `## Sensitivity${estimate ? ' (estimate)' : ''}`, '', inline(rankingText(found)), '',
    table([found.by, `#${estimate ? 'estimated error' : 'error'}, lower is better`], found.layers.slice(0, listed).map(({ name, score }) => [code(name), scoreText(score)])), '',
    ...controlTexts(found).map((text) => `- ${inline(text)}`), '',
  ];
}

function findingLines(evidence: Evidence): string[] {
  const { findings, analysis } = evidence;
  const all = [...findings.map(({ layer, text }) => `- ${code(layer)}: ${inline(text)}`), ...analysis.failures.map(({ name, message }) => `- ${code(name)} could not be measured: ${inline(message)}`)];
  const bounds = inline(thresholdsText(evidence));
  return all.length === 0 ? ['## Findings', '', `No findings. ${bounds}`, ''] : ['## Findings', '', ...all.slice(0, listed), ...(all.length > listed ? [`- and ${all.length - listed} more`] : []), '', bounds, ''];
}

function worstLayers({ layers }: Evidence): string {
  const worst = [...layers].sort((a, b) => (b.deviation ?? 0) - (a.deviation ?? 0)).slice(0, listed);
  return [
    'Relative MSE: lower is better; SQNR in dB: higher is better; × expected: 1 is the quantizer\'s promise.', '',
    table(['layer', 'method', '#relative MSE', '#SQNR dB', '#× expected', '#KS before → rotated'], worst.map(({ plan, report: { weight, marginal }, deviation }) =>
      [code(plan.name), inline(plan.recipe.method), weight.relativeMse.toExponential(3), weight.sqnrDb?.toFixed(2) ?? '∞', deviation?.toFixed(3) ?? '–', `${marginal.before.ks.toFixed(4)} → ${marginal.after.ks.toFixed(4)}`])),
  ].join('\n');
}

function details(title: string, content: string): string[] {
  return [`<details><summary>${title}</summary>`, '', content, '', '</details>', ''];
}

/** Names come from files: nothing in them may become markup, end a cell or call somebody. */
function inline(text: string): string {
  return text.replace(/\s+/g, ' ').replace(/[\\`*_[\]<>|#~]/g, (character) => `\\${character}`).replaceAll('@', '@\u200b');
}

function code(text: string): string {
  return `\`${text.replace(/\s+/g, ' ').replaceAll('|', '\\|').replaceAll('`', "'")}\``;
}
