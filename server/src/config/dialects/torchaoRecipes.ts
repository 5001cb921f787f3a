/** What torchao's config classes do, in our recipes; defaults as in torchao 0.19's quant_api.py. */
import { keepOriginal } from '../../methods/method';
import type { FloatFormat, Granularity, Quantizer } from '../../protocol';
import type { Fields } from './fields';
import { equivalent, float, int, uint } from './recipes';
import type { Equivalent } from './recipes';

type Reader = (data: Fields | undefined) => Equivalent | undefined;

const floatZero = 'its zero points are floats in the middle of the range, these are integers';
const staticScale = 'the range of the inputs is given with the config';

const readers: Readonly<Record<string, Reader>> = {
  Int4WeightOnlyConfig: (data) => equivalent(uint(4, number(data, 'group_size', 128)), keepOriginal, [floatZero]),
  Int8WeightOnlyConfig: (data) => equivalent(int(8, data?.scalar('group_size') ? number(data, 'group_size', 128) : granularity(data, 'granularity', 'row'))),
  Int8DynamicActivationInt8WeightConfig: (data) => both(data, (group) => int(8, group), 'row'),
  Int8DynamicActivationInt4WeightConfig: (data) => equivalent(mapped(4, number(data, 'group_size', 32), data, 'mapping_type', true), mapped(8, 'row', data, 'act_mapping_type', false)),
  Int4DynamicActivationInt4WeightConfig: () => equivalent(int(4), int(4)),
  Int8DynamicActivationIntxWeightConfig: (data) => {
    const bits = intBits(data);
    return bits === undefined ? undefined : equivalent(mapped(bits, granularity(data, 'weight_granularity', 32), data, 'weight_mapping_type', true), mapped(8, 'row', data, 'act_mapping_type', false));
  },
  Int8StaticActivationInt8WeightConfig: (data) => equivalent(int(8, granularity(data, 'granularity', 'row')), int(8, 'tensor', { range: 'static' }), [staticScale]),
  Float8WeightOnlyConfig: (data) => (isE4m3(data, 'weight_dtype') ? equivalent(float('fp8', 'row')) : undefined),
  Float8DynamicActivationFloat8WeightConfig: (data) => (isE4m3(data, 'weight_dtype') && isE4m3(data, 'activation_dtype') ? both(data, (group) => float('fp8', group), 'tensor') : undefined),
  Float8StaticActivationFloat8WeightConfig: (data) => equivalent(float('fp8', granularity(data, 'granularity', 'tensor')), float('fp8', 'tensor'), [staticScale]),
  Float8DynamicActivationInt4WeightConfig: (data) => equivalent(int(4, number(data, 'group_size', 128)), float('fp8', 'row')),
  GemliteUIntXWeightOnlyConfig: (data) => equivalent(uint(number(data, 'bit_width', 4), number(data, 'group_size', 128))),
  UIntXWeightOnlyConfig: (data) => {
    const bits = Number(/^uint([1-8])$/.exec(String(data?.peek('dtype')?.scalar('_data')))?.[1]);
    return bits > 0 ? equivalent(uint(bits, number(data, 'group_size', 64))) : undefined;
  },
  IntxWeightOnlyConfig: (data) => {
    const bits = intBits(data);
    return bits === undefined ? undefined : equivalent(mapped(bits, granularity(data, 'granularity', 'row'), data, 'mapping_type', true));
  },
  NVFP4DynamicActivationNVFP4WeightConfig: () => equivalent(float('nvfp4'), float('nvfp4')),
  NVFP4WeightOnlyConfig: () => equivalent(float('nvfp4')),
  MXDynamicActivationMXWeightConfig: (data) => {
    const [weights, activations] = [mx(data, 'weight_dtype'), mx(data, 'activation_dtype')];
    return weights && activations && number(data, 'block_size', 32) === 32 ? equivalent(float(weights), float(activations)) : undefined;
  },
};

/** undefined: nothing here is like it. */
export function torchaoEquivalent(type: string, data: Fields | undefined): Equivalent | undefined {
  return readers[type]?.(data);
}

function number(data: Fields | undefined, key: string, usual: number): number {
  const written = data?.scalar(key);
  return typeof written === 'number' && written > 0 ? written : usual;
}

/** `weight_dtype` of the intx configs, int8 where it is not written. */
function intBits(data: Fields | undefined): number | undefined {
  const written = data?.has('weight_dtype') ? data.peek('weight_dtype')?.scalar('_data') : 'int8';
  const [, bits] = /^int([1-8])$/.exec(String(written)) ?? [];
  return bits === undefined ? undefined : Number(bits);
}

/** One granularity; of a list of two, as Float8 configs serialise theirs, `index`. */
function granularity(data: Fields | undefined, key: string, usual: Granularity, index = 0): Granularity {
  const value = data?.value(key);
  const node = value?.kind === 'list' ? value.items[index] : value;
  const fields = data && node?.kind === 'map' ? data.inner(node, key) : undefined;
  switch (fields?.scalar('_type')) {
    case 'PerTensor': return 'tensor';
    case 'PerRow': case 'PerAxis': case 'PerToken': return 'row';
    case 'PerGroup': return number(fields.peek('_data'), 'group_size', 32);
    default: return usual;
  }
}

/** Activations first, weights second. */
function both(data: Fields | undefined, quantizer: (group: Granularity) => Quantizer, usual: Granularity): Equivalent {
  return equivalent(quantizer(granularity(data, 'granularity', usual, 1)), quantizer(granularity(data, 'granularity', usual)));
}

function mapped(bits: number, group: Granularity, data: Fields | undefined, key: string, symmetric: boolean): Quantizer {
  const written = data?.peek(key)?.scalar('_data');
  return int(bits, group, { symmetric: written === undefined ? symmetric : written !== 'ASYMMETRIC' });
}

function isE4m3(data: Fields | undefined, key: string): boolean {
  return !data?.has(key) || /^float8_e4m3fn/.test(String(data.peek(key)?.scalar('_data')));
}

function mx(data: Fields | undefined, key: string): FloatFormat | undefined {
  const written = data?.has(key) ? String(data.peek(key)?.scalar('_data')) : 'float8_e4m3fn';
  return written.startsWith('float8_e4m3') ? 'mxfp8' : written.startsWith('float4_e2m1') ? 'mxfp4' : undefined;
}
