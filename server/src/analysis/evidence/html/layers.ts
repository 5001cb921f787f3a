/** What the plan makes of each layer, and what was measured of it. */
import type { Evidence } from '..';
import type { EvidenceLayer } from '../../findings';
import { barChart } from './bars';
import { code, escape, section, tableOf } from './parts';

const ticks = [0.125, 0.25, 0.5, 0.8, 1, 1.25, 2, 4, 8, 16, 32, 64, 128];

/** Bars from 1 (the promise) to the measured ratio on a logarithmic axis. */
export function deviationSection({ layers, thresholds }: Evidence): string {
  const bars = layers.flatMap(({ plan, deviation }) => (deviation === null ? [] : [{ name: plan.name, value: Math.max(deviation, 1e-3), text: deviation.toFixed(3), marked: deviation > thresholds.deviation }])).sort((a, b) => b.value - a.value);
  const values = bars.map(({ value }) => value);
  const chart = bars.length === 0 ? '<p>No layer of this plan is quantized.</p>' : barChart({
    label: `Deviation of ${bars.length} layers, from ${bars[0]?.text ?? ''} down to ${bars.at(-1)?.text ?? ''} times the expected distortion`,
    bars, scale: 'log', from: 1, ticks, tickText: (tick) => `${tick}×`, low: Math.min(0.8, ...values) / 1.05, high: Math.max(1.25, ...values) * 1.05,
  });
  return section('Error against the expected distortion',
    `<p>Measured relative MSE of the weights over what the quantizer gives on its design distribution: 1 is the promise, right of it is worse. Bars above ${thresholds.deviation} are hatched. Such errors are local; behind a rotation they are much the same in every layer, and sensitivity ranks better.</p>`, chart);
}

export function rulesSection({ problems, scope }: Evidence): string {
  return section('Scope and rules',
    tableOf(['rule', 'patterns', '#decides', '#matches', '#share of weights', '#average bits'],
      scope.rules.map(({ name, text, decides, matches, paramsPercent, averageBits }) => [escape(name), text === null ? 'what no rule takes' : code(text), String(decides), String(matches ?? ''), `${paramsPercent.toFixed(2)} %`, averageBits?.toFixed(3) ?? '–'])),
    tableOf(['role', '#quantized', '#share of weights', '#average bits'], scope.roles.map(({ role, layers, quantized, paramsPercent, averageBits }) => [escape(role), `${quantized} of ${layers}`, `${paramsPercent.toFixed(2)} %`, averageBits.toFixed(3)])),
    scope.kept.length === 0 ? '' : `<p>Not quantized: ${scope.keptNames.map(({ name, count }) => `${code(name)}${count > 1 ? ` (${count})` : ''}`).join(', ')}.</p>`,
    problems.length === 0 ? '' : `<ul>${problems.map((problem) => `<li><b>${problem.severity}</b> ${problem.range ? `line ${problem.range.start.line + 1}: ` : ''}${escape(problem.message)}</li>`).join('')}</ul>`);
}

export function blockRoleSection({ layers }: Evidence): string {
  const measured = layers.filter(({ deviation }) => deviation !== null);
  const blockOf = ({ plan }: EvidenceLayer): string => plan.block ?? 'outside of blocks';
  const roles = [...new Set(measured.map(({ plan }) => plan.role))];
  const blocks = [...new Set(measured.map(blockOf))];
  const mean = (block: string, role: string): string => {
    const values = measured.flatMap((layer) => (blockOf(layer) === block && layer.plan.role === role && layer.deviation !== null ? [layer.deviation] : []));
    return values.length > 0 ? (values.reduce((sum, value) => sum + value, 0) / values.length).toFixed(3) : '';
  };
  return section('Block × role', '<p>Measured over expected relative MSE, the mean of the layers in a cell.</p>',
    tableOf(['block', ...roles.map((role) => `#${role}`)], blocks.map((block) => [code(block), ...roles.map((role) => mean(block, role))])));
}

export function layersSection({ layers }: Evidence): string {
  return section('Layers',
    `<p>Relative MSE: lower is better. SQNR in dB: higher is better. KS and W1: distance of the normalised rows to the fixed marginal; before → after the rotation. ${layers.some(({ report }) => report.sampledRows < report.rows) ? 'Some layers were measured on a sample of their rows.' : 'Every row of every listed layer was measured.'}</p>`,
    tableOf(['layer', 'method', 'decided by', '#bits', '#relative MSE', '#expected', '#× expected', '#SQNR dB', '#KS', '#W1', '#excess kurtosis', '#ρ'], layers.map(layerRow)));
}

function layerRow({ plan, report, deviation }: EvidenceLayer): string[] {
  const { weight, marginal: { before, after, rho } } = report;
  const change = (of: (each: typeof before) => number, digits: number): string => `${of(before).toFixed(digits)} → ${of(after).toFixed(digits)}`;
  return [
    code(plan.name), plan.recipe.weights.kind === 'keep' && plan.recipe.activations.kind === 'keep' ? 'kept' : `${escape(plan.recipe.method)} W${plan.weightBits}A${plan.activationBits}`, escape(plan.decidedBy?.name ?? '–'), plan.averageBits.toFixed(3),
    weight.relativeMse.toExponential(3), weight.expectedRelativeMse?.toExponential(3) ?? '–', deviation?.toFixed(3) ?? '–', weight.sqnrDb?.toFixed(2) ?? '∞',
    change(({ ks }) => ks, 4), change(({ wasserstein1 }) => wasserstein1, 4), change(({ excessKurtosis }) => excessKurtosis, 2), rho.toFixed(2),
  ];
}
