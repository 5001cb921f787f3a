import assert from 'node:assert/strict';
import { recipeFor } from '../../../server/src/config/recipe';
import { describeQuantizer } from '../../../server/src/config/describe';
import { documentOf, parse } from './found';

/** The recipe of a rule with these settings under these defaults, in one line; or the refusal and what it marks. */
function recipe(rule: string, defaults = '{}', width = 3072): string {
  const text = `version: 1\ncheckpoint: m\ndefaults: ${defaults}\nrules:\n  - { layers: "**", ${rule} }\n`;
  const { config } = parse(text);
  const result = recipeFor(config.rules[0] ?? {}, config.defaults, { inFeatures: width, outFeatures: 64, role: 'other', heads: null });
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
    ['method: gptq, scheme: W4A4', '{}', 64, 'refused [gptq] There is no method "gptq". Known: orbitquant, rtn.'],
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
