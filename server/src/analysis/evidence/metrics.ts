/** What pictures and latents are compared by, and how a number that was measured several times is summed up. */
import type { PreviewAgreement } from '../../protocol';

export type MetricId = keyof PreviewAgreement;
export type StepMetricId = MetricId | 'outputRelativeMse';
export type Direction = 'higher is better' | 'lower is better';

export interface Metric<Id extends StepMetricId = StepMetricId> { id: Id; title: string; unit: 'dB' | ''; direction: Direction; /** What equality reads as. */ best: string }

export const agreementMetrics: readonly Metric<MetricId>[] = [
  { id: 'psnrDb', title: 'Image PSNR', unit: 'dB', direction: 'higher is better', best: 'equal' },
  { id: 'ssim', title: 'Image SSIM', unit: '', direction: 'higher is better', best: '1' },
  { id: 'latentPsnrDb', title: 'Latent PSNR', unit: 'dB', direction: 'higher is better', best: 'equal' },
  { id: 'latentCosine', title: 'Latent cosine', unit: '', direction: 'higher is better', best: '1' },
];

export const outputError: Metric<'outputRelativeMse'> = { id: 'outputRelativeMse', title: 'Output error', unit: '', direction: 'lower is better', best: '0' };
export const stepMetrics: readonly Metric[] = [outputError, ...agreementMetrics];

/** Of one number over runs. */
export interface Spread {
  /** Finite values that `mean` and the others are of. */
  n: number;
  mean: number | null;
  /** Of the sample, n − 1 below; null for fewer than two values. */
  standardDeviation: number | null;
  min: number | null;
  max: number | null;
  /** Runs whose PSNR has no value because nothing differs. */
  equal: number;
  /** Runs where the quantized model gave NaN or infinite values. */
  notFinite: number;
}

/** @param values null: nothing differs; NaN or infinite: not finite */
export function spreadOf(values: readonly (number | null)[]): Spread {
  const finite = values.filter((value): value is number => value !== null && Number.isFinite(value));
  const n = finite.length;
  const equal = values.filter((value) => value === null).length;
  const mean = n > 0 ? finite.reduce((sum, value) => sum + value, 0) / n : null;
  const squares = finite.reduce((sum, value) => sum + (value - (mean ?? 0)) ** 2, 0);
  return {
    n, mean, standardDeviation: n > 1 ? Math.sqrt(squares / (n - 1)) : null, min: n > 0 ? Math.min(...finite) : null, max: n > 0 ? Math.max(...finite) : null,
    equal, notFinite: values.length - n - equal,
  };
}

/** Of the metric itself; null reads as equal. */
export function metricText(metric: Metric, value: number | null): string {
  return value === null ? metric.best : Number.isFinite(value) ? `${digits(metric, value)}${unitText(metric)}` : 'not finite';
}

/** `28.70 ± 0.41 dB`, and what is left out of it. */
export function spreadText(metric: Metric, { n, mean, standardDeviation, equal, notFinite }: Spread): string {
  const left = [...(notFinite > 0 ? [`${notFinite} not finite`] : []), ...(equal > 0 && n > 0 ? [`${equal} equal`] : [])].join(', ');
  if (mean === null) {
    return notFinite > 0 ? left : metric.best;
  }
  const deviation = standardDeviation === null ? '' : ` ± ${digits(metric, standardDeviation)}`;
  return `${digits(metric, mean)}${deviation}${unitText(metric)}${left === '' ? '' : ` (${left})`}`;
}

/** Only equality reads as 1, and only no spread as 0. */
function digits({ id, unit }: Metric, value: number): string {
  const places = unit === 'dB' ? 2 : 4;
  return id === 'outputRelativeMse' ? exponent(value)
    : unit === '' && value < 1 && value > 0.99995 ? '> 0.9999'
      : value > 0 && value < 0.5 * 10 ** -places ? `< ${(10 ** -places).toFixed(places)}` : value.toFixed(places).replace('-', '−');
}

function unitText({ unit }: Metric): string { return unit === '' ? '' : ` ${unit}`; }

/** Three digits, readable between a thousandth and a thousand. */
export function exponent(value: number): string {
  return (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e3) ? value.toExponential(2) : String(Number(value.toPrecision(3)))).replaceAll('-', '−');
}
