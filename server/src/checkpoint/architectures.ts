/**
 * How the tensors of each architecture are named, and what each linear layer does in it. Adding a model is one entry.
 * diffusers names first; the namings of the original releases follow where people still use those files.
 */
import type { Role } from '../protocol';

/** One way to name the tensors of an architecture. */
export interface Naming {
  /** Tensors that no other architecture has together. */
  detect: readonly string[];
  /** Lists of repeated blocks; `{i}` below stands for the index in one of them. */
  blocks: readonly string[];
  roles: Readonly<Partial<Record<Role, readonly string[]>>>;
}

export interface Architecture {
  /** diffusers class name. */
  name: string;
  /** Whether config.json describes it; by default when `_class_name` equals the name. */
  describedBy?: (config: Record<string, unknown>) => boolean;
  namings: readonly Naming[];
}

export const architectures: readonly Architecture[] = [
  {
    name: 'DiTTransformer2DModel',
    describedBy: config => config['_class_name'] === 'Transformer2DModel' && config['norm_type'] === 'ada_norm_zero',
    namings: [
      {
        detect: ['transformer_blocks.0.norm1.emb.class_embedder.embedding_table.weight'],
        blocks: ['transformer_blocks'],
        roles: {
          ...attention('transformer_blocks.{i}.attn1'),
          'ffn-up': ['transformer_blocks.{i}.ff.net.0.proj'],
          'ffn-down': ['transformer_blocks.{i}.ff.net.2'],
          'modulation': ['transformer_blocks.{i}.norm1.linear'],
          'embedder': ['transformer_blocks.{i}.norm1.emb.timestep_embedder.linear_1', 'transformer_blocks.{i}.norm1.emb.timestep_embedder.linear_2'],
          'final': ['proj_out_1', 'proj_out_2'],
        },
      },
      {
        detect: ['blocks.0.adaLN_modulation.1.weight', 'y_embedder.embedding_table.weight'],
        blocks: ['blocks'],
        roles: {
          'qkv': ['blocks.{i}.attn.qkv'],
          'attention-out': ['blocks.{i}.attn.proj'],
          'ffn-up': ['blocks.{i}.mlp.fc1'],
          'ffn-down': ['blocks.{i}.mlp.fc2'],
          'modulation': ['blocks.{i}.adaLN_modulation.1'],
          'embedder': ['t_embedder.mlp.0', 't_embedder.mlp.2'],
          'final': ['final_layer.adaLN_modulation.1', 'final_layer.linear'],
        },
      },
    ],
  },
  {
    name: 'FluxTransformer2DModel',
    namings: [
      {
        detect: ['transformer_blocks.0.attn.norm_added_k.weight', 'x_embedder.weight', 'time_text_embed.timestep_embedder.linear_1.weight'],
        blocks: ['transformer_blocks', 'single_transformer_blocks'],
        roles: {
          'q': ['transformer_blocks.{i}.attn.to_q', 'single_transformer_blocks.{i}.attn.to_q'],
          'k': ['transformer_blocks.{i}.attn.to_k', 'single_transformer_blocks.{i}.attn.to_k'],
          'v': ['transformer_blocks.{i}.attn.to_v', 'single_transformer_blocks.{i}.attn.to_v'],
          'attention-out': ['transformer_blocks.{i}.attn.to_out.0'],
          'context-q': ['transformer_blocks.{i}.attn.add_q_proj'],
          'context-k': ['transformer_blocks.{i}.attn.add_k_proj'],
          'context-v': ['transformer_blocks.{i}.attn.add_v_proj'],
          'context-attention-out': ['transformer_blocks.{i}.attn.to_add_out'],
          'ffn-up': ['transformer_blocks.{i}.ff.net.0.proj', 'single_transformer_blocks.{i}.proj_mlp'],
          'ffn-down': ['transformer_blocks.{i}.ff.net.2'],
          'context-ffn-up': ['transformer_blocks.{i}.ff_context.net.0.proj'],
          'context-ffn-down': ['transformer_blocks.{i}.ff_context.net.2'],
          'single-out': ['single_transformer_blocks.{i}.proj_out'],
          'modulation': [
            'transformer_blocks.{i}.norm1.linear', 'transformer_blocks.{i}.norm1_context.linear', 'single_transformer_blocks.{i}.norm.linear',
          ],
          'embedder': [
            'x_embedder', 'context_embedder',
            'time_text_embed.timestep_embedder.linear_1', 'time_text_embed.timestep_embedder.linear_2',
            'time_text_embed.guidance_embedder.linear_1', 'time_text_embed.guidance_embedder.linear_2',
            'time_text_embed.text_embedder.linear_1', 'time_text_embed.text_embedder.linear_2',
          ],
          'final': ['norm_out.linear', 'proj_out'],
        },
      },
      {
        detect: ['double_blocks.0.img_attn.norm.key_norm.scale', 'double_blocks.0.img_mod.lin.weight', 'vector_in.in_layer.weight', 'img_in.weight'],
        blocks: ['double_blocks', 'single_blocks'],
        roles: {
          'qkv': ['double_blocks.{i}.img_attn.qkv'],
          'attention-out': ['double_blocks.{i}.img_attn.proj'],
          'context-qkv': ['double_blocks.{i}.txt_attn.qkv'],
          'context-attention-out': ['double_blocks.{i}.txt_attn.proj'],
          'ffn-up': ['double_blocks.{i}.img_mlp.0'],
          'ffn-down': ['double_blocks.{i}.img_mlp.2'],
          'context-ffn-up': ['double_blocks.{i}.txt_mlp.0'],
          'context-ffn-down': ['double_blocks.{i}.txt_mlp.2'],
          'single-in': ['single_blocks.{i}.linear1'],
          'single-out': ['single_blocks.{i}.linear2'],
          'modulation': ['double_blocks.{i}.img_mod.lin', 'double_blocks.{i}.txt_mod.lin', 'single_blocks.{i}.modulation.lin'],
          'embedder': [
            'img_in', 'txt_in', 'time_in.in_layer', 'time_in.out_layer', 'vector_in.in_layer', 'vector_in.out_layer',
            'guidance_in.in_layer', 'guidance_in.out_layer',
          ],
          'final': ['final_layer.adaLN_modulation.1', 'final_layer.linear'],
        },
      },
    ],
  },
  {
    name: 'PixArtTransformer2DModel',
    describedBy: config => config['_class_name'] === 'Transformer2DModel' && config['norm_type'] === 'ada_norm_single',
    namings: [
      {
        detect: ['adaln_single.linear.weight', 'caption_projection.linear_1.weight', 'transformer_blocks.0.attn2.to_k.weight'],
        blocks: ['transformer_blocks'],
        roles: {
          ...attention('transformer_blocks.{i}.attn1'),
          ...attention('transformer_blocks.{i}.attn2', 'cross-'),
          'ffn-up': ['transformer_blocks.{i}.ff.net.0.proj'],
          'ffn-down': ['transformer_blocks.{i}.ff.net.2'],
          'modulation': ['adaln_single.linear'],
          'embedder': [
            'adaln_single.emb.timestep_embedder.linear_1', 'adaln_single.emb.timestep_embedder.linear_2',
            'adaln_single.emb.resolution_embedder.linear_1', 'adaln_single.emb.resolution_embedder.linear_2',
            'adaln_single.emb.aspect_ratio_embedder.linear_1', 'adaln_single.emb.aspect_ratio_embedder.linear_2',
            'caption_projection.linear_1', 'caption_projection.linear_2',
          ],
          'final': ['proj_out'],
        },
      },
    ],
  },
  {
    name: 'ZImageTransformer2DModel',
    namings: [
      {
        detect: ['noise_refiner.0.attention.to_q.weight', 'context_refiner.0.attention.to_q.weight', 'cap_embedder.1.weight'],
        blocks: ['noise_refiner', 'context_refiner', 'layers'],
        roles: {
          ...everyList(['noise_refiner', 'layers'], {
            'q': ['attention.to_q'], 'k': ['attention.to_k'], 'v': ['attention.to_v'], 'attention-out': ['attention.to_out.0'],
            'ffn-gate': ['feed_forward.w1'], 'ffn-up': ['feed_forward.w3'], 'ffn-down': ['feed_forward.w2'], 'modulation': ['adaLN_modulation.0'],
          }),
          ...everyList(['context_refiner'], {
            'context-q': ['attention.to_q'], 'context-k': ['attention.to_k'], 'context-v': ['attention.to_v'], 'context-attention-out': ['attention.to_out.0'],
            'context-ffn-gate': ['feed_forward.w1'], 'context-ffn-up': ['feed_forward.w3'], 'context-ffn-down': ['feed_forward.w2'],
          }),
          'embedder': ['all_x_embedder.2-1', 'cap_embedder.1', 't_embedder.mlp.0', 't_embedder.mlp.2'],
          'final': ['all_final_layer.2-1.linear', 'all_final_layer.2-1.adaLN_modulation.1'],
        },
      },
    ],
  },
  {
    name: 'WanTransformer3DModel',
    namings: [
      {
        detect: ['condition_embedder.time_proj.weight', 'patch_embedding.weight', 'blocks.0.attn2.to_k.weight', 'blocks.0.ffn.net.0.proj.weight'],
        blocks: ['blocks'],
        roles: {
          ...attention('blocks.{i}.attn1'),
          'cross-q': ['blocks.{i}.attn2.to_q'],
          'cross-k': ['blocks.{i}.attn2.to_k', 'blocks.{i}.attn2.add_k_proj'],
          'cross-v': ['blocks.{i}.attn2.to_v', 'blocks.{i}.attn2.add_v_proj'],
          'cross-attention-out': ['blocks.{i}.attn2.to_out.0'],
          'ffn-up': ['blocks.{i}.ffn.net.0.proj'],
          'ffn-down': ['blocks.{i}.ffn.net.2'],
          'modulation': ['condition_embedder.time_proj'],
          'embedder': [
            'condition_embedder.time_embedder.linear_1', 'condition_embedder.time_embedder.linear_2',
            'condition_embedder.text_embedder.linear_1', 'condition_embedder.text_embedder.linear_2',
            'condition_embedder.image_embedder.ff.net.0.proj', 'condition_embedder.image_embedder.ff.net.2',
          ],
          'final': ['proj_out'],
        },
      },
    ],
  },
  {
    name: 'CogVideoXTransformer3DModel',
    namings: [
      {
        detect: ['patch_embed.text_proj.weight', 'norm_final.weight', 'transformer_blocks.0.norm2.linear.weight'],
        blocks: ['transformer_blocks'],
        roles: {
          ...attention('transformer_blocks.{i}.attn1'),
          'ffn-up': ['transformer_blocks.{i}.ff.net.0.proj'],
          'ffn-down': ['transformer_blocks.{i}.ff.net.2'],
          'modulation': ['transformer_blocks.{i}.norm1.linear', 'transformer_blocks.{i}.norm2.linear'],
          'embedder': ['patch_embed.text_proj', 'patch_embed.proj', 'time_embedding.linear_1', 'time_embedding.linear_2', 'ofs_embedding.linear_1', 'ofs_embedding.linear_2'],
          'final': ['norm_out.linear', 'proj_out'],
        },
      },
    ],
  },
];

/** diffusers' names of one attention. */
function attention(at: string, prefix: '' | 'cross-' = ''): Partial<Record<Role, readonly string[]>> {
  return { [`${prefix}q`]: [`${at}.to_q`], [`${prefix}k`]: [`${at}.to_k`], [`${prefix}v`]: [`${at}.to_v`], [`${prefix}attention-out`]: [`${at}.to_out.0`] };
}

/** The same roles in several lists of blocks. */
function everyList(lists: readonly string[], roles: Partial<Record<Role, readonly string[]>>): Partial<Record<Role, readonly string[]>> {
  return Object.fromEntries(Object.entries(roles).map(([role, names]) => [role, lists.flatMap(list => names.map(name => `${list}.{i}.${name}`))]));
}
