/** What stands out, in words: one function for measured weights, one for captured activations. From when on is set by the config's `findings` section (config/thresholds.ts). */
import type { Capture, CaptureNumbers, CaptureResult, Finding, FindingCode, LayerOverTime, LayerPlan, LayerReport, Thresholds } from '../protocol';
import { grouped, layerOverTime, overTime } from './activations';

export interface EvidenceLayer { plan: LayerPlan; report: LayerReport; /** Measured over expected relative MSE; 1 is what the quantizer promises. */ deviation: number | null }

export function weightFindings({ plan, report, deviation }: EvidenceLayer, thresholds: Thresholds): Finding[] {
  const found: Finding[] = [];
  const add = (code: FindingCode, text: string, value: number, threshold: number | null): void => { found.push({ layer: plan.name, code, text, where: null, value, threshold }); };
  const { marginal: { before, after, rho, rotated }, nonFinite, zeroRows, sampledRows } = report;
  if (nonFinite > 0) {
    add('weight/not-finite', `${nonFinite} weights are NaN or infinite; their rows are left out of every number → download or convert the checkpoint again`, nonFinite, null);
  }
  if (zeroRows > 0) {
    add('weight/zero', `${zeroRows} of ${sampledRows} rows are all zero${zeroRows === sampledRows ? ': the layer gives its bias alone' : ''} → check how the checkpoint was converted`, zeroRows, null);
  }
  if (deviation !== null && deviation > thresholds.deviation) {
    const tails = before.excessKurtosis > heavyTails ? `: heavy tails, excess kurtosis ${before.excessKurtosis.toFixed(1)}` : '';
    add('weight/deviation', `error ${deviation.toFixed(2)} × what the quantizer gives on its design distribution${tails} → ${rotated ? '' : 'rotate it, '}use groups or more bits, or keep it`, deviation, thresholds.deviation);
  }
  if (rotated && after.ks > thresholds.ksAfterRotation) {
    add('weight/rotation', `rotation does not bring the rows to the marginal: KS ${after.ks.toFixed(3)} after, ${before.ks.toFixed(3)} before${before.excessKurtosis > heavyTails ? `, excess kurtosis ${before.excessKurtosis.toFixed(1)} before` : ''}` +
      ' → integers with groups, or keep it', after.ks, thresholds.ksAfterRotation);
  }
  if (rotated && rho > thresholds.rho) {
    add('weight/rho', `ρ of Proposition 1 is ${rho.toFixed(1)}: single large weights, the rotation cannot promise the marginal → look at KS; where it is high, use groups or keep it`, rho, thresholds.rho);
  }
  return found;
}

/** At given thresholds, or those that the capture was made with. */
export function captureResult(capture: Capture, thresholds = capture.thresholds): CaptureResult {
  return { ...capture, thresholds, findings: [...capturedWeightFindings(capture), ...activationFindings(capture, thresholds)], overTime: overTime(capture, thresholds) };
}

/** Named as the cause from here on: Laplace's. */
const heavyTails = 3;

/** What a capture says of weights: NaN, infinite, or all zero. A report of the layers finds the same, under the same codes. */
export function capturedWeightFindings({ weights }: Capture): Finding[] {
  return weights.flatMap(({ layer, absMax, nonFinite }): Finding[] => {
    const rest = { layer, where: null, threshold: null };
    return nonFinite > 0 ? [{ ...rest, code: 'weight/not-finite', value: nonFinite, text: `the weights of ${nonFinite} input channels are NaN or infinite: everything behind it is lost → download or convert the checkpoint again` }]
      : absMax === 0 ? [{ ...rest, code: 'weight/zero', value: 0, text: 'all of its weight is zero: it gives its bias alone, whatever goes in → check how the checkpoint was converted' }] : [];
  });
}

/** Kolmogorov's critical value for one in a thousand: over √(values), what sampling alone gives. */
const chance = 1.95;
/** So many values beyond 4 deviations cannot be chance where less than 0.1 are expected. */
const leastInTail = 3;

