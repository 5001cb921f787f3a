import type { Evidence } from '..';
import type { Comparison, ComparedStep } from '../comparison';
import { agreementMetrics, metricText, outputError, spreadText, stepMetrics } from '../metrics';
import { lpipsNote, measuredOn, seedsText, settingTexts, shortName } from '../words';
import { stepCurve } from './curve';
import { code, escape, section, tableOf, warning } from './parts';
import { pictureRows } from './pictures';

/** Pictures from the same seed, numbers with their spread, and the course over the steps; or why there are none. */
export function comparisonSection({ comparison, gates }: Evidence): string {
  const judged = gates.length === 0 ? '' : tableOf(['gate', '#at least', '#measured', 'result'], gates.map(({ metric, atLeast, value, passed, why }) =>
    [code(metric), String(atLeast), value === null ? '–' : value.toFixed(4), `<b>${passed ? 'passed' : 'FAILED'}</b>, ${why}`]), 'Gates');
  if ('missing' in comparison) {
    return section('Same-seed pictures', `<p>There are none. ${escape(comparison.missing)}</p>`, judged);
  }
  const { found } = comparison;
  const { settings, items } = found;
  const how = `<p>${escape([...settingTexts(settings), seedsText(found), ...items].join(' · '))}</p>`;
  if (found.refused !== null) {
    return section('Same-seed pictures', how, warning(escape(found.refused)), judged);
  }
  return [
    section('Same-seed pictures', how, '<p>The reference was checked first: its values are finite and not all the same.</p>', pictureRows(found)),
    section('Agreement with full precision', `<p>Of the ${escape(measuredOn(found))}. ${escape(lpipsNote)}</p>`, metricsTable(found), judged),
    section('Step by step', `<p>Means over items and seeds; the bars reach from the lowest to the highest seed. ${settings.mode === 'free' ? 'Each model runs on inputs of its own, so differences of earlier steps are part of later ones.' : 'Both models get the same inputs.'} The error of the output is relative to the output, which can be small at late steps; the latent PSNR says what it does to the picture.</p>`,
      `<div class="curves">${[outputError, agreementMetrics.find(({ id }) => id === 'latentPsnrDb') ?? outputError].map((metric) => stepCurve(metric, found.perStep.map(({ step, metrics }) => ({ step, spread: metrics[metric.id] })), settings.steps)).join('')}</div>`,
      stepTable(found.perStep, settings.steps)),
  ].join('\n');
}

function metricsTable({ metrics, seeds, items }: Comparison): string {
  return tableOf(['metric', 'direction', '#n', '#mean ± standard deviation', '#lowest seed', '#highest seed', '#worst item of any seed'], agreementMetrics.flatMap((metric) => {
    const spread = metrics?.[metric.id];
    if (!spread) {
      return [];
    }
    const { worst, min, max } = spread;
    const value = (number: number | null): string => (number === null ? '–' : metricText(metric, number));
    return [[metric.title, metric.direction, String(seeds.length), spreadText(metric, spread), value(min), value(max),
      worst ? `${worst.finite ? metricText(metric, worst.value) : 'not finite'} (${escape(shortName(items[worst.item] ?? ''))}, seed ${worst.seed})` : '–']];
  }));
}

function stepTable(perStep: readonly ComparedStep[], steps: number): string {
  return tableOf(['step', '#t', ...stepMetrics.map(({ title, direction }) => `#${title}, ${direction === 'lower is better' ? 'lower' : 'higher'} is better`)],
    perStep.map(({ step, timestep, metrics }) => [`${step + 1} of ${steps}`, String(Number(timestep.toPrecision(5))), ...stepMetrics.map((metric) => spreadText(metric, metrics[metric.id]))]));
}
