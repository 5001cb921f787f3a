/** Sentences and names that HTML and Markdown share. */
import { deviceText } from '../../preview/device';
import type { PreviewSettings, Sensitivity } from '../../protocol';
import type { Evidence } from '.';
import type { Comparison } from './comparison';
import { exponent } from './metrics';

export function counted(count: number, what: string): string { return `${count} ${what}${count === 1 ? '' : 's'}`; }

/** Prompts are long; their whole text stands with the settings. */
export function shortName(item: string): string { return item.length > 48 ? `${item.slice(0, 47).trimEnd()}…` : item; }

/** Steps are counted from 1 for readers. */
export function stepText(step: number | null, steps: number): string {
  return step === null ? 'finished sample' : `step ${step + 1} of ${steps}`;
}

/** How the pictures were made. */
export function settingTexts({ mode, steps, compareSteps, guidance, width, height, frames, decoder }: PreviewSettings): string[] {
  return [
    mode === 'forced' ? `forced, ${compareSteps} of ${steps} steps compared` : `free, ${steps} steps`, `${width} × ${height} pixels`, ...(frames > 1 ? [`${frames} frames`] : []), `guidance ${guidance}`,
    ...(decoder === 'vae' ? [] : [`decoder ${decoder.slice(decoder.lastIndexOf('/') + 1)}`]),
  ];
}

export function seedsText({ seeds }: Comparison): string {
  return seeds.length === 1 ? `seed ${seeds[0]} alone, so there is no spread` : `seeds ${seeds.join(', ')}`;
}

/** What one value of a metric is of. */
export function measuredOn({ settings, items, seeds, device }: Comparison): string {
  return `${settings.mode === 'forced' ? `mean of ${counted(settings.compareSteps, 'compared step')}` : 'finished samples'} of ${counted(items.length, 'item')}; mean ± standard deviation over ${counted(seeds.length, 'seed')}${device ? `; activations in bfloat16 on ${deviceText(device)}` : ''}`;
}

/** LPIPS is what many reviewers ask for; nobody should look for it in vain. */
export const lpipsNote = 'LPIPS is not among these numbers: it needs a network that this program does not carry. "--images" writes the pictures for a tool that has it.';

export function isEstimate({ layers }: Sensitivity): boolean { return layers.some(({ estimate }) => estimate); }

export function scoreText(score: number | null): string { return score === null ? 'not finite' : exponent(score); }

/** What the ranking's numbers are. */
export function rankingText(ranking: Sensitivity): string {
  const { layers, items } = ranking;
  return isEstimate(ranking)
    ? 'An estimate from one step of the first item: the error of each block, shared out to its layers by the error that each makes of its own output. It has no controls. "report --sensitivity" measures it.'
    : `Error of the clean picture that the guided output leads to when this ${ranking.by} alone is quantized, ‖swapped − clean‖² / ‖clean‖², mean of ${counted(layers[0]?.perStep.length ?? 0, 'step')} of ${counted(items.length, 'item')}; lower is better.`;
}

/** What keeps the ranking honest, one sentence each; none for an estimate. */
export function controlTexts({ by, additivity, controls }: Sensitivity): string[] {
  if (!additivity) {
    return [];
  }
  const { zeroSwap, noise } = controls;
  return [
    `Zero swap: ${zeroSwap.differing === 0 ? 'exactly 0, no value differs' : `${zeroSwap.differing} values differ`} in ${zeroSwap.runs} runs with nothing swapped${zeroSwap.differing === 0 ? '' : ', so these numbers cannot be trusted'}.`,
    `Additivity: the parts add up to ${scoreText(additivity.sumOfParts)}, all at once give ${scoreText(additivity.whole)}, ratio ${additivity.ratio === null ? '–' : exponent(additivity.ratio)} (1: errors of single ${by}s simply add up).`,
    ...noise.map(({ name, weights, noise: matched, ratio }) => `Noise control, ${name}: weights alone quantized ${scoreText(weights)}, Gaussian noise of the same norm ${scoreText(matched)}, ratio ${ratio === null ? '–' : exponent(ratio)} (above 1: this error hurts more than noise of its size).`),
  ];
}

/** From when on numbers are findings, and of what findings there are. */
export function thresholdsText({ thresholds, capture }: Evidence): string {
  const { deviation, ksAfterRotation, rho, activationKs, energyShare, salientChannel, tailMass, timeRange } = thresholds;
  const weights = `error above ${deviation} × expected, KS after rotation above ${ksAfterRotation}, ρ above ${rho}; any NaN, Inf or all-zero row`;
  return `Thresholds, set by "findings" in the config. Weights: ${weights}. ${capture
    ? `Activations: KS behind the rotation above ${activationKs}, one channel above ${100 * energyShare} % of the energy or ${salientChannel} × the median, tails above ${100 * tailMass} %, range over the steps above ${timeRange}; any NaN or Inf.`
    : 'Activations were not looked at: "quantscope capture" makes a file that "report --capture" takes.'}`;
}

/** Identity and versions, title and value. */
export function provenance({ config, identity, plan, engine, date, comparison }: Evidence): [title: string, value: string][] {
  const found = 'found' in comparison ? comparison.found : null;
  const hashed = identity.files.every(({ sha256 }) => sha256 !== null);
  return [
    ['Config', `${config.name}, SHA-256 ${config.sha256}${config.saved ? '' : ' of the text in the editor, which was not saved'}`],
    ['Plan', plan.hash],
    ...identity.files.map(({ name, bytes, sha256 }): [string, string] => ['Weights', `${name}, ${bytes} bytes, ${sha256 === null ? 'content not hashed' : `SHA-256 ${sha256}`}`]),
    ['Checkpoint revision', `${identity.revision}: of paths, sizes and times of the files, so it tells changes on this machine only.${hashed ? '' : ' Files above 1 GiB are hashed with "report --hash".'}`],
    ['Engine', `QuantScope ${engine.version}, ${engine.cpuLevel}, ${counted(engine.threads, 'thread')} (results do not depend on their number)`],
    ['Platform', `Node ${process.version}, ${process.platform} ${process.arch}`],
    ...(found ? [['Preview', [...settingTexts(found.settings), seedsText(found)].join(', ')] as [string, string], ['Items', found.items.join(', ')] as [string, string]] : []),
    ['Date', `${date.toISOString().slice(0, 16).replace('T', ' ')} UTC`],
  ];
}
