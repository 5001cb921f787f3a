/** The rules between the fields of compressed-tensors' `QuantizationArgs`. */
import type { Fields } from './fields';

const known = ['num_bits', 'type', 'symmetric', 'strategy', 'group_size', 'block_structure', 'dynamic', 'actorder', 'scale_dtype', 'zp_dtype', 'observer', 'observer_kwargs'];
const strategies = ['tensor', 'channel', 'group', 'block', 'token', 'tensor_group', 'attn_head'];

export function checkArgs(args: Fields, of: 'weights' | 'activations'): { label: string; bits: number } {
  args.unknown(known, 'error', 'compressed-tensors refuses it.');
  const bits = args.number('num_bits') ?? 8;
  const type = args.text('type', ['int', 'float']) ?? 'int';
  const group = args.number('group_size');
  const written = args.text('strategy', strategies);
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
