/** A number over the compared steps: mean over the seeds as a line, its smallest and largest as bars. Inline SVG; the table below it has the numbers. */
import { exponent } from '../metrics';
import type { Metric, Spread } from '../metrics';
import { escape } from './parts';

export interface CurvePoint { step: number; spread: Spread }

const [width, height] = [480, 200];
const margin = { left: 58, right: 14, top: 12, bottom: 34 };

/** @param steps of the whole trajectory */
export function stepCurve(metric: Metric, points: readonly CurvePoint[], steps: number): string {
  const log = metric.id === 'outputRelativeMse';
  const values = points.flatMap(({ spread: { mean, min, max } }) => [mean, min, max]).filter((value): value is number => value !== null && (!log || value > 0));
  const title = `${metric.title}${metric.unit === '' ? '' : `, ${metric.unit}`}, ${metric.direction}`;
  if (values.length === 0) {
    return `<figure class="curve"><figcaption>${title}</figcaption><p>No step has a finite value that differs.</p></figure>`;
  }
  const [low, high] = domain(values, log);
  const x = (step: number): number => margin.left + ((width - margin.left - margin.right) * (steps > 1 ? step / (steps - 1) : 0.5));
  const share = (value: number): number => (log ? Math.log(Math.max(value, low) / low) / Math.log(high / low) : (value - low) / (high - low));
  const y = (value: number): number => margin.top + (height - margin.top - margin.bottom) * (1 - share(value));
  const drawn = points.flatMap(({ step, spread: { mean, min, max } }) => (mean === null ? [] : [{ step, mean, min: min ?? mean, max: max ?? mean }]));
  const at = (value: number): string => value.toFixed(1);
  const ticks = log ? decades(low, high) : rounds(low, high);
  const text = drawn.map(({ step, mean }) => `step ${step + 1}: ${exponent(mean)}`).join(', ');
  return `<figure class="curve"><figcaption>${title}</figcaption><svg role="img" aria-label="${escape(`${title}. ${text}`)}" viewBox="0 0 ${width} ${height}">
${ticks.map((tick) => `<g class="tick"><line x1="${margin.left}" x2="${width - margin.right}" y1="${at(y(tick))}" y2="${at(y(tick))}"/><text class="left" x="${margin.left - 6}" y="${at(y(tick) + 3)}">${exponent(tick)}</text></g>`).join('')}
<g class="tick">${points.map(({ step }) => `<text x="${at(x(step))}" y="${height - margin.bottom + 16}">${step + 1}</text>`).join('')}<text class="left" x="${width - margin.right}" y="${height - 2}">step of ${steps}</text></g>
<polyline class="line" points="${drawn.map(({ step, mean }) => `${at(x(step))},${at(y(mean))}`).join(' ')}"/>
${drawn.map(({ step, mean, min, max }) => `<g class="mark"><line x1="${at(x(step))}" x2="${at(x(step))}" y1="${at(y(min))}" y2="${at(y(max))}"/><circle cx="${at(x(step))}" cy="${at(y(mean))}" r="3.5"/></g>`).join('')}
</svg></figure>`;
}

function domain(values: readonly number[], log: boolean): [number, number] {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  if (log) {
    return [10 ** Math.floor(Math.log10(low)), 10 ** Math.ceil(Math.log10(high) + 1e-9)];
  }
  const air = Math.max((high - low) * 0.1, Math.abs(high) * 1e-3, 1e-6);
  return [low - air, high + air];
}

/** Round numbers inside, three to seven of them. */
function rounds(low: number, high: number): number[] {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const by = power * ([1, 2, 5].filter((factor) => factor * power <= rough).at(-1) ?? 1);
  const first = Math.ceil(low / by);
  return Array.from({ length: Math.floor(high / by) - first + 1 }, (_, i) => (first + i) * by);
}

function decades(low: number, high: number): number[] {
  const [first, last] = [Math.round(Math.log10(low)), Math.round(Math.log10(high))];
  const by = Math.max(1, Math.ceil((last - first) / 5));
  return Array.from({ length: Math.floor((last - first) / by) + 1 }, (_, i) => 10 ** (first + i * by));
}
