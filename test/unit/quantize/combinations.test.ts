/** Every combination of parts is a recipe that can be prepared and run, or is refused when the config is read, with the reason and what to do. */
import assert from 'node:assert/strict';
import { join, resolve } from 'node:path';
import { recipeFor } from '../../../server/src/config/recipe';
import { EngineClient } from '../../../server/src/engine/client';
import type { LinearRecipe } from '../../../server/src/engine/graph';
import { methods } from '../../../server/src/methods';
import type { LayerPlan } from '../../../server/src/protocol';
import { LayerProbe } from '../../../server/src/quantize/evaluate';
import { withCodes } from '../../../server/src/quantize/prepare';
import { prepareRecipes, sampleInputs } from '../../../server/src/quantize/recipes';
import type { PlanRequest } from '../../../server/src/quantize/recipes';
import { temporaryFolders } from '../../fixtures/folder';
import { glyphRequest } from '../../fixtures/plans';
import { pick, random } from '../../fixtures/random';
import { parse } from '../config/found';

const root = resolve(__dirname, '../../..');

/** What may stand in a method, by part; '' leaves the part to the preset. Presets are made cheap where their own settings take minutes. */
const parts: Record<string, readonly string[]> = {
  name: [...methods.keys()],
  smooth: ['', 'false', '{ kind: absmax }', '{ kind: smoothquant, alpha: 0.3 }', '{ kind: search, steps: 2 }', '{ kind: csb }'],
  permute: ['', '{ kind: random, seed: 3 }', '{ kind: zigzag, block: 64 }'],
  rotate: ['', 'false', '{ kind: rpbh }', '{ kind: hadamard }', '{ kind: random }', '{ kind: outlier-aware, block: 64, steps: 8 }', '{ kind: pca }', '{ kind: pca, perHead: true }', '{ kind: adaptive }', '{ kind: adaptive, threshold: 0 }'],
  tail: ['', 'false', '{ fraction: 0.125 }'],
  lowRank: ['', 'false', '{ rank: 4, iterations: 2 }', '{ rank: 127 }'],
  weights: ['', '{ kind: int, symmetric: false }', '{ kind: int, group: 32, clip: mse }', '{ kind: int, group: tensor, clip: 0.9 }', '{ kind: codebook }', '{ kind: midrise, norm: fp16 }', '{ kind: twin-log }',
    '{ kind: twin-log, form: released }', '{ kind: float }', '{ kind: float, format: fp4, group: 8 }', '{ kind: float, format: mxfp8 }', '{ kind: float, format: fp8, group: tensor }'],
  activations: ['', '{ kind: int, symmetric: false }', '{ kind: int, group: 32, clip: 0.9 }', '{ kind: int, group: tensor }', '{ kind: int, shift: 0.171875 }', '{ kind: int, shift: 0.171875, group: 32 }', '{ kind: int, shift: 0.2, group: tensor }',
    '{ kind: int, range: static }', '{ kind: int, range: static, symmetric: false, clip: 0.9 }', '{ kind: int, range: static, shift: 0.1 }', '{ kind: codebook }', '{ kind: midrise }', '{ kind: float }', '{ kind: float, format: fp8, group: tensor }'],
  solver: ['', '{ kind: rtn }', '{ kind: gptq }', '{ kind: gptq, actOrder: false, staticGroups: false }', '{ kind: gptq, staticGroups: false }', '{ kind: adaround, iterations: 1 }'],
  scheme: ['W4A4', 'W8A8', 'W4A8', 'W4A16', 'W16A4', 'W3A3', 'W2A4', 'W7A5', 'W1A4', 'W4A1'],
};
const cheap: Record<string, Record<string, string>> = {
  svdquant: { smooth: '{ kind: search, steps: 2 }', lowRank: '{ rank: 4, iterations: 2 }' }, ptq4dit: { solver: '{ kind: adaround, iterations: 1 }' },
};

type Combination = Record<string, string>;

function settings({ scheme = '', ...method }: Combination): string {
  const written = Object.entries(method).map(([part, value]) => [part, value || cheap[method['name'] ?? '']?.[part]]).filter(([, value]) => value);
  return `method: { ${written.map(([part, value]) => `${part}: ${value}`).join(', ')} }, scheme: ${scheme}`;
}

/** Seeded: most parts are left to the preset, as people write them. */
function* combinations(seed: number): Generator<Combination, never> {
  const next = random(seed);
  for (;;) {
    yield Object.fromEntries(Object.entries(parts).map(([part, values]) => [part, part === 'name' || part === 'scheme' || next() < 0.4 ? pick(next, values) : values[0] ?? '']));
  }
}

/** Layers of the bundled model, of which the second reads the outputs of attention heads. */
const layers = ['transformer_blocks.1.ff.net.2', 'transformer_blocks.1.attn1.to_out.0', 'transformer_blocks.2.norm1.linear'] as const;

function request(layer: string, combination: Combination): Promise<PlanRequest> {
  return glyphRequest('rules:', `  - { layers: ["${layer}"], ${settings(combination)} }`, 'calibration: { trajectories: 1, steps: 2, rows: 48 }', 'preview: { classes: [3] }');
}

