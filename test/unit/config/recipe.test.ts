import assert from 'node:assert/strict';
import { recipeFor } from '../../../server/src/config/recipe';
import { describeOnline, describeQuantizer } from '../../../server/src/config/describe';
import { statisticsFor } from '../../../server/src/methods/statistics';
import type { Statistic } from '../../../server/src/methods/statistics';
import { tailWidth } from '../../../server/src/methods/widths';
import type { LayerShape } from '../../../server/src/methods/widths';
import type { Recipe } from '../../../server/src/protocol';
import { documentOf, parse } from './found';

const layer: LayerShape = { inFeatures: 3072, outFeatures: 3072, role: 'other', heads: null };

/** The recipe of a rule with these settings under these defaults, in one line; or the refusal and what it marks. */
function recipe(rule: string, defaults = '{}', width = 3072): string {
  const text = `version: 1\ncheckpoint: m\ndefaults: ${defaults}\nrules:\n  - { layers: "**", ${rule} }\n`;
  const { config } = parse(text);
  const result = recipeFor(config.rules[0] ?? {}, config.defaults, { ...layer, inFeatures: width });
  if ('refusal' in result) {
    return `refused [${result.range ? documentOf(text).getText(result.range) : ''}] ${result.refusal}`;
  }
  const { method, rotate, weights, activations } = result.recipe;
  return `${method}: ${rotate ? `${rotate.kind} ${rotate.seed}, ` : ''}${describeQuantizer(weights)} / ${describeQuantizer(activations)}`;
}

describe('recipes', () => {
  const cases: [rule: string, defaults: string, expected: string][] = [
    ['method: orbitquant, scheme: W4A4', '{}', 'orbitquant: rpbh 0, codebook 4 bit / codebook 4 bit'],
    ['method: rtn, scheme: W8A8', '{}', 'rtn: int8 per row / int8 per row'],
    ['method: rtn, scheme: W4A16', '{}', 'rtn: int4 per row / kept'],
    ['method: orbitquant, scheme: W16A4', '{}', 'orbitquant: rpbh 0, kept / codebook 4 bit'],
    ['method: orbitquant, scheme: W16A16', '{}', 'keep: kept / kept'],
    ['scheme: W2A4', '{ method: orbitquant, scheme: W4A4 }', 'orbitquant: rpbh 0, codebook 2 bit / codebook 4 bit'],
    ['method: rtn', '{ method: orbitquant, scheme: W3A3 }', 'rtn: int3 per row / int3 per row'],
    ['keep: fp16', '{ method: orbitquant, scheme: W4A4 }', 'keep: fp16 / kept'],
    ['name: x', '{ method: orbitquant, scheme: W4A4 }', 'orbitquant: rpbh 0, codebook 4 bit / codebook 4 bit'],
    ['name: x', '{}', 'keep: kept / kept'],
    ['name: x', '{ keep: bf16 }', 'keep: bf16 / kept'],
    ['method: rtn, scheme: W4A4', '{ keep: bf16 }', 'rtn: int4 per row / int4 per row'],
    ['method: { name: rtn, weights: { group: 64, symmetric: false } }, scheme: W4A8', '{}', 'rtn: uint4 per group 64 / int8 per row'],
    ['method: { name: orbitquant, weights: { kind: int, group: 128 } }, scheme: W4A4', '{}', 'orbitquant: rpbh 0, int4 per group 128 / codebook 4 bit'],
    ['method: { name: orbitquant, rotate: false }, scheme: W4A4', '{}', 'orbitquant: codebook 4 bit / codebook 4 bit'],
    ['method: { name: rtn, rotate: { kind: rpbh, seed: 9 } }, scheme: W4A4', '{}', 'rtn: rpbh 9, int4 per row / int4 per row'],
    ['method: { name: rtn, weights: { kind: codebook } }, scheme: W1A4', '{}', 'rtn: codebook 1 bit / int4 per row'],
    ['method: { name: rtn, weights: { group: row }, activations: {} }, scheme: W4A16', '{}', 'rtn: int4 per row / kept'],
  ];
  for (const [rule, defaults, expected] of cases) {
    it(`${rule} under ${defaults}`, () => {
      assert.equal(recipe(rule, defaults), expected);
    });
  }

  const refusals: [rule: string, defaults: string, width: number, expected: string][] = [
    ['scheme: W4A4', '{}', 64, 'refused [W4A4] Neither this rule nor "defaults" gives a method. Add "method: orbitquant" to one of them.'],
    ['method: rtn', '{}', 64, 'refused [rtn] Neither this rule nor "defaults" gives a scheme. Add "scheme: W4A4" to one of them.'],
    ['method: awq, scheme: W4A4', '{}', 64, 'refused [awq] There is no method "awq". Known: orbitquant, rtn, q-dit, smoothquant, vidit-q, gptq, quarot, duquant, svdquant, dirotq, lrq-dit, ptq4dit.'],
    ['method: { name: rtn, weights: { group: 64 } }, scheme: W4A4', '{}', 96,
      'refused [{ name: rtn, weights: { group: 64 } }] A group of 64 does not divide the width 96. Use a group of 32 or "row".'],
    ['method: { name: rtn, weights: { group: 64 } }, scheme: W4A4', '{}', 7, 'refused [{ name: rtn, weights: { group: 64 } }] A group of 64 does not divide the width 7. Use "row".'],
    ['scheme: W1A4', '{ method: rtn, scheme: W4A4 }', 64,
      'refused [W1A4] 1-bit symmetric integers have no positive level, so weights would be lost. Use "kind: codebook" or "symmetric: false".'],
    ['method: { name: rtn, activations: { group: 64 } }, scheme: W4A16', '{}', 64,
      'refused [{ name: rtn, activations: { group: 64 } }] The scheme leaves activations unquantized (16 bits), so the "activations" settings of the method have no effect. Remove them or lower the bits.'],
    ['method: { name: orbitquant, weights: { group: 64 } }, scheme: W4A4', '{}', 64,
      'refused [{ name: orbitquant, weights: { group: 64 } }] "group" belongs to integer and float quantizers, but weights use a codebook here. Remove it or add "kind: int".'],
    ['method: { name: rtn, activations: { norm: bf16 } }, scheme: W4A4', '{}', 64,
      'refused [{ name: rtn, activations: { norm: bf16 } }] "norm" belongs to codebook and mid-rise quantizers, but activations use an integer quantizer here. Remove it or add "kind: codebook".'],
  ];
  for (const [rule, defaults, width, expected] of refusals) {
    it(`refuses ${rule} under ${defaults} at width ${width}`, () => {
      assert.equal(recipe(rule, defaults, width), expected);
    });
  }
});

