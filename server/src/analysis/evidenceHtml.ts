/** The report as one HTML file: readable in light and dark, printable, charts as inline SVG with text equivalents in the tables below them. */
import { basename } from 'node:path';
import { formatBytes } from '../config/resolve';
import type { Plan, Thresholds } from '../protocol';
import type { Evidence } from './evidence';
import type { EvidenceLayer } from './findings';

export function evidenceHtml(evidence: Evidence): string {
  const { config, plan, layers, analysis, findings, problems, thresholds, engine, date } = evidence;
  const { totals } = plan;
  const quantized = plan.layers.filter((layer) => layer.recipe.weights.kind !== 'keep').length;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Quantization evidence: ${escape(config)}</title>
<style>${style}</style>
</head>
<body>
<main>
<h1>Quantization evidence <span>${escape(config)}</span></h1>
<dl class="facts">
${fact('Checkpoint', `${escape(basename(plan.checkpoint))}<small>${escape(plan.architecture)}</small>`)}
${fact('Scope', `${quantized} of ${totals.layers}<small>linear layers quantized</small>`)}
${fact('True average', `${totals.averageBits.toFixed(3)} bits<small>per linear weight, side data included</small>`)}
${fact('Size', `${formatBytes(totals.checkpointBytes)}<small>linear weights ${formatBytes(totals.baselineBytes)} → ${formatBytes(totals.packedBytes)}</small>`)}
</dl>
<section><h2>Error against the expected distortion</h2>
<p>Measured relative MSE over what the quantizer gives on its design distribution: 1 is the promise, right of it is worse. Bars above ${thresholds.deviation} are hatched.</p>
${deviationChart(layers, thresholds)}
</section>
<section><h2>Findings</h2>
${findings.length + analysis.failures.length === 0 ? '<p>None at the thresholds below.</p>' : `<ul>${findings.map((finding) => `<li><code>${escape(finding.layer)}</code>: ${escape(finding.text)}</li>`).join('')}${
    analysis.failures.map((failure) => `<li><code>${escape(failure.name)}</code> could not be measured: ${escape(failure.message)}</li>`).join('')}</ul>`}
<p class="note">Thresholds: error above ${thresholds.deviation} × expected; KS after rotation above ${thresholds.ksAfterRotation}; ρ above ${thresholds.rho}; any NaN, Inf or all-zero row.</p>
</section>
<section><h2>Rules</h2>
${tableOf(['rule', 'patterns', '#decides', '#matches', '#share of weights', '#average bits'], [...plan.rules.map((rule) => [escape(rule.name), `<code>${escape(rule.text)}</code>`, String(rule.decidedLayers), String(rule.matchedLayers), `${rule.matchedParamsPercent.toFixed(2)} %`, rule.averageBits?.toFixed(3) ?? '–']), ...defaultsRow(plan)])}
${problems.length === 0 ? '' : `<ul>${problems.map((problem) => `<li><b>${problem.severity}</b> ${problem.range ? `line ${problem.range.start.line + 1}: ` : ''}${escape(problem.message)}</li>`).join('')}</ul>`}
</section>
<section><h2>Block × role</h2>
<p>Measured over expected relative MSE, the mean of the layers in a cell.</p>
${blockRoleTable(layers)}
</section>
<section><h2>Layers</h2>
<p>Relative MSE: lower is better. SQNR in dB: higher is better. KS and W1: distance of the normalised rows to the fixed marginal; before → after the rotation.</p>
${tableOf(['layer', 'method', 'decided by', '#bits', '#relative MSE', '#expected', '#× expected', '#SQNR dB', '#KS', '#W1', '#excess kurtosis', '#ρ'], layers.map(layerRow))}
</section>
<footer>Plan <code>${plan.hash.slice(0, 16)}</code>, measured by QuantScope engine ${escape(engine.version)} (${escape(engine.cpuLevel)}, ${engine.threads} threads) on ${date.toISOString().slice(0, 16).replace('T', ' ')} UTC.
${layers.some(({ report }) => report.sampledRows < report.rows) ? 'Some layers were measured on a sample of their rows.' : 'Every row of every listed layer was measured.'}</footer>
</main>
</body>
</html>
`;
}

function defaultsRow(plan: Plan): string[][] {
  const layers = plan.layers.filter((layer) => layer.decidedBy?.rule === -1);
  const params = layers.reduce((sum, layer) => sum + layer.params, 0);
  const bytes = layers.reduce((sum, layer) => sum + layer.packedBytes, 0);
  return layers.length === 0 ? [] : [['defaults', 'what no rule takes', String(layers.length), '', `${((100 * params) / plan.totals.params).toFixed(2)} %`, ((bytes * 8) / params).toFixed(3)]];
}

function layerRow({ plan, report, deviation }: EvidenceLayer): string[] {
  const { weight, marginal } = report;
  return [
    `<code>${escape(plan.name)}</code>`, escape(plan.recipe.method), escape(plan.decidedBy?.name ?? '–'), plan.averageBits.toFixed(3),
    weight.relativeMse.toExponential(3), weight.expectedRelativeMse?.toExponential(3) ?? '–', deviation?.toFixed(3) ?? '–', weight.sqnrDb?.toFixed(2) ?? '∞',
    `${marginal.before.ks.toFixed(4)} → ${marginal.after.ks.toFixed(4)}`, `${marginal.before.wasserstein1.toFixed(4)} → ${marginal.after.wasserstein1.toFixed(4)}`,
    `${marginal.before.excessKurtosis.toFixed(2)} → ${marginal.after.excessKurtosis.toFixed(2)}`, marginal.rho.toFixed(2),
  ];
}

/** Names on the left, then a bar from 1 (the promise) to the measured ratio on a logarithmic axis. */
function deviationChart(layers: readonly EvidenceLayer[], thresholds: Thresholds): string {
  const shown = layers.flatMap(({ plan, deviation }) => (deviation === null ? [] : [{ name: plan.name, deviation }])).sort((a, b) => b.deviation - a.deviation);
  if (shown.length === 0) {
    return '<p>No layer of this plan is quantized.</p>';
  }
  const values = shown.map((each) => Math.max(each.deviation, 1e-3));
  const [low, high] = [Math.min(0.8, ...values) / 1.05, Math.max(1.25, ...values) * 1.05];
  const labelled = shown.length <= 120;
  const [left, right, rowHeight] = [labelled ? 400 : 10, 980, labelled ? 15 : 4];
  const x = (value: number): number => left + ((right - left) * Math.log(value / low)) / Math.log(high / low);
  const height = shown.length * rowHeight + 24;
  const ticks = [0.125, 0.25, 0.5, 0.8, 1, 1.25, 2, 4, 8, 16, 32, 64, 128].filter((tick) => tick >= low && tick <= high);
  return `<svg role="img" aria-label="Deviation of ${shown.length} layers, from ${shown[0]?.deviation.toFixed(3) ?? ''} down to ${shown.at(-1)?.deviation.toFixed(3) ?? ''} times the expected distortion" viewBox="0 0 1000 ${height}">
<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="6" height="6" class="bar"/><rect width="2" height="6" class="stripe"/></pattern></defs>
${ticks.map((tick) => `<g class="tick"><line x1="${x(tick).toFixed(1)}" x2="${x(tick).toFixed(1)}" y1="18" y2="${height}"/><text x="${x(tick).toFixed(1)}" y="12">${tick}×</text></g>`).join('')}
${shown.map(({ name, deviation }, index) => {
    const y = 21 + index * rowHeight;
    const [from, to] = [Math.min(x(1), x(Math.max(deviation, 1e-3))), Math.max(x(1), x(Math.max(deviation, 1e-3)))];
    return `<rect x="${from.toFixed(1)}" y="${y}" width="${Math.max(1, to - from).toFixed(1)}" height="${rowHeight - (labelled ? 4 : 1)}" class="bar"${deviation > thresholds.deviation ? ' fill="url(#hatch)"' : ''}><title>${escape(name)}: ${deviation.toFixed(3)} × expected</title></rect>` +
      (labelled ? `<text class="label" x="0" y="${y + 9}">${escape(name)}</text><text class="label value" x="${left - 12}" y="${y + 9}">${deviation.toFixed(3)}</text>` : '');
  }).join('\n')}
<line class="one" x1="${x(1).toFixed(1)}" x2="${x(1).toFixed(1)}" y1="16" y2="${height}"/>
</svg>`;
}

function blockRoleTable(layers: readonly EvidenceLayer[]): string {
  const measured = layers.filter(({ deviation }) => deviation !== null);
  const roles = [...new Set(measured.map(({ plan }) => plan.role))];
  const blocks = [...new Set(measured.map(({ plan }) => plan.block ?? 'outside of blocks'))];
  const mean = (block: string, role: string): string => {
    const values = measured.flatMap(({ plan, deviation }) => ((plan.block ?? 'outside of blocks') === block && plan.role === role && deviation !== null ? [deviation] : []));
    return values.length > 0 ? (values.reduce((sum, value) => sum + value, 0) / values.length).toFixed(3) : '';
  };
  return tableOf(['block', ...roles.map((role) => `#${role}`)], blocks.map((block) => [`<code>${escape(block)}</code>`, ...roles.map((role) => mean(block, role))]));
}

