/** What is known of a layer beyond its weights: its effect on the final output, what the search for bad layers says, and what the new plan gives it. */
import { facts, h, notice } from '../dom';
import type { Diagnosis } from '../messages';
import { rowFor, scoreText, worstFirst } from '../model/effect';
import { formatNumber, formatPercent } from '../model/format';
import { recipeLabel } from '../model/layers';

/** @param name of a layer, block or role */
export function layerDiagnosis(name: string, { ranking, firstBad, allocation }: Diagnosis): HTMLElement[] {
  const scores = worstFirst(ranking?.scores ?? []);
  const score = rowFor(scores, name);
  const sum = scores.reduce((total, each) => total + (each.score ?? 0), 0);
  const bad = firstBad?.result?.firstBad.findings.filter(({ layer }) => layer === name) ?? [];
  const change = allocation?.result?.changes.find(({ to }) => to.name === name);
  return [
    ...bad.map(({ kind, explanation }) => notice(kind === 'outlier' ? 'warning' : 'error', explanation)),
    ...(score === undefined ? [] : [
      h('h3', {}, `Effect on the final output${score.name === name ? '' : ` of ${score.name}`}`),
      facts([
        [score.estimate ? 'Estimate (lower is better)' : 'Measured (lower is better)', scoreText(score)],
        ['Rank', `${scores.indexOf(score) + 1} of ${scores.length}${sum > 0 && score.score !== null ? `, ${formatPercent(score.score / sum)} of the sum` : ''}`],
        ...score.perStep.map(({ step, timestep, latentRelativeMse }) =>
          [`Step ${step + 1}, t = ${Number(timestep.toPrecision(4))}`, latentRelativeMse === null ? 'not finite' : formatNumber(latentRelativeMse)] as const),
      ]),
    ]),
    ...(change === undefined ? [] : [h('h3', {}, 'In the new plan'), h('p', {}, `${recipeLabel(change.from)} → ${recipeLabel(change.to)}`)]),
  ];
}

/** A block or role that is selected as one. */
export function unitDetail(name: string, layers: readonly string[]): HTMLElement[] {
  return [h('h2', {}, name), h('p', { class: 'muted' }, `${layers.length} layers: ${layers.join(', ')}`)];
}
