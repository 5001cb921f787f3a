/** The rules between the fields of compressed-tensors' `QuantizationArgs`. */
import { named } from './field';
import type { FieldTable } from './field';
import type { Granularity, Quantizer } from '../../protocol';
import type { Fields } from './fields';
import { float, int } from './recipes';

export const argsFields: FieldTable = {
  num_bits: { type: 'number', default: 8, examples: [4, 8], doc: 'Bits of a value.' },
  type: { type: 'text', default: 'int', values: { int: 'whole numbers', float: 'floats: 8 bits are E4M3, 4 bits E2M1' }, doc: 'What the bits hold.' },
  symmetric: { type: 'flag', default: true, doc: 'No zero points.' },
  strategy: {
    type: 'text', doc: 'What shares a scale. Missing: `group` with a positive `group_size`, `channel` with -1, else `tensor`.',
    values: { tensor: 'everything', channel: 'a row of weights', group: '`group_size` inputs', block: 'a block of `block_structure`', token: 'one token of activations; needs `dynamic: true`', tensor_group: 'groups below one scale for the tensor (NVFP4)', attn_head: 'a head of attention' },
  },
  group_size: { type: 'number', examples: [128, 64, 32, 16], doc: 'Inputs that share a scale, for `group` and `tensor_group`; -1 means `channel`.' },
  block_structure: { type: 'any', examples: [[128, 128]], doc: 'Rows and columns of a block, for strategy `block` alone.' },
  dynamic: { type: 'any', default: false, examples: [true, false, 'local'], doc: 'Ranges are found while the model runs. `local`: the scales of groups alone, for `tensor_group`.' },
  actorder: { type: 'any', examples: ['weight', 'group', 'static'], doc: 'The order in which GPTQ goes through the inputs: `weight` reorders during calibration alone, `group` also stores the order (announced for removal).' },
  scale_dtype: { type: 'text', values: named('torch.float8_e4m3fn', 'torch.bfloat16', 'torch.float16'), open: true, doc: 'Of scales.' }, zp_dtype: { type: 'text', values: named('torch.int8'), open: true, doc: 'Of zero points.' },
  observer: { type: 'text', values: named('minmax', 'mse', 'static_minmax', 'memoryless_minmax', 'memoryless_mse'), open: true, doc: 'How ranges are found.' }, observer_kwargs: { type: 'map', doc: 'Options of the observer.' },
};
const known = Object.keys(argsFields);

export function checkArgs(args: Fields, of: 'weights' | 'activations'): { label: string; bits: number } {
  args.check('error', 'compressed-tensors refuses it.');
  const bits = args.number('num_bits') ?? 8;
  const type = args.text('type') ?? 'int';
  const group = args.number('group_size');
  const written = args.text('strategy');
  const strategy = written ?? (group === undefined ? 'tensor' : group > 0 ? 'group' : 'channel');
  const dynamic = args.scalar('dynamic');
  const isDynamic = dynamic === true || dynamic === 'local';
  const grouped = strategy === 'group' || strategy === 'tensor_group';
  const refuse = (key: string, message: string): void => args.report('ct/args', 'error', args.has(key) ? args.range(key) : args.keyRange(known.find((each) => args.has(each)) ?? key), message);
  if (group !== undefined && group < -1) {
    refuse('group_size', 'group_size is positive, or -1 for one scale per channel.');
  } else if (grouped && !(group !== undefined && group > 0)) {
    refuse('strategy', `Strategy "${strategy}" needs a group_size above 0.`);
  } else if (group !== undefined && group > 0 && !grouped) {
    refuse('group_size', 'A group_size needs strategy "group" or "tensor_group".');
  }
  if (strategy === 'token' && !isDynamic) {
    refuse('strategy', 'Strategy "token" needs "dynamic": true.');
  }
  if ((strategy === 'block') !== args.has('block_structure')) {
    refuse('block_structure', 'Strategy "block" and block_structure [rows, columns] go together.');
  }
  const order = args.scalar('actorder');
  if ((order === 'group' || order === 'dynamic' || order === true) && !grouped) {
    refuse('actorder', 'actorder "group" needs strategy "group" or "tensor_group".');
  }
  if (isDynamic && !['token', 'tensor', 'tensor_group', 'group'].includes(strategy)) {
    refuse('dynamic', `Strategy "${strategy}" cannot be dynamic: token, tensor, tensor_group or group can.`);
  }
  if (dynamic === 'local' && strategy !== 'tensor_group') {
    refuse('dynamic', '"local" is for strategy "tensor_group" alone.');
  }
  if (of === 'activations' && order !== undefined && order !== null && order !== false) {
    refuse('actorder', 'Activations have no actorder.');
  }
  if (of === 'activations' && (strategy === 'channel' || strategy === 'block')) {
    refuse('strategy', `Strategy "${strategy}" is not supported for activations.`);
  }
  return { label: `${type}${bits} per ${grouped ? `group ${group ?? '?'}` : strategy}`, bits };
}

export interface ReadArgs { quantizer: Quantizer; near: readonly string[] }

/** The same in our terms; undefined where nothing here is like it. */
export function quantizerOf(args: Fields, of: 'weights' | 'activations'): ReadArgs | undefined {
  const [bits, size] = [args.scalar('num_bits') ?? 8, args.scalar('group_size')];
  const strategy = args.scalar('strategy') ?? (typeof size === 'number' ? size > 0 ? 'group' : 'channel' : 'tensor');
  const columns = columnsOf(args);
  const of2d = strategy === 'block' && columns !== undefined;
  const group: Granularity | undefined = strategy === 'tensor' ? 'tensor' : strategy === 'channel' || strategy === 'token' ? 'row' : of2d ? columns : typeof size === 'number' && size > 0 ? size : undefined;
  const isStatic = of === 'activations' && args.scalar('dynamic') !== true && args.scalar('dynamic') !== 'local';
  const near = of2d ? [blocksOf2d] : [];
  if (typeof bits !== 'number' || group === undefined) {
    return undefined;
  }
  if (args.scalar('type') === 'float') {
    const powers = /^torch\.(?:uint8|float8_e8m0fnu)$/.test(String(args.scalar('scale_dtype')));
    const format = strategy === 'tensor_group' && bits === 4 && group === 16 ? 'nvfp4' : powers && group === 32 ? { 4: 'mxfp4' as const, 8: 'mxfp8' as const }[bits] : { 4: 'fp4' as const, 8: 'fp8' as const }[bits];
    return format && { quantizer: float(format, group), near: [...near, ...isStatic ? [staticFloat] : []] };
  }
  const scale = { 'torch.float16': 'fp16' as const, 'torch.bfloat16': 'bf16' as const, 'torch.float32': 'fp32' as const }[String(args.scalar('scale_dtype'))];
  return bits < 1 || bits > 8 ? undefined : { near, quantizer: int(bits, isStatic ? 'tensor' : group, { symmetric: args.scalar('symmetric') !== false, ...(scale ? { scale } : {}), ...(isStatic ? { range: 'static' as const } : {}) }) };
}

/** Inputs of a block. */
export function columnsOf(args: Fields): number | undefined {
  const structure = args.value('block_structure');
  const columns = structure?.kind === 'list' && structure.items[1]?.kind === 'scalar' ? structure.items[1].value : undefined;
  return typeof columns === 'number' && columns > 0 ? columns : undefined;
}

export const blocksOf2d = 'its scales are for blocks of several rows and columns, these for groups within a row';
export const staticFloat = 'the range of its inputs is found by calibration, here every tensor has its own at run time';
