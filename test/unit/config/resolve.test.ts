import assert from 'node:assert/strict';
import { formatBytes, resolvePlan } from '../../../server/src/config/resolve';
import type { Plan } from '../../../server/src/protocol';
import { publishedModel } from '../../fixtures/architectures';
import { layersNamed, publishedCheckpoint } from '../../fixtures/checkpoints';
import { configOf, documentOf, found, parse, planOf } from './found';

/** The config of design.md. */
const design = [
  'defaults: { method: orbitquant, scheme: W4A4 }', 'rules:',
  '  - name: modulation', '    layers: ["**.norm*.linear"]', '    scheme: W4A16', '    method: { name: rtn, weights: { group: 64 } }',
  '  - layers: [x_embedder, context_embedder, "time_text_embed.**", "norm_out.**", proj_out]', '    keep: bf16',
];

describe('plan of FLUX.1-dev', () => {
  const flux = publishedCheckpoint('FLUX.1-dev');
  const plan = planOf(flux, ...design, 'budget: { size: 6.9GB }');

  it('covers 504 layers: 76 by the modulation rule, 10 kept, 418 by the defaults', () => {
    assert.equal(plan.layers.length, 504);
    assert.deepEqual(plan.rules.map((rule) => [rule.name, rule.matchedLayers, rule.decidedLayers]), [['modulation', 76, 76], ['rule 2', 10, 10]]);
    assert.equal(plan.layers.filter((layer) => layer.decidedBy?.rule === -1).length, 418);
    assert.deepEqual(plan.problems, []);
  });

  it('has the true bits of each kind of layer', () => {
    const layer = (name: string): string => {
      const found = plan.layers.find((each) => each.name === name);
      return `${found?.recipe.method} ${found?.averageBits.toFixed(4)} ${found?.weightBits}/${found?.activationBits} ${found?.decidedBy?.name}`;
    };
    assert.equal(layer('transformer_blocks.0.attn.to_q'), 'orbitquant 4.0052 4/4 defaults');
    assert.equal(layer('single_transformer_blocks.37.norm.linear'), 'rtn 4.2500 4/16 modulation');
    assert.equal(layer('proj_out'), 'keep 16.0000 16/16 rule 2');
  });

  it('adds up to what the list of layers says', () => {
    const model = publishedModel('FLUX.1-dev');
    const kept = (module: string): boolean => /^(x_embedder|context_embedder|proj_out)$|^time_text_embed\.|^norm_out\./.test(module);
    let bytes = 0;
    const widths = new Set<number>();
    for (const [module, count, rows, width] of model.linears) {
      const weights = rows * width;
      if (kept(module)) {
        bytes += count * weights * 2;
      } else if (/norm.*\.linear$/.test(module)) {
        bytes += count * (weights / 2 + (weights / 64) * 2);
      } else {
        bytes += count * (weights / 2 + rows * 2);
        widths.add(width);
      }
    }
    const shared = [...widths].reduce((sum, width) => sum + 4 * width + width / 8 + 4 * 16, 0);
    const { totals } = plan;
    assert.equal(totals.sharedBytes, shared);
    assert.equal(totals.packedBytes, bytes + shared);
    assert.equal(totals.params, model.linearParams);
    assert.equal(totals.baselineBytes, 2 * model.linearParams);
    assert.equal(totals.otherBytes, 2 * (model.params - model.linearParams));
    assert.equal(totals.checkpointBytes, totals.packedBytes + totals.otherBytes);
    assert.equal(totals.averageBits, (8 * totals.packedBytes) / model.linearParams);
    assert.equal(formatBytes(totals.checkpointBytes), '6.16 GB');
  });

  it('is the same for the same input, and has another hash when a recipe changes', () => {
    assert.deepEqual(planOf(flux, ...design, 'budget: { size: 6.9GB }'), plan);
    assert.equal(planOf(flux, ...design).hash, plan.hash);
    assert.notEqual(planOf(flux, ...design.map((line) => line.replace('group: 64', 'group: 128'))).hash, plan.hash);
    assert.notEqual(planOf({ ...flux, revision: 'r2' }, ...design).hash, plan.hash);
  });

  it('is plain JSON', () => {
    assert.deepEqual(JSON.parse(JSON.stringify(plan)), plan);
  });
});