/** KS that sampling alone may give. Tokens that point the same way count once. */
function samplingKs({ width, effectiveRows }: CaptureNumbers): number { return chance / Math.sqrt(width * Math.max(1, effectiveRows)); }

/** Each layer and half of guidance on its own; what never came to be finite first, then rotations that fail, then the rest. */
export function activationFindings(capture: Capture, thresholds: Thresholds): Finding[] {
  return [...notFinite(capture), ...grouped(capture.layers).flatMap((cells) => ofLayer(cells, layerOverTime(cells, thresholds), thresholds))]
    .sort((a, b) => order.indexOf(a.code) - order.indexOf(b.code));
}

const order: FindingCode[] = ['activation/not-finite', 'activation/silent', 'activation/rotation', 'activation/energy', 'activation/outlier', 'activation/tails', 'activation/time-range'];

/** Once for each half: behind the first layer, all are lost. Weights that do it are named in its place. */
function notFinite({ layers, weights }: Capture): Finding[] {
  return weights.some(({ nonFinite }) => nonFinite > 0) ? [] : (['conditional', 'unconditional'] as const).flatMap((half): Finding[] => {
    const broken = layers.filter((each) => each.half === half && each.nonFinite > 0);
    const step = Math.min(...broken.map((each) => each.step));
    const first = broken.find((each) => each.step === step);
    const names = new Set(broken.map(({ layer }) => layer));
    return first ? [{
      layer: first.layer, code: 'activation/not-finite', where: { half, steps: broken.filter(({ layer }) => layer === first.layer).map((each) => each.step) }, value: first.nonFinite, threshold: null,
      text: `${first.nonFinite} of its inputs are NaN or infinite (${half}, t = ${shortly(first.timestep)}), the first such layer at the first such step${names.size > 1 ? `; ${names.size - 1} more have them` : ''} → "sensitivity --first-bad" names the layer that makes them`,
    }] : [];
  });
}

