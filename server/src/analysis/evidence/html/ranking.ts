import type { Evidence } from '..';
import { controlTexts, isEstimate, rankingText, scoreText } from '../words';
import { barChart } from './bars';
import { code, escape, section, tableOf, warning } from './parts';

/** Listed here; the JSON has all. */
const listed = 20;

/** What quantizing each part alone does to the picture, with what keeps that honest. */
export function rankingSection({ ranking }: Evidence): string {
  if ('missing' in ranking) {
    return section('Sensitivity', `<p>There is none. ${escape(ranking.missing)}</p>`);
  }
  const { found } = ranking;
  const { by, layers } = found;
  const shown = layers.slice(0, listed);
  const estimate = isEstimate(found);
  const finite = shown.flatMap(({ name, score }) => (score === null ? [] : [{ name, score }]));
  const high = Math.max(...finite.map(({ score }) => score));
  const steps = shown[0]?.perStep ?? [];
  const broken = found.controls.zeroSwap.differing > 0;
  return section(`Sensitivity${estimate ? ' (estimate)' : ''}`,
    `<p>${escape(rankingText(found))} ${layers.length > listed ? `The worst ${listed} of ${layers.length}; the JSON beside this file has all.` : ''}</p>`,
    high > 0 ? barChart({
      label: `${estimate ? 'Estimated sensitivity' : 'Sensitivity'} of the worst ${finite.length} of ${layers.length} ${by}s, from ${scoreText(finite[0]?.score ?? null)} down to ${scoreText(finite.at(-1)?.score ?? null)}; lower is better`,
      bars: finite.map(({ name, score }) => ({ name, value: score, text: scoreText(score), marked: estimate })), scale: 'linear', from: 0, low: 0, high: high * 1.02, ticks: [0, high / 4, high / 2, (3 * high) / 4, high], tickText: scoreText,
    }) : '',
    tableOf([by, `#${estimate ? 'estimated error' : 'error'}, lower is better`, ...steps.map(({ step }) => `#step ${step + 1}`)], shown.map(({ name, score, perStep }) =>
      [code(name), `${scoreText(score)}${estimate ? ' (estimate)' : ''}`, ...perStep.map(({ latentRelativeMse }) => scoreText(latentRelativeMse))])),
    ...(broken ? [warning('the zero-swap control failed.')] : []),
    controlTexts(found).length === 0 ? '' : `<h3>Controls</h3><ul>${controlTexts(found).map((text) => `<li>${escape(text)}</li>`).join('')}</ul>`);
}
