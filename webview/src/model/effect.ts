/** What swapping a layer, block or role does to the final output of the model: rows for bars and heat map, and the controls in words. */
import type { Plan, Score, Sensitivity, SensitivityUnit } from '../../../server/src/protocol';
import type { RankingState } from '../messages';
import type { BarRow, BarScale } from './bars';
import { formatInteger, formatNumber } from './format';
import type { HeatData } from './heat';
import { tickText } from './scale';

export const UNITS: readonly { id: SensitivityUnit; title: string; plural: string }[] = [
  { id: 'layer', title: 'Layer', plural: 'layers' }, { id: 'block', title: 'Block', plural: 'blocks' }, { id: 'role', title: 'Role', plural: 'roles' },
];

/** Errors add up, so their bars do too. */
export const EFFECT_SCALE: BarScale = { baseline: 0, scale: 'linear', format: formatNumber, tick: tickText };
export const EFFECT_HINT = 'Error of the clean picture that the final output leads to when this alone is quantized, ‖swapped − clean‖² / ‖clean‖², mean over steps and items. Lower is better.';

/** Values below this share of the largest all look alike: they change nothing. */
const NEGLIGIBLE = 1e-4;
/** More rows than anyone looks at; bars and table have them all. */
const SHOWN = 100;

/** Worst first; what is not finite is worst of all. */
export function worstFirst(scores: readonly Score[]): Score[] {
  return [...scores].sort((a, b) => (b.score ?? Infinity) - (a.score ?? Infinity));
}

export function scoreText({ score, estimate }: Score): string {
  return score === null ? 'not finite' : `${estimate ? '≈ ' : ''}${formatNumber(score)}`;
}

/** Bars of worst first; one that is not finite reaches as far as the largest. */
export function effectBars(scores: readonly Score[]): BarRow[] {
  const largest = Math.max(0, ...scores.map(({ score }) => score ?? 0)) || 1;
  return scores.map((each) => {
    const count = each.layers.length;
    return {
      name: each.name, value: each.score ?? largest, side: each.score === null ? 'worse' : 'plain', text: scoreText(each), estimate: each.estimate,
      description: `${each.name}${count > 1 ? `, ${count} layers` : ''}. Effect on the final output: ${scoreText(each)}, ${each.estimate ? 'an estimate' : 'measured'}, lower is better`,
    };
  });
}

/** Rows × time steps, on a logarithmic scale over four decades. Rows without steps are estimates and have none yet. */
export function effectHeat(scores: readonly Score[], unit: string): HeatData {
  const measured = scores.filter(({ perStep }) => perStep.length > 0).slice(0, SHOWN);
  const steps = [...new Set(measured.flatMap(({ perStep }) => perStep.map(({ step }) => step)))].sort((a, b) => a - b);
  const largest = Math.max(0, ...measured.flatMap(({ perStep }) => perStep.map(({ latentRelativeMse }) => latentRelativeMse ?? 0))) || 1;
  const baseline = largest * NEGLIGIBLE;
  return {
    label: `Effect by ${unit} and time step`, rows: measured.map(({ name }) => name), columns: steps.map((step) => String(step + 1)),
    groups: steps.length > 0 ? [{ title: 'step', first: 0 }] : [], metric: { baseline, scale: 'log', format: formatNumber },
    cells: measured.flatMap(({ name, perStep }, row) => perStep.map(({ step, timestep, latentRelativeMse: value, latentPsnrDb }) => ({
      row, column: steps.indexOf(step), names: [`${name} ${step}`, ...(step === perStep[0]?.step ? [name] : [])] as [string, ...string[]], value,
      shade: Math.max(baseline, value ?? largest), ...(value === null ? { text: 'NaN' } : {}),
      description: `${name}, step ${step + 1}, t = ${Number(timestep.toPrecision(5))}. Effect: ${value === null ? 'not finite' : formatNumber(value)}, lower is better${latentPsnrDb === null ? '' : `; ${latentPsnrDb.toFixed(2)} dB, higher is better`}`,
    }))),
  };
}

