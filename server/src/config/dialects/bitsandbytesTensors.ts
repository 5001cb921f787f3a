/**
 * What diffusers needs of the weights beside a config with this section, which it takes for quantized ones (diffusers 0.40, `create_quantized_param` and
 * `check_if_quantized_param`; bitsandbytes 2026-08, `QuantState.from_dict`). All of it are names, types and shapes in the file's header.
 */
import { counted, quoted, sample } from '../../checkpoint/errors';
import type { Checkpoint, TensorInfo } from '../../protocol';
import { problem } from './dialect';
import type { DialectEntry, DialectProblem } from './dialect';
import { describeShare } from './evaluate';
import type { Fields } from './fields';

const storages: Readonly<Record<string, string>> = { uint8: 'U8', int8: 'I8', float16: 'F16', bfloat16: 'BF16', float32: 'F32', float64: 'F64' };

/** @param component the weights beside the file. @param keeping what leaves a layer as it is. */
export function weightTraps(fields: Fields, width: 'load_in_4bit' | 'load_in_8bit', component: Checkpoint, keeping: readonly DialectEntry[]): DialectProblem[] {
  const { tensors, layers } = component;
  const names = new Set(tensors.map(({ name }) => name));
  const four = width === 'load_in_4bit';
  const storage = storages[String(fields.scalar('bnb_4bit_quant_storage') ?? 'uint8')];
  const packed = tensors.filter((tensor) => isWeight(tensor) && (four ? tensor.dtype === storage && tensor.shape[1] === 1 : tensor.dtype === 'I8'));
  const lacking = packed.flatMap(({ name }) => {
    const missing = four ? missingState(name, names) : [name.replaceAll('weight', 'SCB')].filter((each) => !names.has(each));
    return missing.length > 0 ? [missing] : [];
  });
  const [plain, ...others] = packed.length > 0 ? [] : layers.filter((layer) => !keeping.some((entry) => entry.takes(layer)));
  return [
    ...lacking[0] ? [problem('bitsandbytes/quant-state', 'error', fields.keyRange(width),
      `${lacking.length} of ${counted(packed.length, 'packed weight')} beside this file lack what they are unpacked with, such as ${sample(lacking[0])}: diffusers stops (${four ?
        '"Supplied state dict … does not contain `bitsandbytes__*`", or a KeyError' : '"Missing quantization component `SCB`"'}). Save the quantized model again with save_pretrained, which writes all of it.`)] : [],
    ...plain ? [problem('bitsandbytes/not-quantized', 'warning', fields.keyRange(width),
      `With this section in config.json diffusers takes the weights beside it for packed ones, but ${describeShare([plain, ...others], component)}, such as ${quoted(plain.name)}, are ${plain.tensor.dtype}: it stops. ` +
      'Take the section out and pass BitsAndBytesConfig to from_pretrained, which a section in config.json would override; save_pretrained then writes packed weights with it.')] : [],
  ];
}

function isWeight({ name, shape }: TensorInfo): boolean {
  return name.endsWith('.weight') && shape.length === 2;
}

/** One state as bytes of JSON, whose name says the levels; the scales and the levels; with nested scales the scales and levels of those. */
function missingState(weight: string, names: ReadonlySet<string>): string[] {
  const states = ['nf4', 'fp4'].map((type) => `${weight}.quant_state.bitsandbytes__${type}`);
  const nested = ['nested_absmax', 'nested_quant_map'].map((part) => `${weight}.${part}`);
  return [
    ...states.some((each) => names.has(each)) ? [] : states.slice(0, 1),
    ...[`${weight}.absmax`, `${weight}.quant_map`, ...nested.some((each) => names.has(each)) ? nested : []].filter((each) => !names.has(each)),
  ];
}
