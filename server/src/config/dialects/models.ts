/** What tools know by heart about model classes, read in their sources (2026-08). */

/** diffusers: `_keep_in_fp32_modules`. */
export const keptInFp32: Readonly<Record<string, readonly string[]>> = {
  WanTransformer3DModel: ['rope', 'time_embedder', 'scale_shift_table', 'norm1', 'norm2', 'norm3'],
  WanVACETransformer3DModel: ['rope', 'time_embedder', 'scale_shift_table', 'norm1', 'norm2', 'norm3'],
  SkyReelsV2Transformer3DModel: ['time_embedder', 'scale_shift_table', 'norm1', 'norm2', 'norm3'],
  ChronoEditTransformer3DModel: ['time_embedder', 'scale_shift_table', 'norm1', 'norm2', 'norm3'],
  CosmosTransformer3DModel: ['learnable_pos_embed'],
  Kandinsky5Transformer3DModel: ['time_embeddings', 'modulation', 'visual_modulation', 'text_modulation'],
};
