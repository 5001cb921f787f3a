/** torchao's config objects that could do what a recipe does. */
import type { Granularity, Recipe } from '../../../protocol';

export interface TorchaoConfig { _type: string; _version: number; _data: Record<string, unknown> }

const dtype = (name: string): unknown => ({ _type: 'torch.dtype', _data: name });
const mapping = (symmetric: boolean): unknown => ({ _type: 'MappingType', _data: symmetric ? 'SYMMETRIC' : 'ASYMMETRIC' });
const config = (type: string, data: Record<string, unknown> = {}, version = 1): TorchaoConfig => ({ _type: type, _version: version, _data: data });

function granularity(group: Granularity): unknown {
  return typeof group === 'number' ? { _type: 'PerGroup', _version: 1, _data: { group_size: group } } : group === 'row' ? { _type: 'PerAxis', _version: 1, _data: { axis: 0 } } : { _type: 'PerTensor', _version: 1, _data: {} };
}

/** The plain ones first. Float8 configs have one granularity for both sides, PerTensor or PerRow. */
export function torchaoConfigs({ weights, activations }: Recipe): TorchaoConfig[] {
  const group = weights.kind === 'int' && typeof weights.group === 'number' ? weights.group : undefined;
  const intx = weights.kind === 'int' && weights.bits <= 8 ? { weight_dtype: dtype(`int${weights.bits}`), symmetric: weights.symmetric, group: weights.group === 'tensor' ? 'row' as const : weights.group } : undefined;
  const inputs = activations.kind === 'int' ? { act_mapping_type: mapping(activations.symmetric) } : {};
  const perRow = { _type: 'PerRow', _version: 1, _data: { dim: -1 } };
  return [
    config('Int8WeightOnlyConfig'), config('Int8DynamicActivationInt8WeightConfig'), config('Int4DynamicActivationInt4WeightConfig'),
    ...group === undefined ? [] : [config('Int4WeightOnlyConfig', { group_size: group }, 2), config('Int8DynamicActivationInt4WeightConfig', { group_size: group, ...inputs })],
    config('Float8WeightOnlyConfig', {}, 2), config('Float8DynamicActivationFloat8WeightConfig', {}, 2), config('Float8DynamicActivationFloat8WeightConfig', { granularity: [perRow, perRow] }, 2), config('Float8DynamicActivationInt4WeightConfig', {}, 1),
    config('NVFP4WeightOnlyConfig'), config('NVFP4DynamicActivationNVFP4WeightConfig'),
    ...['float8_e4m3fn', 'float4_e2m1fn_x2'].flatMap((w) => ['float8_e4m3fn', 'float4_e2m1fn_x2'].map((a) => config('MXDynamicActivationMXWeightConfig', { weight_dtype: dtype(w), activation_dtype: dtype(a) }))),
    ...intx ? [
      config('IntxWeightOnlyConfig', { weight_dtype: intx.weight_dtype, granularity: granularity(intx.group), mapping_type: mapping(intx.symmetric) }),
      config('Int8DynamicActivationIntxWeightConfig', { weight_dtype: intx.weight_dtype, weight_granularity: granularity(intx.group), weight_mapping_type: mapping(intx.symmetric), ...inputs }),
    ] : [],
  ];
}