function ofLayer(cells: readonly CaptureNumbers[], over: LayerOverTime, thresholds: Thresholds): Finding[] {
  const { layer, half } = over;
  const found: Finding[] = [];
  const usable = cells.filter(({ rows, nonFinite, absMax }) => rows > 0 && nonFinite === 0 && absMax > 0);
  /** One finding for all cells beyond the threshold, told by the worst. */
  const add = (code: FindingCode, threshold: number | null, among: readonly CaptureNumbers[], value: (cell: CaptureNumbers) => number, text: (worst: CaptureNumbers, where: string) => string): boolean => {
    const [worst] = [...among].sort((a, b) => value(b) - value(a));
    if (worst) {
      const where = `${half}, ${among.length === cells.length ? (cells.length === 1 ? `t = ${shortly(worst.timestep)}` : `all ${cells.length} steps`) : `${among.length} of ${cells.length} steps, worst at t = ${shortly(worst.timestep)}`}`;
      found.push({ layer, code, text: text(worst, threshold === null ? where : `${where}; threshold ${threshold}`), where: { half, steps: among.map(({ step }) => step) }, value: value(worst), threshold });
    }
    return worst !== undefined;
  };
  const beyond = (value: (cell: CaptureNumbers) => number, threshold: number): CaptureNumbers[] => usable.filter((cell) => value(cell) > threshold);
  const share = ({ topEnergy }: CaptureNumbers): number => topEnergy.share;
  const advice = remedies(over, thresholds);

  if (cells.every(({ absMax, nonFinite }) => absMax === 0 && nonFinite === 0)) {
    add('activation/silent', null, cells, () => 0, (_worst, where) => `all of its inputs are zero (${where}): it gives its bias alone → look at what feeds it: a weight that is zero, or a gate`);
  }
  const ks = ({ after }: CaptureNumbers): number => after.ks;
  const failing = beyond(ks, thresholds.activationKs).filter((cell) => ks(cell) > samplingKs(cell) || share(cell) > thresholds.energyShare);
  const rotation = add('activation/rotation', thresholds.activationKs, failing, ks, (worst, where) =>
    `rotation does not Gaussianise its inputs: KS ${ks(worst).toFixed(3)} behind it (${where}), channel ${worst.topEnergy.channel} holds ${percent(share(worst))} of the energy${ratioOf(worst)} → ${advice}`);
  const energy = !rotation && add('activation/energy', thresholds.energyShare, beyond(share, thresholds.energyShare), share, (worst, where) =>
    `one channel holds most of the energy: channel ${worst.topEnergy.channel}, ${percent(share(worst))} (${where})${ratioOf(worst)} → ${advice}`);
  if (!rotation && !energy) {
    const ratio = ({ channelRange }: CaptureNumbers): number => channelRange ?? 0;
    add('activation/outlier', thresholds.salientChannel, beyond(ratio, thresholds.salientChannel), ratio, (worst, where) =>
      `channel ${worst.channels[0]?.channel ?? 0} is a salient outlier: ${ratio(worst).toFixed(0)} × the median channel (${where}), ${percent(worst.channels[0]?.energy ?? 0)} of the energy; one scale for a token leaves nothing for the others → rotate it, ${advice}`);
  }
  const tail = ({ tails }: CaptureNumbers): number => tails.after.beyond4;
  add('activation/tails', thresholds.tailMass, beyond(tail, thresholds.tailMass).filter((cell) => tail(cell) * cell.width * Math.max(1, cell.effectiveRows) >= leastInTail), tail, (worst, where) =>
    `heavy tails behind the rotation: ${percent(tail(worst))} of the coordinates lie beyond 4 standard deviations (${where}), the fixed marginal has ${percent(worst.tails.expected.beyond4)}: codebooks cut them off → ${advice}`);
  const range = over.timeRange ?? 0;
  if (range > thresholds.timeRange) {
    const [smallest, largest] = [...usable].sort((a, b) => a.absMax - b.absMax).filter((_each, i, all) => i === 0 || i === all.length - 1);
    found.push({
      layer, code: 'activation/time-range', where: { half, steps: [...over.steps] }, value: range, threshold: thresholds.timeRange,
      text: `its largest input changes ${range.toFixed(0)} × over the steps (${half}; threshold ${thresholds.timeRange}): ${shortly(largest?.absMax ?? 0)} at t = ${shortly(largest?.timestep ?? 0)}, ${shortly(smallest?.absMax ?? 0)} at t = ${shortly(smallest?.timestep ?? 0)}; one static range costs the smallest ${Math.log2(range).toFixed(1)} bits → dynamic scales, not a static range`,
    });
  }
  return found;
}

/** What helps against outlier channels. Permuting needs several of them, smoothing weights that have room there. */
function remedies({ outliers, salienceCorrelation }: LayerOverTime, thresholds: Thresholds): string {
  const occupied = salienceCorrelation !== null && salienceCorrelation > thresholds.salienceCorrelation;
  const steady = outliers.length === 0 || outliers.every(({ persistent }) => persistent);
  return [
    ...(outliers.length > 1 ? ['permute its channels so that outliers share no block'] : []), ...(occupied ? [] : [steady ? 'smooth it' : 'smooth it over all steps']), 'keep it',
  ].join(', ').replace(/, (?=[^,]*$)/, ' or ') + (occupied ? ` (not smoothing: its weights are large in the same channels, Spearman ρ ${salienceCorrelation.toFixed(2)})` : '');
}

function ratioOf({ topEnergy, channels }: CaptureNumbers): string {
  const ratio = channels.find(({ channel }) => channel === topEnergy.channel)?.ratio ?? null;
  return ratio === null ? '' : `, ${ratio.toFixed(ratio < 10 ? 1 : 0)} × the median channel`;
}

/** Only a whole is 100 %. */
function percent(share: number): string { return share < 1 && share >= 0.995 ? '> 99 %' : `${Number((100 * share).toPrecision(2))} %`; }
function shortly(value: number): string { return String(Number(value.toPrecision(4))); }
