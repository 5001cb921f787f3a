/** compressed-tensors' presets (`PRESET_SCHEMES`). All integer ones have groups of 128 but W8A8, which is per channel; activations are dynamic per token. */
import { keepOriginal } from '../../methods/method';
import { blocksOf2d, staticFloat } from './quantizationArgs';
import { equivalent, float, int, uint } from './recipes';
import type { Equivalent } from './recipes';

/** `columns` of blocks that span several rows too. */
export interface Preset { weights: number; activations: number; group?: number; columns?: number; as: Equivalent | null }

const preset = (weights: number, activations: number, group: number | undefined, as: Equivalent | null): Preset => ({ weights, activations, as, ...(group === undefined ? {} : { group }) });
const perChannel = preset(8, 8, undefined, equivalent(int(8), int(8)));
const block = (format: 'nvfp4' | 'mxfp4' | 'mxfp8', group: number): [string, Preset][] => {
  const [name, bits] = [format.toUpperCase(), format === 'mxfp8' ? 8 : 4];
  return [[name, preset(bits, bits, group, equivalent(float(format), float(format)))], [`${name}A16`, preset(bits, 16, group, equivalent(float(format)))]];
};

export const presets: Readonly<Record<string, Preset>> = {
  UNQUANTIZED: preset(16, 16, undefined, null), W4A16_ASYM: preset(4, 16, 128, equivalent(uint(4, 128))), W8A8: perChannel, INT8: perChannel, W4AFP8: preset(4, 8, 128, equivalent(int(4, 128), float('fp8', 'row'))),
  FP8: preset(8, 8, undefined, equivalent(float('fp8', 'tensor'), float('fp8', 'tensor'), [staticFloat])), FP8_DYNAMIC: preset(8, 8, undefined, equivalent(float('fp8', 'row'), float('fp8', 'row'))),
  FP8_BLOCK: { ...preset(8, 8, undefined, equivalent(float('fp8', 128), float('fp8', 128), [blocksOf2d])), columns: 128 },
  ...Object.fromEntries([...block('nvfp4', 16), ...block('mxfp4', 32), ...block('mxfp8', 32)]),
  ...Object.fromEntries([[2, 4], [2, 8], [2, 16], [3, 4], [3, 8], [3, 16], [4, 4], [4, 8], [4, 16], [5, 8], [5, 16], [6, 8], [6, 16], [7, 8], [7, 16], [8, 16]]
    .map(([weights = 0, activations = 0]) => [`W${weights}A${activations}`, preset(weights, activations, 128, equivalent(int(weights, 128), activations === 16 ? keepOriginal : int(activations)))] as const)),
};

/** What each means, in words. */
export const presetDocs: Readonly<Record<string, string>> = Object.fromEntries(Object.entries(presets).map(([name, { weights, activations, group }]) =>
  [name, weights === 16 ? 'not quantized' : `${weights}-bit weights, ${activations === 16 ? 'activations as they are' : `${activations}-bit activations`}${group ? `, groups of ${group}` : ''}`]));
