/** The report's short form, to paste into a pull request. */
import { basename } from 'node:path';
import { formatBytes } from '../config/resolve';
import type { Evidence } from './evidence';

/** Layers listed in full; the JSON beside it has all. */
const listed = 12;

export function evidenceMarkdown({ config, plan, layers, analysis, findings, engine, date }: Evidence): string {
  const { totals } = plan;
  const worst = [...layers].sort((a, b) => (b.deviation ?? 0) - (a.deviation ?? 0)).slice(0, listed);
  return [
    `# Quantization evidence: ${config}`, '',
    `- Checkpoint: \`${basename(plan.checkpoint)}\` (${plan.architecture})`,
    `- Scope: ${plan.layers.filter((layer) => layer.recipe.weights.kind !== 'keep').length} of ${totals.layers} linear layers quantized, **${totals.averageBits.toFixed(3)} bits** per linear weight with side data`,
    `- Size: ${formatBytes(totals.checkpointBytes)} packed; linear weights ${formatBytes(totals.baselineBytes)} → ${formatBytes(totals.packedBytes)}`,
    `- Measured: ${layers.length} layers by engine ${engine.version} (${engine.cpuLevel}), ${date.toISOString()}, plan \`${plan.hash.slice(0, 12)}\``, '',
    '| rule | layers | share of weights | average bits |', '|---|---:|---:|---:|',
    ...plan.rules.map((rule) => `| ${cell(rule.name)}: \`${cell(rule.text)}\` | ${rule.decidedLayers} of ${rule.matchedLayers} | ${rule.matchedParamsPercent.toFixed(2)} % | ${rule.averageBits?.toFixed(3) ?? '–'} |`), '',
    `Layers furthest above the expected distortion (relative MSE, lower is better; SQNR in dB, higher is better; × expected, 1 is the quantizer's promise):`, '',
    '| layer | method | relative MSE | SQNR dB | × expected | KS before → rotated |', '|---|---|---:|---:|---:|---:|',
    ...worst.map(({ plan: layer, report, deviation }) => `| ${cell(layer.name)} | ${layer.recipe.method} | ${report.weight.relativeMse.toExponential(3)} | ${report.weight.sqnrDb?.toFixed(2) ?? '∞'} | ${deviation?.toFixed(3) ?? '–'} | ${report.marginal.before.ks.toFixed(4)} → ${report.marginal.after.ks.toFixed(4)} |`), '',
    findings.length > 0 ? '## Findings' : 'No findings.', '',
    ...findings.map((finding) => `- \`${cell(finding.layer)}\`: ${finding.text}`),
    ...analysis.failures.map((failure) => `- \`${cell(failure.name)}\` could not be measured: ${cell(failure.message)}`), '',
  ].join('\n');
}

/** Names come from files: nothing in them may end a table cell or a code span. */
function cell(text: string): string {
  return text.replace(/[\r\n]+/g, ' ').replaceAll('|', '\\|').replaceAll('`', "'");
}