/** Cells are HTML already; a heading with # is a numeric column. */
function tableOf(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const numeric = header.map((title) => title.startsWith('#'));
  const cell = (tag: string, text: string, column: number): string => `<${tag}${numeric[column] ? ' class="number"' : ''}${tag === 'th' ? ' scope="col"' : ''}>${text}</${tag}>`;
  return `<div class="scroll"><table><thead><tr>${header.map((title, column) => cell('th', escape(title.replace(/^#/, '')), column)).join('')}</tr></thead><tbody>${
    rows.map((row) => `<tr>${row.map((text, column) => cell('td', text, column)).join('')}</tr>`).join('\n')}</tbody></table></div>`;
}

function fact(title: string, html: string): string {
  return `<div><dt>${title}</dt><dd>${html}</dd></div>`;
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

const light = '--ink: #1f2328; --soft: #59636e; --line: #d1d9e0; --ground: #ffffff; --panel: #f6f8fa; --bar: #8fb8e8; --strong: #0a5cc2;';
const dark = '--ink: #e6edf3; --soft: #9198a1; --line: #3d444d; --ground: #0d1117; --panel: #151b23; --bar: #25507f; --strong: #79b8ff;';

// In the editor's own viewer the body's class tells the theme; in a browser the system does.
const style = `
:root { color-scheme: light dark; }
body, body.vscode-light, body.vscode-high-contrast-light { ${light} }
@media (prefers-color-scheme: dark) { body { ${dark} } }
body.vscode-dark, body.vscode-high-contrast:not(.vscode-high-contrast-light) { ${dark} }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 14px/1.5 system-ui, "Segoe UI", sans-serif; }
main { max-width: 1100px; margin: 0 auto; padding: 32px 24px; }
h1 { font-size: 22px; margin: 0 0 16px; } h1 span { color: var(--soft); font-weight: 400; } h2 { font-size: 16px; margin: 32px 0 4px; }
p { margin: 4px 0 12px; color: var(--soft); } .note, footer { color: var(--soft); font-size: 12px; } footer { margin-top: 40px; border-top: 1px solid var(--line); padding-top: 12px; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 12px; margin: 0; }
.facts div { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: 10px 14px; }
dt { color: var(--soft); font-size: 12px; } dd { margin: 0; font-size: 18px; font-weight: 600; } dd small { display: block; font-size: 12px; font-weight: 400; color: var(--soft); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 12.5px; }
th, td { text-align: left; padding: 3px 10px 3px 0; border-bottom: 1px solid var(--line); white-space: nowrap; } th { color: var(--soft); font-weight: 600; } .number { text-align: right; font-variant-numeric: tabular-nums; }
code { font: 12px/1.4 ui-monospace, "SF Mono", Consolas, monospace; }
svg { width: 100%; height: auto; font: 10px system-ui, sans-serif; } .bar { fill: var(--bar); } rect[fill] { fill: url(#hatch); } .stripe { fill: var(--strong); }
.tick line { stroke: var(--line); } .one { stroke: var(--ink); } .tick text { fill: var(--soft); text-anchor: middle; } .label { fill: var(--ink); } .value { text-anchor: end; font-variant-numeric: tabular-nums; }
@media print { .facts div { break-inside: avoid; } }
`;
