/** What ComfyUI's formats want of a layer's tensors: type, companions, shapes of scales. All of it is in the file's header. */
import type { Range, TensorInfo } from '../../protocol';
import { problem } from './dialect';
import type { DialectProblem } from './dialect';
import type { Fields } from './fields';
import { equivalent, float, hadamardGroups, int, uint } from './recipes';
import type { Equivalent } from './recipes';

interface Format {
  weights: number;
  activations: number;
  dtypes: readonly string[];
  /** Two weights in a byte. */
  packed: boolean;
  /** Tensors without which the layer does not load. */
  needs: readonly string[];
  /** Inputs that share a scale, where scales are a matrix in tiles of 128 × 4. */
  tiled?: number;
  /** Inputs that share a scale otherwise. */
  group?: number;
  /** In our terms; absent where nothing here is like it. */
  as?: Equivalent;
}

const scaleOfInputs = 'the scale of its inputs is stored in the file; here every tensor has its own at run time';
const perRow = (bits: number): Equivalent => equivalent(int(bits, 'row', { scale: 'fp32' }), int(bits, 'row', { scale: 'fp32' }));

export const formats: Readonly<Record<string, Format>> = {
  float8_e4m3fn: { weights: 8, activations: 8, dtypes: ['F8_E4M3'], packed: false, needs: [], as: equivalent(float('fp8', 'tensor'), float('fp8', 'tensor'), [scaleOfInputs]) },
  float8_e5m2: { weights: 8, activations: 8, dtypes: ['F8_E5M2'], packed: false, needs: [] },
  nvfp4: { weights: 4, activations: 4, dtypes: ['U8'], packed: true, needs: ['weight_scale', 'weight_scale_2'], tiled: 16, as: equivalent(float('nvfp4'), float('nvfp4')) },
  mxfp8: { weights: 8, activations: 8, dtypes: ['F8_E4M3'], packed: false, needs: ['weight_scale'], tiled: 32, as: equivalent(float('mxfp8'), float('mxfp8')) },
  int8_tensorwise: { weights: 8, activations: 8, dtypes: ['I8'], packed: false, needs: ['weight_scale'], as: perRow(8) },
  convrot_w4a4: { weights: 4, activations: 4, dtypes: ['I8'], packed: true, needs: ['weight_scale'], group: 64, as: perRow(4) },
  asym_w4a8_int8: { weights: 4, activations: 8, dtypes: ['I8'], packed: true, needs: ['weight_s_rel', 'weight_s_channel'], group: 16, as: equivalent(uint(4, 16), int(8), ['its levels are a codebook of 16 for the whole layer, its scales FP8']) },
  awq_w4a16: { weights: 4, activations: 16, dtypes: ['I8'], packed: true, needs: ['weight_scale', 'weight_zeros'], group: 64, as: equivalent(uint(4, 64)) },
};

/** What the tool reads of a layer's note. */
export interface ComfyNote { format: string; convrot?: boolean; convrot_groupsize?: number; group_size?: number }

/** In our terms, with ConvRot's rotation where the note has it, and groups where it says so. */
export function comfyEquivalent({ format, convrot, convrot_groupsize: rotation = 256, group_size: size = 0 }: ComfyNote): Equivalent | undefined {
  const as = formats[format]?.as;
  const weights = as?.recipe.weights;
  const grouped = as && weights?.kind === 'int' && typeof weights.group === 'number' && size > 0 ? equivalent({ ...weights, group: size }, as.recipe.activations, as.near) : as;
  if (!grouped || (format !== 'convrot_w4a4' && convrot !== true)) {
    return grouped;
  }
  const { parts, near } = hadamardGroups(rotation);
  return equivalent(grouped.recipe.weights, grouped.recipe.activations, [...grouped.near, near], parts);
}

export function comfyRecipe({ format, fields }: LayerNote): Equivalent | undefined {
  const [rotation, size] = [fields.scalar('convrot_groupsize'), fields.scalar('group_size')];
  const rotates = fields.scalar('convrot') === true || (format === 'asym_w4a8_int8' && typeof rotation === 'number');
  return comfyEquivalent({ format: format ?? '', convrot: rotates, ...(typeof rotation === 'number' ? { convrot_groupsize: rotation } : {}), ...(typeof size === 'number' ? { group_size: size } : {}) });
}

/** Layers whose widths ComfyUI measures to recognise a model; packed weights are half as wide. */
const measured = /(?:^|\.)(?:img_in|txt_in|vector_in\.in_layer|guidance_in\.in_layer|cap_embedder\.1|x_embedder|patch_embedding|head\.head)$/;

export interface LayerNote { name: string; range: Range; format: string | undefined; fields: Fields }

function isQuantized({ dtype }: TensorInfo): boolean {
  return dtype !== 'BF16' && dtype !== 'F16' && dtype !== 'F32';
}

