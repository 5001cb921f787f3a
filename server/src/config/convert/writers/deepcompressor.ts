import { stringify } from 'yaml';
import type { Quantizer } from '../../../protocol';
import { deepcompressor } from '../../dialects/deepcompressor';
import { groupsOfRoles, models, roleKeys } from '../../dialects/deepcompressor/roles';
import { geluShift } from '../../dialects/deepcompressor/recipes';
import { vocabulary } from '../../patterns/languages';
import { ConversionError, layersPlace } from '../lossy';
import { mainClass, patternsFor, requireNumbers } from './writer';
import type { WriteRequest, Writer } from './writer';

const title = 'deepcompressor';

/** A role, and every group of roles that it belongs to. */
const language = vocabulary((name) => { const keys = roleKeys({ name }); return [...Object.entries(groupsOfRoles).filter(([, members]) => members.some((key) => keys.includes(key))).map(([key]) => key), ...keys]; });

/** One setting for weights and one for inputs, each with a list of roles to skip. */
export const deepcompressorWriter: Writer = {
  id: deepcompressor.id, dialect: deepcompressor, says: 'one SVDQuant or plain scheme for FLUX, PixArt, SANA and SD3, with lists of roles to skip', fileName: 'svdquant.yaml',
  write(request) {
    const { checkpoint, classes, quantized } = request;
    if (!models.includes(checkpoint.architecture)) {
      throw new ConversionError(`${title} has no struct for ${checkpoint.architecture}: ${models.join(', ')} alone. Export to another tool.`);
    }
    requireNumbers(quantized, title);
    const main = mainClass(request, title);
    const { weights, activations, lowRank, smooth } = main.recipe;
    const [wgts, ipts] = [partOf(weights, main.layers), partOf(activations, main.layers)];
    const shifted = quantized.some(({ recipe }) => recipe.activations.kind === 'int' && recipe.activations.shift !== undefined);
    if (quantized.some(({ recipe }) => recipe.activations.kind === 'int' && recipe.activations.shift !== undefined && recipe.activations.shift !== geluShift)) {
      throw new ConversionError(`${title} shifts inputs by ${geluShift} alone. Write "shift: ${geluShift}", or no shift.`);
    }
    return stringify({
      quant: {
        wgts: { ...wgts, ...(weights.kind === 'keep' ? {} : { skips: skipsOf(request, 'weights', classes) }), enable_low_rank: lowRank !== null, ...(lowRank ? { low_rank: { rank: lowRank.rank, num_iters: lowRank.iterations, early_stop: true } } : {}) },
        ipts: { ...ipts, ...(activations.kind === 'keep' ? {} : { static: activations.kind === 'int' && activations.range === 'static', skips: skipsOf(request, 'activations', classes) }) },
        enable_smooth: smooth !== null, ...(smooth ? { smooth: { proj: smooth.kind === 'search' ? { strategy: 'GridSearch', alpha: 0.5, beta: -2, num_grids: smooth.steps } : { strategy: 'Manual', alpha: smooth.kind === 'smoothquant' ? smooth.alpha : 1, beta: smooth.kind === 'smoothquant' ? smooth.beta : 0 } } } : {}),
      },
      pipeline: { shift_activations: shifted },
    }, { lineWidth: 0, collectionStyle: 'any' });
  },
};

/** Roles whose layers keep this side. Layers without a role are kept whatever the lists say. */
function skipsOf({ checkpoint }: WriteRequest, side: 'weights' | 'activations', classes: WriteRequest['classes']): string[] {
  const roleless = new Set(checkpoint.layers.filter(({ name }) => roleKeys({ name }).length === 0).map(({ name }) => name));
  const kept = new Set(classes.filter(({ recipe }) => recipe[side].kind === 'keep').flatMap(({ layers }) => layers.map(({ name }) => name)).filter((name) => !roleless.has(name)));
  return patternsFor(checkpoint, kept, roleless, language);
}

function partOf(quantizer: Quantizer, layers: Parameters<typeof layersPlace>[0]): Record<string, unknown> {
  switch (quantizer.kind) {
    case 'keep': return { dtype: null };
    case 'int': return { dtype: `${quantizer.symmetric ? 's' : 'u'}int${quantizer.bits}`, group_shapes: [shapeOf(quantizer.group)], scale_dtypes: [null] };
    case 'float': switch (quantizer.format) {
      case 'nvfp4': return { dtype: 'sfp4_e2m1_all', group_shapes: [[-1, -1], [1, 16, 1, 1, 1]], scale_dtypes: [null, 'sfp8_e4m3_nan'] };
      case 'fp4': return { dtype: 'sfp4_e2m1_all', group_shapes: [shapeOf(quantizer.group)], scale_dtypes: [null] };
      case 'fp8': return { dtype: 'sfp8_e4m3_nan', group_shapes: [shapeOf(quantizer.group)], scale_dtypes: [null] };
      default: throw new ConversionError(`${title} cannot say ${quantizer.format} (${layersPlace(layers)}). Use nvfp4, fp4 or fp8.`);
    }
    default: throw new ConversionError(`${title} cannot say ${quantizer.kind} quantizers (${layersPlace(layers)}).`);
  }
}

function shapeOf(group: number | 'row' | 'tensor'): number[] {
  return group === 'tensor' ? [-1, -1] : [1, group === 'row' ? -1 : group, 1, 1, 1];
}

