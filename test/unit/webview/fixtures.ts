// A plan and reports in the protocol's types, small enough to check by hand.
import type { LayerPlan, LayerReport, Marginal, Plan, Role, TensorInfo } from '../../../server/src/protocol';

export function tensor(name: string, shape: number[] = [4, 8], dtype: TensorInfo['dtype'] = 'BF16', offset = 0): TensorInfo {
  return { name, dtype, shape, file: 'model.safetensors', offset, bytes: 2 * shape.reduce((product, size) => product * size, 1) };
}

export function layer(name: string, role: Role, block: string | null, keep = false): LayerPlan {
  return {
    name, role, block, inFeatures: 8, outFeatures: 4, params: 32, tensor: tensor(`${name}.weight`), decidedBy: null,
    recipe: {
      method: keep ? 'keep' : 'orbitquant', smooth: null, permute: null, rotate: keep ? null : { kind: 'rpbh', seed: 0 }, tail: null, lowRank: null,
      activations: { kind: 'keep', dtype: 'original' }, solver: { kind: 'rtn' },
      weights: keep ? { kind: 'keep', dtype: 'bf16' } : { kind: 'codebook', bits: 4, norm: 'bf16' },
    },
    heads: null, tail: 0, weightBits: keep ? 16 : 4, activationBits: 16, packedBytes: keep ? 64 : 24, averageBits: keep ? 16 : 6,
  };
}

export function plan(layers: LayerPlan[]): Plan {
  const params = layers.reduce((sum, { params: count }) => sum + count, 0);
  const packedBytes = layers.reduce((sum, entry) => sum + entry.packedBytes, 0);
  return {
    checkpoint: 'model', revision: '1', architecture: 'DiT', layers, rules: [], problems: [], hash: 'h',
    totals: {
      layers: layers.length, params, packedBytes, sharedBytes: 0, averageBits: (8 * packedBytes) / params, baselineBytes: 2 * params, otherBytes: 0,
      checkpointBytes: packedBytes,
    },
  };
}

export function report(name: string, ratio: number | null, extra: { sqnrDb?: number; ks?: number } = {}): LayerReport {
  const marginal: Marginal = { ks: extra.ks ?? 0.01, wasserstein1: 0.02, excessKurtosis: 0, maxAbs: 4, histogram: { lo: -6, hi: 6, counts: [0, 1, 1, 0] } };
  return {
    name, weight: { relativeMse: 0.01 * (ratio ?? 1), sqnrDb: extra.sqnrDb ?? 20, expectedRelativeMse: ratio === null ? null : 0.01 },
    marginal: { ...marginal, rho: 1, rotated: true, before: marginal, after: marginal }, rows: 4, sampledRows: 4, zeroRows: 0, nonFinite: 0, key: name,
  };
}