export function tensorTraps(note: LayerNote, byName: ReadonlyMap<string, TensorInfo>): DialectProblem[] {
  const { name, range, format, fields } = note;
  const weight = byName.get(`${name}.weight`);
  const known = formats[format ?? ''];
  if (!weight || !known) {
    return [];
  }
  const inputs = inputsOf(weight, known);
  if (!isQuantized(weight)) {
    return [...rotation(format, fields, inputs), ...group(known, note, inputs)];
  }
  const missing = known.needs.filter((side) => !byName.has(`${name}.${side}`));
  return [
    ...known.dtypes.includes(weight.dtype) ? [] : [problem('comfy/storage', 'error', range, `${format ?? ''} is stored as ${known.dtypes.join(' or ')}, but the weight is ${weight.dtype}.`)],
    ...missing.length === 0 ? [] : [problem('comfy/side-tensor', 'error', range, `${format ?? ''} needs ${missing.map((side) => `"${name}.${side}"`).join(' and ')}, which the file lacks: it does not load.`)],
    ...known.packed && measured.test(name) ? [problem('comfy/detection', 'warning', range,
      `ComfyUI measures this layer's width to recognise the model, and packed weights are half as wide (${weight.shape[1] ?? 0} for ${inputs}): keep it in 16 bits, or check that the version that loads the file knows.`)] : [],
    ...rotation(format, fields, inputs), ...group(known, note, inputs),
  ];
}

function inputsOf(weight: TensorInfo, { packed }: Format): number {
  return (weight.shape[1] ?? 0) * (packed && isQuantized(weight) ? 2 : 1);
}

/** ConvRot rotates groups of inputs by a power of a 4 × 4 matrix. */
function rotation(format: string | undefined, fields: Fields, inputs: number): DialectProblem[] {
  if (format !== 'convrot_w4a4' && fields.flag('convrot') !== true && !(format === 'asym_w4a8_int8' && fields.has('convrot_groupsize'))) {
    return [];
  }
  const size = fields.number('convrot_groupsize') ?? 256;
  const range = fields.has('convrot_groupsize') ? fields.range('convrot_groupsize') : fields.range('format');
  const isPowerOfFour = Number.isInteger(Math.log2(size) / 2);
  return isPowerOfFour && inputs % size === 0 ? [] : [problem('comfy/convrot-group', 'error', range,
    isPowerOfFour ? `ConvRot groups of ${size} do not divide ${inputs} inputs${inputs % 64 === 0 ? '; 64 does.' : '.'}` : `A ConvRot group is a power of four (16, 64, 256), not ${size}.`)];
}

function group(known: Format, { format, fields }: LayerNote, inputs: number): DialectProblem[] {
  const size = (format === 'convrot_w4a4' ? undefined : fields.number('group_size')) ?? known.group ?? 1;
  return size > 0 && inputs % size === 0 ? [] : [problem('comfy/group-width', 'error', fields.has('group_size') ? fields.range('group_size') : fields.range('format'),
    `${format ?? ''} has groups of ${size}, which do not divide ${inputs} inputs.`)];
}

/**
 * Scales of nvfp4 and mxfp8 lie in tiles of 128 rows and 4 columns, filled up with zeros. Nothing in a file says so: where rows and columns fill whole tiles, plain and
 * tiled scales have one shape. @param doubtful written by ModelOpt, which writes both
 */
export function scaleOrder(notes: readonly LayerNote[], byName: ReadonlyMap<string, TensorInfo>, doubtful: boolean, top: Range): DialectProblem[] {
  const round = (value: number, to: number): number => Math.ceil(value / to) * to;
  const found = notes.flatMap((note) => {
    const [weight, scale] = [byName.get(`${note.name}.weight`), byName.get(`${note.name}.weight_scale`)];
    const known = formats[note.format ?? ''];
    if (!weight || !scale || !known?.tiled || !isQuantized(weight)) {
      return [];
    }
    const plain = [weight.shape[0] ?? 0, Math.ceil(inputsOf(weight, known) / known.tiled)];
    const tiled = [round(plain[0] ?? 0, 128), round(plain[1] ?? 0, 4)];
    return [{ note, scale, plain, tiled, same: (shape: readonly number[]) => shape.join() === scale.shape.join() }];
  });
  const unknown = found.filter(({ plain, tiled, same }) => same(plain) && same(tiled));
  return [
    ...found.filter(({ plain, tiled, same }) => same(plain) && !same(tiled)).map(({ note, tiled }) => problem('comfy/scale-order', 'error', note.range,
      `The scales of "${note.name}" are in plain order; ComfyUI reads them in tiles of 128 × 4, which would be [${tiled.join(', ')}] here. The picture would be noise.`)),
    ...found.filter(({ plain, tiled, same }) => !same(plain) && !same(tiled)).map(({ note, scale, tiled }) => problem('comfy/scale-shape', 'error', note.range,
      `The scales of "${note.name}" have the shape [${scale.shape.join(', ')}], which is no order known: [${tiled.join(', ')}] is expected.`)),
    ...doubtful && unknown.length > 0 ? [problem('comfy/scale-order', 'info', top,
      `ModelOpt wrote this file, with scales in plain order unless it was told to put them in tiles. Nothing in it says which, and for ${unknown.length} layers, such as "${unknown[0]?.note.name ?? ''}", both have the same shape. ComfyUI reads tiles.`)] : [],
  ];
}
