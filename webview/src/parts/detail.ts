/** One layer's numbers: what was decided, the error against the expected one, and the marginal before and after rotation. */
import { createHistogram } from '../charts/histogram';
import { button } from '../controls';
import { facts, h, notice } from '../dom';
import { marginalDensity } from '../model/density';
import { formatBits, formatBytes, formatDecibel, formatInteger, formatNumber, formatRatio, NONE } from '../model/format';
import { recipeLabel } from '../model/layers';
import type { LayerRow } from '../model/layers';
import { shapeTable } from './shapeTable';

export function createDetail(onOpen: (name: string) => void, onExplain: (name: string) => void): { element: HTMLElement; show(row: LayerRow | undefined, more: readonly HTMLElement[]): void } {
  const element = h('section', { class: 'detail', 'aria-label': 'Selected layer' });
  const histogram = createHistogram();
  return {
    element,
    show: (row, more) => {
      if (row === undefined) {
        element.replaceChildren(...more, h('p', { class: 'muted hint' }, 'Select a layer to see its numbers. Enter jumps to the rule that decided it.'));
        return;
      }
      element.replaceChildren(
        h('div', { class: 'title' }, h('h2', {}, row.plan.name), h('span', { class: 'actions' }, button('Go to Rule', () => onOpen(row.plan.name)), button('Explain This Layer', () => onExplain(row.plan.name)))),
        h('p', { class: 'muted' }, about(row)),
        ...more,
        ...(row.failure === null ? [] : [notice('error', row.failure)]),
        ...(row.report === null ? [h('p', { class: 'muted' }, 'Its weights are not measured yet: run Analyze Layers.')] : [h('h3', {}, 'Error of the weights'), numbers(row, row.report), marginals(row, row.report, histogram.element)]),
      );
      drawMarginals(row, histogram);
    },
  };
}

function about({ plan }: LayerRow): string {
  const rule = plan.decidedBy === null ? 'no rule' : plan.decidedBy.rule < 0 ? 'defaults' : `rule ${plan.decidedBy.name || plan.decidedBy.rule + 1}`;
  return [plan.role, `${plan.outFeatures} × ${plan.inFeatures}`, recipeLabel(plan), `${formatBits(plan.averageBits)} bits`, formatBytes(plan.packedBytes), rule].join(' · ');
}

type Report = NonNullable<LayerRow['report']>;

function numbers({ ratio }: LayerRow, { weight, marginal, rows, sampledRows, zeroRows, nonFinite }: Report): HTMLElement {
  return facts([
    ['Relative MSE', formatNumber(weight.relativeMse), '‖W − Ŵ‖² / ‖W‖². Lower is better.'],
    ['Expected', weight.expectedRelativeMse === null ? NONE : `${formatNumber(weight.expectedRelativeMse)}${ratio === null ? '' : ` (${formatRatio(ratio)})`}`,
      'What this quantizer gives on the distribution it was designed for.'],
    ['SQNR (higher is better)', formatDecibel(weight.sqnrDb)],
    ['ρ of Proposition 1', formatNumber(marginal.rho), 'Far above 1: the rotation cannot promise the marginal for the worst row.'],
    ['Rows measured', sampledRows === rows ? formatInteger(rows) : `${formatInteger(sampledRows)} of ${formatInteger(rows)}, evenly spread`],
    ...(zeroRows === 0 ? [] : [['Rows of zeros', formatInteger(zeroRows)] as const]),
    ...(nonFinite === 0 ? [] : [['NaN or infinite', formatInteger(nonFinite)] as const]),
  ]);
}

/** The shape of the rows before and after rotation, over the histogram. */
function marginals({ plan }: LayerRow, { marginal }: Report, chart: HTMLElement): HTMLElement {
  const { before, after, rotated } = marginal;
  return h('div', { class: 'marginals' },
    h('h3', {}, `Normalised rows against the marginal of width ${plan.inFeatures}`),
    shapeTable(before, after, rotated ? ['before rotation', 'as quantized'] : ['as quantized', 'if rotated']), chart);
}

function drawMarginals({ plan, report }: LayerRow, histogram: ReturnType<typeof createHistogram>): void {
  if (report !== null) {
    histogram.draw({
      label: `Histogram of the normalised rows of ${plan.name} before and after rotation with the fixed marginal`,
      series: [{ name: 'before rotation', histogram: report.marginal.before.histogram, style: 'before' }, { name: 'after', histogram: report.marginal.after.histogram, style: 'after' }],
      curve: { name: 'fixed marginal', density: (x) => marginalDensity(x, plan.inFeatures) },
    });
  }
}
