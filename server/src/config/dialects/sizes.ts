/** Sizes that have to fit the layers: groups that divide the inputs, ranks that are no larger than a layer. */
import type { Checkpoint, Layer, Range } from '../../protocol';
import type { DialectCode } from './codes';
import { problem } from './dialect';
import type { DialectProblem } from './dialect';
import { describeShare } from './evaluate';
import type { Fields } from './fields';

/** @param effect what the tool does about it, a sentence. */
export function widthTraps(code: DialectCode, range: Range, group: number, layers: readonly Layer[], checkpoint: Checkpoint, effect: string, severity: 'error' | 'warning' | 'info' = 'error', what = 'Groups'): DialectProblem[] {
  const odd = group > 0 ? layers.filter(({ inFeatures }) => inFeatures % group !== 0) : [];
  return odd.length === 0 ? [] : [problem(code, severity, range, `${what} of ${group} do not divide the inputs of ${describeShare(odd, checkpoint)}, such as "${odd[0]?.name ?? ''}" (${odd[0]?.inFeatures ?? 0}): ${effect}`)];
}

/** A low-rank branch of rank r holds r · (inputs + outputs) numbers: at min(inputs, outputs) it says all that the layer can say. @param layers that get one */
export function rankTraps(fields: Fields, key: string, layers: readonly Layer[], checkpoint: Checkpoint): DialectProblem[] {
  const rank = fields.number(key);
  const small = rank === undefined ? [] : layers.filter(({ inFeatures, outFeatures }) => rank > Math.min(inFeatures, outFeatures));
  const [first] = small;
  return first && rank !== undefined ? [problem('dialect/rank', 'warning', fields.range(key),
    `Rank ${rank} is more than ${describeShare(small, checkpoint)} can have, such as "${first.name}" (${first.outFeatures} × ${first.inFeatures}): a branch like that costs more than the layer, and some tools stop.`)] : [];
}