/** Values of pairs of parts that a combination holds. */
function pairsOf(combination: Combination): string[] {
  const entries = Object.entries(combination);
  return entries.flatMap(([a, x], i) => entries.slice(i + 1).map(([b, y]) => `${a} ${x} ${b} ${y}`));
}

describe('combinations of parts', function () {
  this.timeout(600_000);
  const folder = temporaryFolders();
  const engine = new EngineClient({ hostPath: join(root, 'dist/engine.js'), addonPath: join(root, 'native/build/quantscope.node'), threads: 2, log: () => undefined });
  after(() => engine.dispose());

  it('a refusal gives the reason and what to do', () => {
    const next = combinations(1);
    const counts = { recipes: 0, refusals: 0 };
    for (let i = 0; i < 1500; i++) {
      const text = settings(next.next().value);
      const { config, problems } = parse(`version: 1\ncheckpoint: m\nrules:\n  - { layers: "**", ${text} }\n`);
      assert.deepEqual(problems, [], text);
      for (const shape of [{ inFeatures: 1152, heads: 16 }, { inFeatures: 8954, heads: null }, { inFeatures: 15360, heads: null }, { inFeatures: 7, heads: null }]) {
        const result = recipeFor(config.rules[0] ?? {}, config.defaults, { outFeatures: 128, role: 'other', ...shape });
        counts['recipe' in result ? 'recipes' : 'refusals']++;
        if ('refusal' in result) {
          // What is wrong, and then what to do.
          assert.match(result.refusal, /.{20,}(\.|: add) ?.*\b(Use|Add|Remove|Write|Change|Narrow|add|use|change|remove)\b.*\.$/, text);
          assert.ok(result.range, text);
        }
      }
    }
    assert.ok(counts.recipes > 500 && counts.refusals > 500, JSON.stringify(counts));
  });

  it('what is not refused can be prepared and run, and takes the bytes that the plan says', async () => {
    const work = folder();
    const inputs = await sampleInputs({ ...await request(layers[0], { name: 'rtn', scheme: 'W4A4' }), folder: work }, layers, engine);
    const next = combinations(2);
    const covered = new Set<string>();
    const failures: string[] = [];
    for (let i = 0; i < 6000; i++) {
      const combination = next.next().value;
      const layer = layers[i % layers.length] ?? layers[0];
      // Only what has much that is new: few runs for most pairs of settings.
      if (pairsOf(combination).filter((pair) => !covered.has(pair)).length < 8) {
        continue;
      }
      const asked = await request(layer, combination);
      const plan = asked.plan.layers.find(({ name }) => name === layer);
      if (!plan || asked.plan.problems.some(({ severity }) => severity === 'error') || (plan.recipe.weights.kind === 'keep' && plan.recipe.activations.kind === 'keep')) {
        continue;
      }
      pairsOf(combination).forEach((pair) => covered.add(pair));
      await runs({ ...asked, folder: work }, plan, inputs.get(layer) ?? new Float32Array()).catch((error: unknown) => { failures.push(`${layer} ${settings(combination)}: ${String(error)}`); });
    }
    assert.deepEqual(failures, []);
    assert.ok(covered.size > 1500, `${covered.size} pairs`);
  });

  async function runs(asked: PlanRequest, plan: LayerPlan, x: Float32Array): Promise<void> {
    const prepared = (await prepareRecipes({ ...asked, only: (name) => name === plan.name }, engine)).get(plan.name);
    assert.ok(prepared);
    const error = await new LayerProbe(engine, plan, x).outputError(prepared.recipe);
    assert.ok(error > 0 && error < (Math.min(plan.weightBits, plan.activationBits) < 3 ? 4 : 0.7), `output error ${error}`);
    if (plan.recipe.weights.kind !== 'keep') {
      const { recipe } = await withCodes(plan, prepared, asked.checkpoint.revision, join(asked.folder, 'layers'), engine, {});
      const spare = plan.recipe.rotate?.kind === 'adaptive' && prepared.rotation === 'hadamard' ? 4 * (2 * 128 ** 2 + plan.inFeatures) : 0; // the plan counts the larger of the two
      const shared = plan.recipe.permute?.kind === 'random' ? 4 * plan.inFeatures : 0; // counted once for all layers
      assert.equal(bytesOf(recipe), plan.packedBytes + shared - spare, 'bytes');
    }
  }
});

/** Of everything that a packed checkpoint stores for a layer. */
function bytesOf({ transforms, packed, lowRank, activationRange }: LinearRecipe): number {
  const tensors = [
    ...transforms.flatMap((each) => (each.kind === 'scale' ? [each.values] : each.kind === 'permute' ? [each.sources] : each.kind === 'blocks' ? [each.matrices] : [])),
    ...(packed ? [packed.codes, ...Object.values(packed.sides), packed.tail] : []), lowRank?.down, lowRank?.up,
  ];
  const sizes: Record<string, number> = { F32: 4, I32: 4, BF16: 2, F16: 2, U8: 1, F8_E4M3: 1, F8_E8M0: 1 };
  return tensors.reduce((sum, tensor) => sum + (tensor ? tensor.shape.reduce((product, size) => product * size, sizes[tensor.dtype] ?? NaN) : 0), activationRange ? 8 : 0);
}