/** The recipe of `rtn` with these parts, or the refusal. */
function withParts(parts: string, scheme = 'W4A4', shape: Partial<LayerShape> = {}): Recipe | string {
  const { config, problems } = parse(`version: 1\ncheckpoint: m\ndefaults: { method: { name: rtn, ${parts} }, scheme: ${scheme} }\n`);
  assert.deepEqual(problems, []);
  const result = recipeFor({}, config.defaults, { ...layer, ...shape });
  return 'recipe' in result ? result.recipe : result.refusal;
}

describe('parts of a method', () => {
  const int4 = { kind: 'int', bits: 4, symmetric: true, group: 'row', scale: 'fp16' } as const;
  const merged: [parts: string, scheme: string, expected: Partial<Recipe>][] = [
    ['smooth: { kind: absmax }', 'W4A4', { smooth: { kind: 'absmax' } }],
    ['smooth: { kind: smoothquant }', 'W4A4', { smooth: { kind: 'smoothquant', alpha: 0.5, beta: 0.5 } }],
    ['smooth: { kind: smoothquant, alpha: 0.3 }', 'W4A4', { smooth: { kind: 'smoothquant', alpha: 0.3, beta: 0.7 } }],
    ['smooth: { kind: search }', 'W4A4', { smooth: { kind: 'search', steps: 20 } }],
    ['smooth: { kind: csb }, permute: { kind: random, seed: 4 }', 'W4A4', { smooth: { kind: 'csb' }, permute: { kind: 'random', seed: 4 } }],
    ['permute: { kind: zigzag, block: 64 }', 'W4A4', { permute: { kind: 'zigzag', block: 64 } }],
    ['rotate: { kind: hadamard }', 'W4A4', { rotate: { kind: 'hadamard', seed: 0 } }],
    ['rotate: { kind: outlier-aware, steps: 16 }', 'W4A4', { rotate: { kind: 'outlier-aware', block: 128, steps: 16, order: 'zigzag', seed: 0 } }],
    ['rotate: { kind: adaptive, signal: peak-to-rms, threshold: 8 }', 'W4A4', { rotate: { kind: 'adaptive', threshold: 8, signal: 'peak-to-rms', seed: 0 } }],
    ['rotate: { kind: pca }, tail: { fraction: 0.125 }', 'W4A4', { rotate: { kind: 'pca', perHead: false, seed: 0 }, tail: { fraction: 0.125, dtype: 'bf16' } }],
    ['lowRank: { rank: 32 }, solver: { kind: gptq, actOrder: false }', 'W4A4',
      { lowRank: { rank: 32, iterations: 1, dtype: 'bf16' }, solver: { kind: 'gptq', damping: 0.01, actOrder: false, staticGroups: true } }],
    ['solver: { kind: adaround, iterations: 100 }', 'W4A4', { solver: { kind: 'adaround', iterations: 100 } }],
    ['weights: { clip: mse }, activations: { clip: 0.9 }', 'W4A4', { weights: { ...int4, clip: 'mse' }, activations: { ...int4, clip: 0.9 } }],
    ['activations: { range: static, symmetric: false }', 'W4A8', { activations: { ...int4, bits: 8, symmetric: false, group: 'tensor', range: 'static' } }],
    ['activations: { shift: 0.171875, group: 64 }', 'W4A4', { activations: { ...int4, group: 64, shift: 0.171875 } }],
    ['weights: { kind: midrise }', 'W2A4', { weights: { kind: 'midrise', bits: 2, norm: 'bf16' } }],
    ['weights: { kind: twin-log }', 'W3A4', { weights: { kind: 'twin-log', bits: 3, form: 'corrected' } }],
    ['weights: { kind: float }, activations: { kind: float }', 'W4A8', { weights: { kind: 'float', format: 'nvfp4', group: 16 }, activations: { kind: 'float', format: 'fp8', group: 'row' } }],
    ['weights: { kind: float, format: mxfp4 }', 'W4A16', { weights: { kind: 'float', format: 'mxfp4', group: 32 } }],
    ['weights: { kind: float, format: fp4, group: 64 }', 'W4A16', { weights: { kind: 'float', format: 'fp4', group: 64 } }],
  ];
  for (const [parts, scheme, expected] of merged) {
    it(`${parts} with ${scheme}`, () => {
      const found = withParts(parts, scheme);
      assert.ok(typeof found === 'object', String(found));
      const plain = { smooth: null, permute: null, rotate: null, tail: null, lowRank: null, solver: { kind: 'rtn' } };
      assert.deepEqual(found, { method: 'rtn', weights: found.weights, activations: found.activations, ...plain, ...expected });
    });
  }

  const pca = 'rotate: { kind: pca }, tail: { fraction: 0.1 }';
  const refused: [parts: string, scheme: string, shape: Partial<LayerShape>, expected: string][] = [
    ['tail: { fraction: 0.1 }', 'W4A4', {}, 'A tail keeps the last inputs, which only "rotate: { kind: pca }" orders by their energy. Add that rotation or remove "tail".'],
    ['rotate: { kind: pca }', 'W4A4', {}, 'A PCA rotation gathers energy in the last inputs, which quantizing needs apart: add "tail: { fraction: 0.125 }", or use "rotate: { kind: random }".'],
    ['rotate: { kind: pca }, tail: { fraction: 0.5 }, weights: { group: 64 }', 'W4A4', { inFeatures: 72 },
      'A tail of 0.5 leaves no whole group of the width 72 to quantize. Use a smaller fraction or a smaller group.'],
    ['rotate: { kind: pca, perHead: true }, tail: { fraction: 0.1 }', 'W4A4', {},
      '"perHead" needs a layer whose inputs are the outputs of attention heads, and this one\'s are not (or the model\'s config.json does not say how many heads). Narrow the rule to attention outputs, or remove it.'],
    [`${pca}, permute: { kind: random }`, 'W4A4', {}, 'A PCA rotation is the same whatever the order of its inputs, so "permute" has no effect. Remove it.'],
    [`${pca}, smooth: { kind: absmax }`, 'W4A4', {},
      'A PCA rotation takes its basis from the second moments of the inputs as they are, so nothing can scale them before. Write "smooth: false", or rotate with "kind: outlier-aware".'],
    [pca, 'W4A4', { inFeatures: 15360 },
      'A PCA basis of 15360 inputs would take hours to find; the widest is 12288. Use "rotate: { kind: rpbh }, tail: false", which works for every width, or "keep: bf16" for these layers.'],
    ['rotate: { kind: hadamard }', 'W4A4', { inFeatures: 8954 }, 'No Hadamard matrix is known here for the width 8954. Use "rotate: { kind: rpbh }", which works for every width.'],
    ['rotate: { kind: random }', 'W4A4', { inFeatures: 12288 },
      'A dense random matrix for the width 12288 would take 604 MB and minutes to make; the widest is 4608. Use "rotate: { kind: rpbh }", which works for every width.'],
    ['rotate: { kind: outlier-aware }', 'W4A4', { inFeatures: 2240 }, 'A block of 128 does not divide the width 2240. Use a block of 64.'],
    ['rotate: { kind: outlier-aware }', 'W4A4', { inFeatures: 7 }, 'A block of 128 does not divide the width 7. Use "rotate: { kind: rpbh }", which works for every width.'],
    ['rotate: { kind: adaptive }', 'W4A4', { inFeatures: 320 },
      'The rotation for outliers works in blocks of 128, which do not divide the width 320. Use "rotate: { kind: rpbh }", or "kind: outlier-aware" with a smaller block.'],
    ['permute: { kind: zigzag }', 'W4A4', { inFeatures: 7 }, 'A block of 128 does not divide the width 7. Use "permute: { kind: random }".'],
    ['lowRank: { rank: 64 }', 'W4A4', { outFeatures: 64 }, 'A branch of rank 64 could hold the whole weight of 64 × 3072. Use a rank below 64, or "keep: bf16" for these layers.'],
    [`${pca.replace('0.1', '0.75')}, lowRank: { rank: 20 }`, 'W4A4', { inFeatures: 64 }, 'A branch of rank 20 could hold the whole weight of 3072 × 16. Use a rank below 16, or "keep: bf16" for these layers.'],
    ['lowRank: { rank: 8 }', 'W16A4', {}, 'The scheme leaves weights unquantized, so "lowRank" has no effect. Remove it or lower the bits.'],
    ['solver: { kind: gptq }', 'W16A4', {}, 'The scheme leaves weights unquantized, so "solver" has no effect. Remove it or lower the bits.'],
    ['solver: { kind: adaround }, lowRank: { rank: 8 }', 'W4A4', {}, 'AdaRound learns the rounding of the whole weight and a low-rank branch takes a part of it away. Use "solver: { kind: gptq }", or "lowRank: false".'],
    ['solver: { kind: adaround }, weights: { kind: codebook }', 'W4A4', {}, 'AdaRound rounds integers up or down; these weights are no integers. Use "solver: { kind: gptq }", or "weights: { kind: int }".'],
    ['solver: { kind: gptq, staticGroups: false }, weights: { group: 64 }', 'W4A4', {},
      '"actOrder" takes inputs out of order and "staticGroups: false" finds the scale of a group when its first input comes. Write "actOrder: false", or "staticGroups: true".'],
    ['activations: { shift: 0.2 }, rotate: { kind: rpbh }', 'W4A4', {}, 'Rotated inputs go as far below zero as above, and "shift" is for inputs that hardly do. Remove it, or write "rotate: false".'],
    ['activations: { shift: 0.2, range: static }', 'W4A8', {}, 'A static range ends where the inputs do, so "shift" has no effect. Write "symmetric: false" in its place.'],
    ['weights: { kind: twin-log }', 'W1A4', {}, 'Twin-log needs a level for either sign, so 2 bits or more. Use "kind: codebook" for 1 bit.'],
    ['weights: { kind: float }', 'W3A4', {}, 'Float formats have 4 or 8 bits, but the scheme gives weights 3. Use 4 or 8 bits there, or another "kind".'],
    ['activations: { kind: float, format: mxfp8 }', 'W4A4', {}, 'mxfp8 has 8 bits, but the scheme gives activations 4. Change the format or the scheme.'],
    ['weights: { kind: float, format: mxfp4, group: 64 }', 'W4A4', {}, 'mxfp4 has groups of 32. Remove "group", or use fp4, whose groups are free.'],
    ['weights: { kind: float }', 'W4A4', { inFeatures: 72 }, 'A group of 16 does not divide the width 72. Use "format: fp4", whose groups are free.'],
    ['activations: { shift: 0.2, symmetric: false }', 'W4A4', {}, '"shift" makes the codes unsigned already, so "symmetric: false" beside it has no effect. Remove one of the two.'],
    ['activations: { range: static, group: 64 }', 'W4A4', {}, 'A static range is one range for the whole tensor. Remove "group" or write "group: tensor".'],
    ['weights: { clip: mse, group: tensor }', 'W4A4', {}, '"clip: mse" searches the range of one group at a time, not of a whole tensor. Use "group: row" or a clip ratio.'],
    ['weights: { form: released }', 'W4A4', {}, '"form" belongs to twin-log quantizers, but weights use an integer quantizer here. Remove it or add "kind: twin-log".'],
  ];
  for (const [parts, scheme, shape, expected] of refused) {
    it(`refuses ${parts} with ${scheme} for ${JSON.stringify(shape)}`, () => {
      assert.equal(withParts(parts, scheme, shape), expected);
    });
  }

  it('rounds a tail up until groups divide the rest', () => {
    const tail = (group: number, perHead: boolean, shape: { inFeatures: number; heads: number | null }): number | null =>
      tailWidth({ rotate: { kind: 'pca', perHead, seed: 0 }, tail: { fraction: 0.125, dtype: 'bf16' }, weights: { ...int4, group }, activations: int4 }, shape);
    assert.equal(tail(64, false, { inFeatures: 1152, heads: null }), 192);
    assert.equal(tail(16, false, { inFeatures: 1152, heads: null }), 144);
    assert.equal(tail(64, false, { inFeatures: 4608, heads: null }), 576);
    assert.equal(tail(63, true, { inFeatures: 1152, heads: 16 }), 144);
    assert.equal(tail(64, true, { inFeatures: 1152, heads: 16 }), 192, 'every head gives 12');
    assert.equal(tail(2048, false, { inFeatures: 1152, heads: null }), null);
  });

  it('tells what runs beside quantizing, of one layer and of many', () => {
    const layers = ['smooth: { kind: csb }, rotate: { kind: adaptive }', 'smooth: { kind: absmax }, permute: { kind: random }, rotate: { kind: rpbh }, lowRank: { rank: 4 }', 'solver: { kind: gptq }'].map((parts) => {
      const found = withParts(parts);
      assert.ok(typeof found === 'object');
      return { recipe: found };
    });
    assert.deepEqual(describeOnline(layers), ['At run time beside quantizing: smoothing in 2 layers, Hadamard or block rotations in 1 layer, reordering in 1 layer, RPBH rotation in 1 layer, low-rank branch in 1 layer']);
    assert.deepEqual(describeOnline(layers.slice(2)), []);
  });

  it('names the keys that belong to another kind', () => {
    const { problems } = parse('version: 1\ncheckpoint: m\ndefaults: { scheme: W4A4, method: { name: rtn, rotate: { kind: hadamard, block: 64 }, smooth: { kind: csb, steps: 3 } } }\n');
    assert.deepEqual(problems.map((problem) => `${problem.code}: ${problem.message}`), [
      'config/unknown-key: "steps" belongs to search, but "smooth" is csb here. Remove it or change "kind".',
      'config/unknown-key: "block" belongs to outlier-aware, but "rotate" is hadamard here. Remove it or change "kind".',
    ]);
  });

  it('reads no value that the schema refuses', () => {
    const { config, problems } = parse('version: 1\ncheckpoint: m\ndefaults: { scheme: W4A4, method: { name: rtn, rotate: { kind: hadamard, seed: -1 }, lowRank: { rank: 2.5 }, weights: { clip: 7 } } }\n');
    assert.equal(problems.length, 3);
    assert.deepEqual(config.defaults.method?.value, { name: 'rtn', rotate: { kind: 'hadamard', seed: 0 }, lowRank: { rank: 32, iterations: 1, dtype: 'bf16' }, weights: {} });
  });

  const needs: [parts: string, expected: Statistic[]][] = [
    ['rotate: { kind: rpbh }', []],
    ['smooth: { kind: absmax }', ['activation-absmax']],
    ['smooth: { kind: smoothquant }', ['weights', 'activation-absmax']],
    ['smooth: { kind: search }, lowRank: { rank: 8 }', ['weights', 'activation-absmax', 'activation-samples']],
    ['rotate: { kind: outlier-aware }', ['activation-samples']],
    [pca, ['activation-second-moments']],
    ['solver: { kind: gptq }, permute: { kind: zigzag }', ['activation-absmax', 'activation-second-moments']],
    ['weights: { kind: twin-log }', ['weights']],
    ['activations: { range: static }', ['activation-absmax', 'activation-samples']],
  ];
  for (const [parts, expected] of needs) {
    it(`${parts} needs ${expected.join(', ') || 'nothing'}`, () => {
      const found = withParts(parts);
      assert.deepEqual(typeof found === 'object' && statisticsFor(found), expected);
    });
  }
});
