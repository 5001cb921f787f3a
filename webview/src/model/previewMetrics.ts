/** The numbers of a preview: name, direction, scale and text of each in one table. */
import type { PreviewAgreement, PreviewSettings, PreviewStep } from '../../../server/src/protocol';
import type { PreviewSummary } from '../messages';
import { formatDecibel, formatInteger, formatNumber, formatPercent } from './format';

export interface PreviewMetric {
  id: keyof PreviewAgreement | 'outputRelativeMse';
  title: string;
  better: 'higher is better' | 'lower is better';
  hint: string;
  scale: 'log' | 'linear';
  /** null says equal. */
  format: (value: number | null) => string;
}

/** The model's output at each step, before the sampler turns it into a picture. */
export const OUTPUT_ERROR: PreviewMetric = {
  id: 'outputRelativeMse', title: 'Output error', better: 'lower is better', hint: '‖quantized − reference‖² / ‖reference‖² of the model\'s output, mean over the items.',
  scale: 'log', format: formatNumber,
};

export const AGREEMENT: readonly (PreviewMetric & { id: keyof PreviewAgreement })[] = [
  { id: 'latentCosine', title: 'Latent cosine', better: 'higher is better', hint: 'Cosine between the latents; 1 is equal.', scale: 'linear', format: formatShare },
  { id: 'latentPsnrDb', title: 'Latent PSNR', better: 'higher is better', hint: 'Peak signal to noise ratio of the latents in dB; the peak is the range of the reference.', scale: 'linear', format: formatPsnr },
  { id: 'psnrDb', title: 'Image PSNR', better: 'higher is better', hint: 'Peak signal to noise ratio of the pictures in dB.', scale: 'linear', format: formatPsnr },
  { id: 'ssim', title: 'Image SSIM', better: 'higher is better', hint: 'Structural similarity of the pictures; 1 is equal.', scale: 'linear', format: formatShare },
];

export const STEP_METRICS: readonly PreviewMetric[] = [OUTPUT_ERROR, ...AGREEMENT];

/** Only equality reads as 1. */
function formatShare(value: number | null): string {
  return value === null ? 'equal' : value < 1 && value > 0.99995 ? '> 0.9999' : value.toFixed(4).replace('-', '−');
}

function formatPsnr(value: number | null): string {
  return value === null ? 'equal' : formatDecibel(value);
}

/** Median of the output's error over the compared steps; a mean would tell of the last steps alone, where the output itself is small. null without steps. */
export function medianOutputError(steps: readonly PreviewStep[]): number | null {
  const errors = steps.map(({ outputRelativeMse }) => outputRelativeMse).sort((a, b) => a - b);
  const [low, high] = [errors[Math.floor((errors.length - 1) / 2)], errors[Math.floor(errors.length / 2)]];
  return low === undefined || high === undefined ? null : (low + high) / 2;
}

/** One row for each metric, one text for each candidate. */
export function metricRows({ candidates }: PreviewSummary): { metric: PreviewMetric; title: string; texts: string[] }[] {
  const errors = candidates.map(({ perStep }) => medianOutputError(perStep));
  return [
    ...AGREEMENT.map((metric) => ({ metric, title: metric.title, texts: candidates.map(({ metrics }) => metric.format(metrics[metric.id])) })),
    ...(errors.every((error) => error === null) ? [] : [{ metric: OUTPUT_ERROR, title: `${OUTPUT_ERROR.title}, median of the steps`, texts: errors.map(formatNumber) }]),
  ];
}

/** What the agreement of a candidate was measured on. */
export function measuredOn({ settings, items, device }: PreviewSummary): string {
  return `${settings.mode === 'forced' ? 'mean of the compared steps' : 'finished sample'}${items.length > 1 ? `, mean of ${items.length} items` : ''}${device ? `, bfloat16 on ${device.name}` : ''}`;
}

export function scopeText({ scope }: PreviewSummary['candidates'][number]): string {
  const share = formatPercent(scope.paramsPercent / 100);
  return `${formatInteger(scope.quantizedLayers)} of ${formatInteger(scope.layers)} layers · ${share} of the weights · ${scope.averageBits.toFixed(3)} bits average`;
}

export function settingTexts({ mode, steps, compareSteps, seed, guidance, width, height, frames, decoder }: PreviewSettings): string[] {
  const how = mode === 'forced' ? `forced: ${Math.min(compareSteps, steps)} of ${steps} reference steps compared` : `free: ${steps} sampling steps`;
  return [
    how, `${width} × ${height} pixels`, ...(frames > 1 ? [`${frames} frames`] : []), `seed ${seed}`, `guidance ${guidance}`,
    ...(decoder === 'vae' ? [] : [`decoder ${decoder.slice(decoder.lastIndexOf('/') + 1)}`]),
  ];
}

/** Why the comparison says nothing, or null when the reference is sound. */
export function referenceWarning({ finite, uniform }: PreviewSummary['reference']): string | null {
  if (!finite) {
    return 'The full-precision reference has NaN or infinite values, so nothing below means anything. Check the checkpoint, the number of steps and the guidance.';
  }
  return uniform ? 'The full-precision reference is one uniform area, so agreement with it means nothing. Check the checkpoint, the class or prompt, and the number of steps.' : null;
}

export interface CurvePoint { step: number; timestep: number; value: number | null }

export function curve(steps: readonly PreviewStep[], { id }: PreviewMetric): CurvePoint[] {
  return steps.map((step) => ({ step: step.step, timestep: step.timestep, value: step[id] }));
}

/**
 * Range of a curve's axis. Logarithmic: whole half-decades around the positive values. Linear: some air on both sides, and for a metric whose
 * best is 1 never beyond it. Without values 0..1, logarithmic 0.001..1.
 */
export function curveDomain(values: readonly (number | null)[], metric: Pick<PreviewMetric, 'scale' | 'id'>): [number, number] {
  const finite = values.filter((value): value is number => value !== null && Number.isFinite(value));
  if (metric.scale === 'log') {
    const positive = finite.filter((value) => value > 0);
    if (positive.length === 0) {
      return [1e-3, 1];
    }
    const low = 10 ** (Math.floor(2 * Math.log10(Math.min(...positive)) - 0.01) / 2);
    const high = 10 ** (Math.ceil(2 * Math.log10(Math.max(...positive)) + 0.01) / 2);
    return [low, high];
  }
  if (finite.length === 0) {
    return [0, 1];
  }
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  const bounded = metric.id === 'latentCosine' || metric.id === 'ssim';
  const air = Math.max((high - low) * 0.12, bounded ? 1e-3 : 0.5);
  return [low - air, bounded ? Math.min(1, high + air) : high + air];
}
