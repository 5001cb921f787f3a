import type { Recipe } from '../protocol';
import { blocksOnly, crossKept, gptqSolver, plain, quantizerFor } from './method';
import type { Method, PolicyRule, Scheme } from './method';
import { maxBasis } from './widths';

/** DiRotQ (arXiv 2605.16732): a PCA basis per layer input; the eighth with the most variance stays in 16 bits, the rest is mixed by a random rotation and quantized. */
export const dirotq: Method = {
  name: 'dirotq',
  title: 'DiRotQ',
  summary: 'Turns the inputs of a layer into their principal components, keeps the eighth with the most variance in 16 bits on both sides and rounds the rest to 4 bits in groups of 64, the weights with GPTQ. ' +
    'Needs d × d second moments. The best fidelity at W4A4, at 5.7 to 6.2 true bits and a dense rotation per layer.',
  source: 'DiRotQ, arXiv 2605.16732; released code',
  schemes: ['W4A4', 'W4A8'],
  recipe({ weightBits, activationBits }: Scheme): Recipe {
    return {
      ...plain,
      method: 'dirotq',
      rotate: { kind: 'pca', perHead: false, seed: 42 },
      tail: { fraction: 1 / 8, dtype: 'bf16' },
      weights: quantizerFor(weightBits, { kind: 'int', bits: weightBits, symmetric: true, group: 64, scale: 'fp16' }),
      activations: quantizerFor(activationBits, { kind: 'int', bits: activationBits, symmetric: false, group: 64, scale: 'fp16' }),
      solver: gptqSolver,
    };
  },
  policy: (architecture, scheme) => [...blocksOnly, crossKept, ...(architecture === 'PixArtTransformer2DModel' ? pixart(scheme) : []), tooWide],
};

/** PixArt: 16 heads of 72, of which 9 coordinates each stay in 16 bits and 63 are a group; the reported numbers leave the inputs of ff.net.2 in 16 bits. */
function pixart({ weightBits, activationBits }: Scheme): PolicyRule[] {
  const groups = [...(weightBits === 16 ? [] : ['weights: { group: 63 }']), ...(activationBits === 16 ? [] : ['activations: { group: 63 }'])];
  return [
    { name: 'a basis per head', roles: ['attention-out', 'cross-attention-out'], settings: [`method: { ${['name: dirotq', 'rotate: { kind: pca, perHead: true, seed: 42 }', ...groups].join(', ')} }`] },
    ...(activationBits === 16 ? [] : [{ name: 'behind GELU', roles: ['ffn-down'], settings: [`scheme: W${weightBits}A16`] } as const]),
  ];
}

/** The last layer of FLUX.1's single blocks has 15,360 inputs: two bases in the paper's code, one for either half. */
const tooWide: PolicyRule = {
  name: 'too wide for a basis', roles: ['ffn-up', 'ffn-down', 'context-ffn-up', 'context-ffn-down', 'single-out'], wider: maxBasis, settings: ['method: { name: dirotq, rotate: { kind: rpbh, seed: 42 }, tail: false }'],
};
