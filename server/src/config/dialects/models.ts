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

/** diffusers: `_skip_layerwise_casting_patterns`. */
export const skippedByCasting: Readonly<Record<string, readonly string[]>> = {
  DiTTransformer2DModel: ['pos_embed', 'norm'],
  PixArtTransformer2DModel: ['pos_embed', 'norm', 'adaln_single'],
  FluxTransformer2DModel: ['pos_embed', 'norm'],
  ZImageTransformer2DModel: ['t_embedder', 'cap_embedder'],
  WanTransformer3DModel: ['patch_embedding', 'condition_embedder', 'norm'],
  CogVideoXTransformer3DModel: ['patch_embed', 'norm'],
};

/** SDNQ: `module_skip_keys_dict`, names that it keeps in high precision. */
export const sdnqSkips: Readonly<Record<string, readonly string[]>> = {
  FluxTransformer2DModel: ['single_transformer_blocks.0.norm.linear.weight', 'time_text_embed', 'time_embed', 'context_embedder', 'x_embedder', '.proj_out', 'norm_out'],
  Flux2Transformer2DModel: ['double_stream_modulation_img', 'double_stream_modulation_txt', 'single_stream_modulation', 'time_guidance_embed', 'context_embedder', 'x_embedder', '.proj_out', 'norm_out'],
  ChromaTransformer2DModel: ['distilled_guidance_layer', 'time_text_embed', 'context_embedder', 'x_embedder', '.proj_out', 'norm_out'],
  QwenImageTransformer2DModel: ['transformer_blocks.0.img_mod.1.weight', 'time_text_embed', 'txt_in', 'img_in', 'proj_out', 'norm_out'],
  WanTransformer3DModel: ['scale_shift_table', 'patch_embedding', 'condition_embedder', 'proj_out', 'norm_out'],
  Lumina2Transformer2DModel: ['layers.0.norm1.linear.weight', 'time_caption_embed', 'x_embedder', 'norm_out'],
  ZImageTransformer2DModel: ['layers.0.adaLN_modulation.0.weight', 't_embedder', 'cap_embedder', 'siglip_embedder', 'all_x_embedder', 'all_final_layer'],
  CosmosTransformer3DModel: ['transformer_blocks.0.norm*', 'patch_embed', 'time_embed', 'norm_out', 'proj_out', 'crossattn_proj'],
};

/** SDNQ: `common_skip_keys`, for classes without a list of their own. */
export const sdnqCommonSkips: readonly string[] = [
  '.time_embed', '.context_embedder', '.condition_embedder', '.x_embedder', '.t_embedder', '.y_embedder', '.proj_in', '.emb_in', '.txt_in', '.img_in', '.vid_in', '.proj_out', '.norm_out', '.emb_out', '.txt_out', '.img_out', '.vid_out',
  '.final_layer', 'multi_modal_projector', 'time_text_embed', 'patch_embedding', 'patch_embed', 'patch_emb', 'lm_head', 'wte',
];