/** The row that a selection means: the row itself, or the one that holds the layer. */
export function rowFor(scores: readonly Score[], name: string | null): Score | undefined {
  return scores.find((score) => score.name === name) ?? scores.find(({ layers }) => name !== null && layers.includes(name));
}

/** How far the ranking is, in words. */
export function rankingText({ phase, measured, total, by, result, scores }: RankingState): string {
  const plural = UNITS.find(({ id }) => id === by)?.plural ?? 'layers';
  if (scores.length === 0) {
    return phase === 'running' ? 'Preparing: the first estimates follow the calibration.' : '';
  }
  if (measured === 0) {
    return `Estimates of ${formatInteger(total)} ${plural} from one time step (≈, dashed)${phase === 'running' ? '; measured numbers take their place' : ''}.`;
  }
  return measured < total ? `${formatInteger(measured)} of ${formatInteger(total)} ${plural} measured; ≈ and dashed bars are estimates from one time step.`
    : `${formatInteger(total)} ${plural} measured${result === null ? '; controls follow' : ` on ${result.sensitivity.items.join(', ')}`}.`;
}

/** Of an earlier config: what is shown does not belong to the plan as it is now. */
export function outdated(planHash: string, plan: Plan | null): boolean {
  return plan !== null && planHash !== '' && planHash !== plan.hash;
}

export interface Control { severity: 'info' | 'warning' | 'error'; text: string }

/** In one line. Open them when one of them warns. */
export function controlsSummary({ additivity, controls: { zeroSwap, noise } }: Sensitivity): string {
  const ratios = noise.flatMap(({ ratio }) => ratio ?? []);
  return [
    zeroSwap.differing === 0 ? 'zero swap exact' : 'zero swap differs',
    ...(additivity === null || additivity.ratio === null ? [] : [`sum of parts / whole ${additivity.ratio.toPrecision(3)}`]),
    ...(ratios.length === 0 ? [] : [`error / matched noise ${[Math.min(...ratios), Math.max(...ratios)].map((ratio) => `× ${ratio.toPrecision(3)}`).join(' to ')}`]),
  ].join(' · ');
}

/** Within this factor of 1 a ratio says "about the same". */
const SAME = 1.25;

/** What keeps the numbers honest, in words. */
export function controlsInWords({ additivity, controls: { zeroSwap, noise } }: Sensitivity): Control[] {
  const factor = (ratio: number): string => `× ${ratio >= 100 ? ratio.toFixed(0) : ratio.toPrecision(3)}`;
  const found: Control[] = [zeroSwap.differing === 0
    ? { severity: 'info', text: `Zero swap: with nothing swapped, all ${formatInteger(zeroSwap.runs)} reruns gave the stored output bit for bit.` }
    : { severity: 'error', text: `Zero swap: ${formatInteger(zeroSwap.differing)} values differ with nothing swapped. These numbers cannot be trusted; please report it.` }];
  const { ratio = null, sumOfParts = null, whole = null } = additivity ?? {};
  if (ratio !== null) {
    const both = `the parts add up to ${formatNumber(sumOfParts)}, all at once give ${formatNumber(whole)} (ratio ${ratio.toPrecision(3)})`;
    found.push(ratio < 1 / SAME ? { severity: 'warning', text: `Additivity: ${both}. Errors reinforce each other: the whole is worse than single effects say.` }
      : ratio > SAME ? { severity: 'warning', text: `Additivity: ${both}. Effects overlap: improving one layer gains less than its bar says.` }
        : { severity: 'info', text: `Additivity: ${both}. Single effects add up.` });
  } else if (additivity) {
    found.push({ severity: 'warning', text: 'Additivity cannot be told: an output was not finite.' });
  }
  for (const each of noise) {
    const what = `Matched noise, ${each.name}: weights alone ${formatNumber(each.weights)}, Gaussian noise of the same size ${formatNumber(each.noise)}`;
    found.push({ severity: 'info', text: each.ratio === null ? `${what}.`
      : `${what} (${factor(each.ratio)}). ${each.ratio > SAME ? 'Its error falls where it hurts, more than its size says.' : each.ratio < 1 / SAME ? 'Its error hurts less than its size says.' : 'It hurts as much as its size says.'}` });
  }
  return found;
}
