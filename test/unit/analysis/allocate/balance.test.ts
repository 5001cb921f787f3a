/** Time steps weighed by what a plan does there, and the names that others keep. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { allocatable, allocate, layersToMeasure, solve } from '../../../../server/src/analysis/allocate/allocation';
import type { Allocatable } from '../../../../server/src/analysis/allocate/allocation';
import { balanced, logSum, stepErrors } from '../../../../server/src/analysis/allocate/balance';
import { pointOf } from '../../../../server/src/analysis/allocate/choices';
import { weighed } from '../../../../server/src/analysis/allocate/losses';
import type { Losses } from '../../../../server/src/analysis/allocate/losses';
import { nameRuleOf } from '../../../../server/src/analysis/allocate/nameRules';
import { readOptions } from '../../../../server/src/analysis/allocate/options';
import { CheckpointStore, openCheckpoint } from '../../../../server/src/checkpoint';
import { loadConfig } from '../../../../server/src/config/load';
import type { Layer, Role } from '../../../../server/src/protocol';
import { temporaryFolders } from '../../../fixtures/folder';
import { examples } from '../../../fixtures/plans';
import { random } from '../../../fixtures/random';
import { writeSparseFlux } from '../../../fixtures/sparse';

async function example(): Promise<Allocatable> {
  const document = TextDocument.create('file:///x', 'quantconfig', 1, 'version: 1\ncheckpoint: ./glyph-dit\ndefaults: { method: orbitquant, scheme: W4A4 }\nrules:\n  - layers: ["**.norm1.**", "proj_out_*", "**.ff.**"]\n    keep: original\n');
  const { plan, checkpoint, parsed: { config } } = await loadConfig(document, join(examples, 'x.quant.yaml'), new CheckpointStore());
  assert.ok(plan && checkpoint);
  return allocatable(plan, config, checkpoint, readOptions(['W2A4', 'W3A4', 'W4A4', 'W8A8', 'keep'], config.defaults), undefined);
}

/** Errors at three steps that fall by orders of magnitude, each layer with an importance of its own at each. */
function made(possible: Allocatable, seed: number): Losses {
  const next = random(seed);
  const importance = new Map(possible.plan.layers.map(({ name }) => [name, [1, 1e-2, 1e-4].map((scale) => scale * Math.exp(4 * next()))]));
  const steps = new Map([...layersToMeasure(possible)].map(([label, layers]) => [label, new Map(layers.map(({ name, weightBits }) => [name, (importance.get(name) ?? []).map((each) => each * 4 ** -weightBits)]))]));
  return { kind: 'sensitivity', description: '', steps, values: weighed(steps, [1 / 3, 1 / 3, 1 / 3]) };
}

describe('balanced time steps', () => {
  const folder = temporaryFolders();

  it('are never worse over all steps than the plan that looks at the sum alone, at every size, and usually better', async () => {
    const possible = await example();
    let better = 0;
    for (let seed = 0; seed < 8; seed++) {
      const losses = made(possible, seed);
      const { pareto } = allocate(possible, losses, 1e12);
      const [low, high] = [pareto[0]?.bytes ?? 0, pareto.at(-1)?.bytes ?? 0];
      for (const share of [0.1, 0.3, 0.6]) {
        const budget = Math.floor(low + share * (high - low));
        const [plain, found] = [solve(possible, losses, budget), balanced(possible, losses, budget)];
        assert.ok(plain && found && losses.steps);
        assert.ok(pointOf(possible, losses, found).bytes <= budget, `seed ${seed}, budget ${budget}`);
        const gain = logSum(stepErrors(losses.steps, plain)) - logSum(stepErrors(losses.steps, found));
        assert.ok(gain >= 0, `seed ${seed}, budget ${budget}: ${gain}`);
        better += gain > 1e-6 ? 1 : 0;
      }
    }
    assert.ok(better > 12, `${better} of 24`);
  }).timeout(60_000);

  it('need errors by step, and stop where nothing is lost', async () => {
    const possible = await example();
    const { steps, ...losses } = made(possible, 1);
    assert.equal(balanced(possible, losses, 1e12), null);
    assert.ok(steps && [...balanced(possible, { ...losses, steps }, 1e12)?.values() ?? []].every((option) => option === 'keep'));
  });

  it('follows the published names where there are some, and roles elsewhere', async () => {
    const place = folder({});
    await writeSparseFlux(place);
    const { architecture, layers } = await openCheckpoint(place);
    const flux = nameRuleOf(architecture);
    const kept = layers.filter((layer) => flux.keeps(layer)).map(({ name }) => name);
    assert.deepEqual(kept.map((name) => name.replace(/\.linear_[12]$/, '')).filter((name, i, all) => all.indexOf(name) === i).sort(),
      ['context_embedder', 'norm_out.linear', 'proj_out', 'time_text_embed.guidance_embedder', 'time_text_embed.text_embedder', 'time_text_embed.timestep_embedder', 'x_embedder']);
    assert.match(flux.text, /Model Optimizer's rule for FluxTransformer2DModel.*norm_out and proj_out/);
    const layer = (name: string, role: Role, block: string | null): Pick<Layer, 'name' | 'role' | 'block'> => ({ name, role, block });
    const [wan, qwen, dit] = ['WanTransformer3DModel', 'QwenImageTransformer2DModel', 'DiTTransformer2DModel'].map(nameRuleOf);
    assert.deepEqual([wan?.outer, wan?.keeps(layer('condition_embedder.time_proj', 'other', null)), wan?.keeps(layer('blocks.4.ffn.net.2', 'ffn-down', 'blocks.4'))], [[3], true, false]);
    assert.deepEqual([qwen?.outer, qwen?.keeps(layer('img_in', 'other', null)), qwen?.keeps(layer('transformer_blocks.7.attn.to_q', 'other', 'transformer_blocks.7'))], [[2], true, false]);
    assert.deepEqual([dit?.outer, dit?.keeps(layer('m', 'modulation', 'b.0')), dit?.keeps(layer('q', 'q', 'b.0'))], [[0, 1, 2], true, false]);
    assert.match(dit?.text ?? '', /publishes no rule for DiTTransformer2DModel/);
  });
});
