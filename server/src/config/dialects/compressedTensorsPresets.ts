/** compressed-tensors' presets (`PRESET_SCHEMES`): bits of weights and activations, and the group size where there is one. W8A8 alone of the integer ones is per channel. */
export const presets: Readonly<Record<string, readonly [weights: number, activations: number, group?: number]>> = {
  UNQUANTIZED: [16, 16], W4A16_ASYM: [4, 16, 128], W8A8: [8, 8], INT8: [8, 8], W4AFP8: [4, 8, 128], FP8: [8, 8], FP8_DYNAMIC: [8, 8], FP8_BLOCK: [8, 8], NVFP4A16: [4, 16, 16], NVFP4: [4, 4, 16],
  MXFP4A16: [4, 16, 32], MXFP4: [4, 4, 32], MXFP8A16: [8, 16, 32], MXFP8: [8, 8, 32],
  ...Object.fromEntries([[2, 4], [2, 8], [2, 16], [3, 4], [3, 8], [3, 16], [4, 4], [4, 8], [4, 16], [5, 8], [5, 16], [6, 8], [6, 16], [7, 8], [7, 16], [8, 16]]
    .map(([weights = 0, activations = 0]) => [`W${weights}A${activations}`, [weights, activations, 128] as const])),
};

/** What each means, in words. */
export const presetDocs: Readonly<Record<string, string>> = Object.fromEntries(Object.entries(presets).map(([name, [weights, activations, group]]) =>
  [name, weights === 16 ? 'not quantized' : `${weights}-bit weights, ${activations === 16 ? 'activations as they are' : `${activations}-bit activations`}${group ? `, groups of ${group}` : ''}`]));
