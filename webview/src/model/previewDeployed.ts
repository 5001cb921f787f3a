/** Previews as deployed: which candidates of a run are drawn, and what running on integers comes to, in words. */
import type { DeployedPreview } from '../../../server/src/protocol';
import type { PreviewState, PreviewSummary } from '../messages';
import { formatInteger, formatNumber } from './format';

/** A candidate that is drawn. */
export interface Drawn {
  /** Among the candidates of the run: of its pictures and numbers. */
  index: number;
  /** The config it is of. */
  source: number;
  label: string;
  deployed: boolean;
}

/** Every config, followed by itself as deployed while the switch is on and the run has it. */
export function drawnCandidates({ candidates, result, asDeployed, withDeployed }: Pick<PreviewState, 'candidates' | 'result' | 'asDeployed' | 'withDeployed'>): Drawn[] {
  return candidates.flatMap(({ label }, source) => (asDeployed && withDeployed ? [false, true] : [false]).map((deployed) => {
    const index = withDeployed ? 2 * source + Number(deployed) : source;
    return { index, source, deployed, label: result?.candidates[index]?.label ?? (deployed ? `${label}, as deployed` : label) };
  }));
}

/** The numbers of these candidates alone. */
export function numbersOf(result: PreviewSummary, drawn: readonly Drawn[]): PreviewSummary {
  return { ...result, candidates: drawn.flatMap(({ index }) => result.candidates[index] ?? []) };
}

/** Candidates as deployed with fake quantization in the place of full precision; `series` are their places among all candidates. null when there is none. */
export function besideFake(result: PreviewSummary): { result: PreviewSummary; series: number[] } | null {
  const series = result.candidates.flatMap(({ deployed }, index) => (deployed === undefined ? [] : [index]));
  const candidates = result.candidates.flatMap((candidate) => (candidate.deployed === undefined ? [] : [{ ...candidate, metrics: candidate.deployed.metrics, perStep: candidate.deployed.perStep }]));
  return series.length === 0 ? null : { result: { ...result, candidates }, series };
}

/** `36 layers on integers, 6 on floats` */
export function executionText({ integerLayers, floatLayers }: DeployedPreview): string {
  return `${layers(integerLayers)} on integers, ${formatInteger(floatLayers.length)} on floats`;
}

/** What the integers near a codebook's levels lose; null without codebooks. */
export function surrogateText({ weightSurrogate, activationSurrogate }: DeployedPreview): string | null {
  return weightSurrogate === 0 && activationSurrogate === 0 ? null
    : `Codebooks run on 8-bit integers near their levels, which loses at most ${formatNumber(weightSurrogate)} of the energy of the weights and ${formatNumber(activationSurrogate)} of that of the activations.`;
}

/** Layers that stay on floats, those of one reason together. */
export function floatGroups({ floatLayers }: DeployedPreview): { title: string; names: string[] }[] {
  const byReason = new Map<string, string[]>();
  floatLayers.forEach(({ name, reason }) => byReason.set(reason, [...(byReason.get(reason) ?? []), name]));
  return [...byReason].map(([reason, names]) => ({ title: `${layers(names.length)} on floats, because the layer ${reason}`, names }));
}

function layers(count: number): string {
  return `${formatInteger(count)} ${count === 1 ? 'layer' : 'layers'}`;
}
