/** deepcompressor's role keys: the only words that its lists take, and which layers have them. Read in its structs (v0.1.0). */
import type { Layer } from '../../../protocol';

/** Role keys that stand for others; every other one stands for itself. */
export const groupsOfRoles: Readonly<Record<string, readonly string[]>> = {
  embed: ['input_embed', 'time_embed', 'text_embed', 'output_embed'], attn: ['attn_qkv_proj', 'attn_out_proj'], attn_add: ['attn_add_qkv_proj', 'attn_add_out_proj'], ffn: ['ffn_up_proj', 'ffn_down_proj'], ffn_add: ['ffn_add_up_proj', 'ffn_add_down_proj'],
};
const inBlocks = ['transformer_norm', 'transformer_add_norm', ...Object.entries(groupsOfRoles).filter(([group]) => group !== 'embed').flatMap(([, keys]) => keys), 'transformer_proj_in', 'transformer_proj_out', 'resblock_conv', 'resblock_shortcut', 'resblock_time_proj'];
export const vocabulary = [...Object.keys(groupsOfRoles), ...groupsOfRoles['embed'] ?? [], ...inBlocks, 'sample', 'down_sample', 'up_sample', 'resblock'];
/** U-Nets have all of them once more for each third, which no transformer has. */
const ofUNets = /^(?:down|mid|up)(?:_(.+))?$/;

export function isRoleKey(key: string): boolean {
  const [thirds, inner] = ofUNets.exec(key) ?? [];
  return vocabulary.includes(key) || (thirds !== undefined && (inner === undefined || inBlocks.includes(inner)));
}

/** Whether a layer has one of the roles that a key stands for. */
export function hasRole(layer: Layer, key: string): boolean {
  const keys = groupsOfRoles[key] ?? [key];
  return roleKeys(layer).some((each) => keys.includes(each));
}

/** Role keys of a layer by the end of its name, for the models that deepcompressor has structs of. A single block's proj_out is split into two. */
const roles: readonly [pattern: RegExp, ...keys: string[]][] = [
  [/^single_transformer_blocks\.\d+\.proj_out$/, 'attn_out_proj', 'ffn_down_proj'], [/^single_transformer_blocks\.\d+\.proj_mlp$/, 'ffn_up_proj'], [/\.norm1_context\.linear$/, 'transformer_add_norm'],
  [/transformer_blocks\.\d+\.norm1?\.linear$/, 'transformer_norm'], [/\.attn2\.to_[kv]$/, 'attn_add_qkv_proj'], [/\.attn\d?\.to_[qkv]$/, 'attn_qkv_proj'], [/\.attn\d?\.to_out\.0$/, 'attn_out_proj'], [/\.attn\.add_[qkv]_proj$/, 'attn_add_qkv_proj'],
  [/\.attn\.to_add_out$/, 'attn_add_out_proj'], [/\.ff\.net\.0\.proj$/, 'ffn_up_proj'], [/\.ff\.net\.2$/, 'ffn_down_proj'], [/\.ff_context\.net\.0\.proj$/, 'ffn_add_up_proj'], [/\.ff_context\.net\.2$/, 'ffn_add_down_proj'],
  [/^x_embedder$/, 'input_embed'], [/^(?:time_text_embed|adaln_single|time_embed)\./, 'time_embed'], [/^(?:context_embedder$|caption_projection\.)/, 'text_embed'], [/^(?:norm_out\.linear|proj_out)$/, 'output_embed'],
];
/** Classes that deepcompressor has structs of. */
export const models = ['FluxTransformer2DModel', 'PixArtTransformer2DModel', 'SanaTransformer2DModel', 'SD3Transformer2DModel'];

export function roleKeys({ name }: Pick<Layer, 'name'>): readonly string[] {
  return roles.find(([pattern]) => pattern.test(name))?.slice(1) as readonly string[] | undefined ?? [];
}