describe('plan', () => {
  const checkpoint = layersNamed('blocks.0.attn.q', 'blocks.0.ff.up', 'blocks.1.attn.q', 'blocks.1.ff.up', 'out');
  const deciders = (plan: Plan): string[] => plan.layers.map((layer) => layer.decidedBy?.name ?? '–');
  const problems = (...lines: string[]): string[] => found(['version: 1', 'checkpoint: ./model', ...lines].join('\n'), planOf(checkpoint, ...lines).problems);

  it('lets later rules win', () => {
    assert.deepEqual(deciders(planOf(checkpoint, 'rules:', '  - { name: a, layers: "**", keep: bf16 }', '  - { name: b, layers: "**.q", keep: bf16 }')), ['b', 'a', 'b', 'a', 'a']);
    assert.deepEqual(deciders(planOf(checkpoint, 'rules:', '  - { name: b, layers: "**.q", keep: bf16 }', '  - { name: a, layers: ["**", "!out"], keep: bf16 }')), ['a', 'a', 'a', 'a', '–']);
  });

  it('numbers rules by their place among the sound ones, so that plan.rules[decidedBy.rule] is the rule', () => {
    const text = 'rules:\n  - 5\n  - { name: only, layers: out, keep: bf16 }\n';
    const plan = resolvePlan(parse(text).config, checkpoint);
    const decided = plan.layers.find((layer) => layer.name === 'out')?.decidedBy;
    assert.equal(plan.rules[decided?.rule ?? -1]?.name, 'only');
  });

  it('says what every pattern and rule takes', () => {
    const [rule] = planOf(checkpoint, 'rules:', '  - { layers: ["**.q", out, "!blocks.1.*.*"], keep: bf16 }').rules;
    assert.deepEqual([rule?.matchedLayers, rule?.matchedParamsPercent, rule?.decidedLayers, rule?.averageBits], [2, 40, 2, 16]);
    assert.deepEqual(rule?.patterns.map(({ text, matchedLayers, matchedParamsPercent }) => [text, matchedLayers, matchedParamsPercent]), [['**.q', 2, 40], ['out', 1, 20], ['!blocks.1.*.*', 2, 40]]);
  });

  it('warns of patterns that match nothing and offers what was meant', () => {
    assert.deepEqual(problems('rules:', '  - { layers: [ff, "!qq", attn.q, blocks.0.attn.qq, nowhere.at.all], keep: bf16 }').slice(0, 5), [
      'warning plan/pattern-matches-nothing [ff] "ff" matches none of the 5 layers of this checkpoint. Did you mean "**.ff.**" (2 layers)?',
      'warning plan/pattern-matches-nothing ["!qq"] "qq" excludes nothing: it matches none of the 5 layers of this checkpoint.',
      'warning plan/pattern-matches-nothing [attn.q] "attn.q" matches none of the 5 layers of this checkpoint. Did you mean "**.attn.q" (2 layers)?',
      'warning plan/pattern-matches-nothing [blocks.0.attn.qq] "blocks.0.attn.qq" matches none of the 5 layers of this checkpoint. Did you mean "blocks.0.attn.q" (1 layer)?',
      'warning plan/pattern-matches-nothing [nowhere.at.all] "nowhere.at.all" matches none of the 5 layers of this checkpoint.',
    ]);
  });

  it('stops warning when nothing matches at all', () => {
    const lines = ['rules:', `  - { layers: [${Array.from({ length: 300 }, (_, i) => `"x${i}"`).join(', ')}], keep: bf16 }`];
    const found = planOf(checkpoint, ...lines).problems.filter((problem) => problem.code === 'plan/pattern-matches-nothing');
    assert.equal(found.length, 51);
    assert.match(found[50]?.message ?? '', /^This and 249 later patterns match none of the 5 layers either\./);
  });

  it('shortens a hostile pattern in its message', () => {
    const [problem] = planOf(checkpoint, `rules: [{ layers: "${'*a'.repeat(10_000)}", keep: bf16 }]`).problems;
    assert.match(problem?.message ?? '', /^"(\*a){30}… \(20000 characters\)" matches none/);
  });

  it('warns of rules without effect', () => {
    assert.deepEqual(problems('defaults: { keep: bf16 }', 'rules:', '  - { layers: [out], keep: fp16 }', '  - { layers: "**", keep: bf16 }'), [
      'warning plan/shadowed-rule [[out]] Later rules take the only layer this rule matches, so it has no effect. Move it down, narrow the later rules, or remove it.',
    ]);
  });

  it('says which layers nothing covers', () => {
    assert.deepEqual(problems('rules:', '  - { layers: out, keep: bf16 }'), [
      'info plan/uncovered [{ layers: out, keep: bf16 }] No rule covers 4 of 5 layers (first blocks.0.attn.q); they stay as they are. Add "defaults" or a rule.',
    ]);
    assert.deepEqual(problems('defaults: { keep: original }'), []);
  });

  it('reports a refused combination once per rule, and leaves its layers as they are', () => {
    const lines = ['defaults: { keep: bf16 }', 'rules:', '  - { layers: "**.q", scheme: W4A4, method: { name: rtn, weights: { group: 3 } } }'];
    assert.deepEqual(problems(...lines), [
      'error plan/refused [{ name: rtn, weights: { group: 3 } }] A group of 3 does not divide the width 4. Use a group of 2 or "row". (2 layers: blocks.*.attn.q; left unquantized until then)',
    ]);
    assert.deepEqual(planOf(checkpoint, ...lines).layers.map((layer) => layer.recipe.method), Array(5).fill('keep'));
  });

  it('holds the budget as a hard bound', () => {
    // 5 layers of 8 × 4: 80 bytes of codes and 80 of norms; codebook 64, permutation 16, signs 1.
    const quantized = 'defaults: { method: orbitquant, scheme: W4A4 }';
    assert.equal(planOf(checkpoint, quantized).totals.checkpointBytes, 241);
    assert.deepEqual(problems(quantized, 'budget: { size: 241B }'), []);
    assert.deepEqual(problems(quantized, 'budget: { size: 240B }'), [
      'error plan/over-budget [240B] The quantized checkpoint takes 241 B (241 B linear weights, 0 B other tensors), 1 B over the budget of 240 B.',
    ]);
    assert.deepEqual(problems(quantized, 'budget: { bits: 12.05 }'), []);
    assert.deepEqual(problems(quantized, 'budget: { bits: 12 }'), ['error plan/over-budget [12] The plan needs 12.050 bits per linear weight, side data included; the budget is 12.']);
  });

  it('works on a checkpoint without layers', () => {
    const plan = planOf(layersNamed(), 'defaults: { method: orbitquant, scheme: W4A4 }', 'rules:', '  - { layers: "**", keep: bf16 }', 'budget: { bits: 4 }');
    assert.deepEqual([plan.layers, plan.totals.averageBits, plan.rules[0]?.matchedParamsPercent], [[], 0, 0]);
    assert.deepEqual(plan.problems.map((problem) => problem.code), ['plan/pattern-matches-nothing']);
  });

  it('marks every decision with the range of its rule', () => {
    const lines = ['version: 1', 'checkpoint: ./model', 'rules:', '  - layers: out', '    keep: bf16'];
    const plan = resolvePlan(configOf(...lines.slice(2)), checkpoint);
    const { range } = plan.layers.find((layer) => layer.name === 'out')?.decidedBy ?? {};
    assert.equal(range && documentOf(lines.join('\n')).getText(range), 'layers: out\n    keep: bf16');
  });
});

describe('sizes', () => {
  const cases: [bytes: number, text: string][] = [[0, '0 B'], [999, '999 B'], [1000, '1.00 kB'], [6_900_000_000, '6.90 GB'], [2.5e15, '2500.00 TB']];
  for (const [bytes, text] of cases) {
    it(`${bytes} is ${text}`, () => {
      assert.equal(formatBytes(bytes), text);
    });
  }
});
