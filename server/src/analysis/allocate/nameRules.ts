/** Which layers of a model others keep by their names. NVIDIA Model Optimizer, examples/diffusers/quantization/utils.py: its `filter_func_*` name what is not quantized, one list per model. */
import { compileGlob } from '../../config/glob';
import type { Layer, Role } from '../../protocol';

export interface NameRule {
  /** What it keeps, and whose rule it is. */
  text: string;
  /** Besides the outer blocks. */
  keeps(layer: Pick<Layer, 'name' | 'role' | 'block'>): boolean;
  /** So many first and last blocks as well; of several the best is taken. */
  outer: readonly number[];
}

/** The names of diffusers as patterns, and the roles that stand for them where other releases name them otherwise. */
interface Published { what: string; names: readonly string[]; roles: readonly Role[]; outer: number; outsideOfBlocks?: true }

const published: Readonly<Record<string, Published>> = {
  FluxTransformer2DModel: {
    what: 'embedders (time_text_embed, context_embedder, x_embedder), norm_out and proj_out', outer: 0,
    names: ['**time_text_embed**', '**context_embedder**', '**x_embedder**', '**norm_out**', 'proj_out**'], roles: ['embedder', 'final'],
  },
  WanTransformer3DModel: {
    what: 'patch_embedding, condition_embedder, proj_out, and blocks 0–2 and 37–39 of 40: here the first and last three', outer: 3,
    names: ['**patch_embedding**', '**condition_embedder**', '**proj_out**'], roles: ['embedder', 'final'],
  },
  LTXVideoTransformer3DModel: {
    what: 'proj_in, time_embed, caption_projection, adaln_single, proj_out, and blocks 0–2 and 45–47 of 48: here the first and last three', outer: 3,
    names: ['**proj_in**', '**time_embed**', '**caption_projection**', '**adaln_single**', '**patchify_proj**', '**proj_out**'], roles: [],
  },
  QwenImageTransformer2DModel: { what: 'everything outside of the blocks, and the first and last two of them', outer: 2, names: [], roles: [], outsideOfBlocks: true },
};

/** Model Optimizer has no rule for the rest. */
const byRole: readonly Role[] = ['embedder', 'modulation', 'final'];

export function nameRuleOf(architecture: string): NameRule {
  const rule = published[architecture];
  if (!rule) {
    return {
      text: `By role, since NVIDIA Model Optimizer publishes no rule for ${architecture}: embedders, modulation and final layers, with or without the first and last one or two blocks.`,
      keeps: ({ role }) => byRole.includes(role), outer: [0, 1, 2],
    };
  }
  const globs = rule.names.map(compileGlob);
  return {
    text: `NVIDIA Model Optimizer's rule for ${architecture}, which leaves out of quantization: ${rule.what}.`,
    keeps: ({ name, role, block }) => rule.roles.includes(role) || (rule.outsideOfBlocks === true && block === null) || globs.some((glob) => glob.test(name)), outer: [rule.outer],
  };
}
