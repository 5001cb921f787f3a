/** From losses and a budget to a plan and the config that says it, on the bundled example and on FLUX.1-dev. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { allocatable, allocate, layersToMeasure } from '../../../../server/src/analysis/allocate/allocation';
import type { Allocatable } from '../../../../server/src/analysis/allocate/allocation';
import { tieLayers } from '../../../../server/src/analysis/allocate/groups';
import { currentLabel, givenLosses } from '../../../../server/src/analysis/allocate/losses';
import type { Losses } from '../../../../server/src/analysis/allocate/losses';
import { readOptions, usualOptions } from '../../../../server/src/analysis/allocate/options';
import { rewriteConfig, withoutAllocated } from '../../../../server/src/analysis/allocate/patterns/rewrite';
import { CheckpointStore } from '../../../../server/src/checkpoint';
import { loadConfig } from '../../../../server/src/config/load';
import { parseConfig } from '../../../../server/src/config/parse';
import { resolvePlan } from '../../../../server/src/config/resolve';
import type { Allocation, Checkpoint, Plan } from '../../../../server/src/protocol';
import { temporaryFolders } from '../../../fixtures/folder';
import { examples } from '../../../fixtures/plans';
import { pick, random } from '../../../fixtures/random';
import { writeSparseFlux } from '../../../fixtures/sparse';

interface Case { document: TextDocument; checkpoint: Checkpoint; plan: Plan; possible: Allocatable }

async function open(text: string, options?: string[], layers?: string[], path = join(examples, 'x.quant.yaml')): Promise<Case> {
  const document = TextDocument.create('file:///x.quant.yaml', 'quantconfig', 1, text);
  const { plan, checkpoint, parsed, problems } = await loadConfig(document, path, new CheckpointStore());
  assert.ok(plan && checkpoint, JSON.stringify(problems));
  return { document, checkpoint, plan, possible: allocatable(plan, parsed.config, checkpoint, options ? readOptions(options, parsed.config.defaults) : usualOptions(parsed.config.defaults), layers) };
}

/** Errors as of b bits, each layer with an importance of its own. */
function made(possible: Allocatable, seed: number): Losses {
  const next = random(seed);
  const importance = new Map(possible.plan.layers.map(({ name }) => [name, Math.exp(3 * next())]));
  return { kind: 'given', description: 'made up', values: new Map([...layersToMeasure(possible)].map(([label, layers]) => [label, new Map(layers.map((layer) =>
    [layer.name, (importance.get(layer.name) ?? 0) * (4 ** -Math.min(layer.weightBits, 16) + 4 ** -Math.min(layer.activationBits, 16)) * (0.8 + 0.4 * next())]))])) };
}

/** The middle between the smallest plan and the largest, or another share. */
function between({ pareto }: Allocation, share: number): number {
  const [low, high] = [pareto[0]?.bytes ?? 0, pareto.at(-1)?.bytes ?? 0];
  return Math.floor(low + share * (high - low));
}

const head = 'version: 1\ncheckpoint: ./glyph-dit # the example\ndefaults: { method: orbitquant, scheme: W4A4 }\n';
const ruled = `${head}rules:
  # what steers the blocks
  - name: modulation
    layers: ["transformer_blocks.*.norm1.linear"]   # six layers
    scheme: W4A16
    method: { name: rtn, weights: { group: 64 } }
  - name: embedders
    layers: ["**.timestep_embedder.*",
             "proj_out_*"]
    keep: original
# the last word
preview: { steps: 20 }
`;

describe('allocation', () => {
  const folder = temporaryFolders();

  it('keeps the bound to the byte at every size, ties projections, leaves ruled layers alone and beats every baseline', async () => {
    const { document, checkpoint, plan, possible } = await open(ruled, ['W2A4', 'W3A4', 'W4A4', 'rtn:W4A16', 'W8A8', 'keep']);
    const losses = made(possible, 1);
    const whole = allocate(possible, losses, 1e12);
    assert.deepEqual([whole.objective, whole.plan.fixed, whole.plan.layers.length], [0, 20, 36]);
    const objectives: number[] = [];
    for (let i = 0; i <= 60; i++) {
      const budget = between(whole, i / 60) + (i % 3);
      const found = allocate(possible, losses, budget);
      assert.ok(found.bytes <= budget && found.certificate.optimal && found.certificate.gap === 0, `budget ${budget}`);
      assert.deepEqual(found.baselines.filter(({ bytes, objective }) => bytes > budget || objective < found.objective - 1e-12), [], `budget ${budget}`);
      const option = new Map(found.plan.layers.map((layer) => [layer.name, layer.option]));
      found.plan.layers.forEach(({ name, tiedTo }) => assert.deepEqual([...new Set([name, ...tiedTo].map((each) => option.get(each)))].length, 1));
      objectives.push(found.objective);
      if (i % 10 === 0) {
        const { plan: resolved } = rewriteConfig(document, checkpoint, possible, found);
        assert.equal(resolved.totals.checkpointBytes, found.bytes);
        resolved.layers.filter(({ name }) => !option.has(name)).forEach((layer) => assert.deepEqual(layer.recipe, plan.layers.find(({ name }) => name === layer.name)?.recipe));
      }
    }
    assert.ok(objectives.every((objective, i) => i === 0 || objective <= (objectives[i - 1] ?? 0)));
    assert.ok(whole.pareto.every(({ bytes, objective }, i) => i === 0 || (bytes > (whole.pareto[i - 1]?.bytes ?? 0) && objective < (whole.pareto[i - 1]?.objective ?? 0))));
    assert.deepEqual(allocate(possible, losses, between(whole, 0.5)).baselines.map(({ name }) => name), ['uniform', 'first and last blocks', 'by name', 'random']);
  });

  it('writes rules that resolve to the plan into any config, and nothing else of the text changes', async () => {
    const texts: [text: string, layers: string[] | undefined][] = [
      [ruled, undefined], [head, undefined], [`${head}rules: []\n`, undefined], [`${head}rules: [{ layers: "proj_out_*", keep: bf16 }]\nbudget: { bits: 5 }\n`, undefined], [ruled, ['**']],
      [ruled, ['**.to_q', 'proj_out_*']], [ruled.trimEnd(), undefined], [ruled.replaceAll('\n', '\r\n'), ['**.ff.**', '**.norm1.linear']], [`${ruled}budget: { size: 9MB }\n`, ['**']],
      [`${head}rules: [{ layers: "proj_out_*", keep: bf16 }]\n`, ['**']], [`${head}rules:\n  - layers: proj_out_*\n    keep: bf16`, ['**']], ['version: 1\ncheckpoint: ./glyph-dit', undefined],
      ['{ version: 1, checkpoint: ./glyph-dit,\n  defaults: { method: orbitquant, scheme: W4A4 } }\n', undefined],
      ['{ "version": 1, "checkpoint": "./glyph-dit", "defaults": { "method": "orbitquant", "scheme": "W4A4" },\n  "rules": [\n    { "layers": ["proj_out_*"], "keep": "bf16" }\n  ]\n}\n', ['**']],
    ];
    for (const [index, [text, layers]] of texts.entries()) {
      const { document, checkpoint, possible } = await open(text, ['W3A4', 'W4A4', 'orbitquant:W4A16', 'keep'], layers);
      const losses = made(possible, index);
      const found = allocate(possible, losses, between(allocate(possible, losses, 1e12), 0.4));
      const { text: written, plan } = rewriteConfig(document, checkpoint, possible, found, { budget: `{ size: ${found.bytes} }` });
      const { config, problems } = parseConfig(TextDocument.create('file:///x.quant.yaml', 'quantconfig', 1, written));
      assert.deepEqual([problems, config.budget?.value], [[], { bytes: found.bytes }], written);
      const chosen = new Map(found.plan.layers.map(({ name, option }) => [name, option]));
      for (const layer of resolvePlan(config, checkpoint).layers.filter(({ name }) => chosen.has(name))) {
        const [, bits, activations] = /W(\d+)A(\d+)/.exec(chosen.get(layer.name) ?? '') ?? [undefined, '16', '16'];
        assert.deepEqual([layer.weightBits, layer.activationBits], [Number(bits), Number(activations)], `${layer.name}\n${written}`);
      }
      assert.ok(plan.problems.every(({ code, severity }) => severity !== 'error' && (code !== 'plan/shadowed-rule' || layers !== undefined)), written);
      const lost = text.split(/\r?\n/).filter((line) => line !== '' && !/^((budget|rules): [{[]|\{| *\{ "layers")/.test(line) && !written.split(/\r?\n/).includes(line));
      assert.deepEqual(lost, [], written);
      const undone = withoutAllocated(TextDocument.create('file:///x.quant.yaml', 'quantconfig', 1, written));
      assert.deepEqual(resolvePlan(parseConfig(undone).config, checkpoint).layers.map(({ recipe }) => recipe), resolvePlan(parseConfig(document).config, checkpoint).layers.map(({ recipe }) => recipe), undone.getText());
      assert.deepEqual(parseConfig(undone).problems, []);
    }
  }).timeout(120_000);

  it('puts what the config says now beside the plan, under the same losses', async () => {
    const { document, checkpoint, plan, possible } = await open(ruled, ['W3A4', 'W4A4', 'keep']);
    const losses = made(possible, 2);
    const found = allocate(possible, losses, 1.55e6);
    const sum = (label: string, layers: readonly { name: string }[]): number => layers.reduce((total, { name }) => total + (losses.values.get(label)?.get(name) ?? NaN), 0);
    const free = possible.groups.flatMap(({ layers }) => layers);
    assert.deepEqual([found.current?.bytes, found.current?.averageBits, found.noCurrent], [plan.totals.checkpointBytes, plan.totals.averageBits, null]);
    assert.ok(Math.abs((found.current?.objective ?? NaN) - sum('W4A4', free)) < 1e-9);
    // After an allocation it is what that one chose.
    const again = resolvePlan(parseConfig(TextDocument.create('file:///x.quant.yaml', 'quantconfig', 1, rewriteConfig(document, checkpoint, possible, found).text)).config, checkpoint);
    const later = allocate({ ...possible, current: again }, losses, 1.7e6);
    assert.equal(later.current?.bytes, found.bytes);
    assert.ok(Math.abs((later.current?.objective ?? NaN) - found.objective) < 1e-9);
    // Recipes that are no option are measured as well, or the reason is said.
    const { possible: others } = await open(ruled, ['W3A4', 'W8A8']);
    const asked = layersToMeasure(others);
    assert.deepEqual([[...asked.keys()], asked.get(currentLabel)?.length, asked.get(currentLabel)?.[0]?.weightBits], [['W3A4', 'W8A8', currentLabel], 36, 4]);
    const measured = made(others, 2);
    assert.ok(Math.abs((allocate(others, measured, 1.7e6).current?.objective ?? NaN) - [...measured.values.get(currentLabel)?.values() ?? []].reduce((a, b) => a + b, 0)) < 1e-9);
    const given = { ...measured, values: new Map([...measured.values].filter(([label]) => label !== currentLabel)) };
    const { current, noCurrent } = allocate(others, given, 1.7e6);
    assert.equal(current, null);
    assert.match(noCurrent ?? '', /^There is no loss of transformer_blocks\.0\.attn1\.to_\w as the config has it now: it is none of the options W3A4, W8A8\.$/);
    assert.equal(allocate(others, { ...given, unmeasured: 'Cannot be.' }, 1.7e6).noCurrent, 'Cannot be.');
  });

  it('says it in few patterns', async () => {
    const { document, checkpoint, possible } = await open(ruled, ['W3A4', 'W4A4', 'W8A8']);
    const losses: Losses = { kind: 'given', description: '', values: new Map([...layersToMeasure(possible)].map(([label, layers]) => [label, new Map(layers.map(({ name, weightBits }) =>
      [name, name.endsWith('ff.net.2') || name.includes('.0.attn1.') ? 4 ** -weightBits : name.includes('attn1.to_out') ? weightBits < 4 ? 1 : 0 : 0]))])) };
    const { text } = rewriteConfig(document, checkpoint, possible, allocate(possible, losses, 1e12));
    assert.equal(text, ruled.replace('rules:\n', `rules:
  - name: allocated W3A4
    layers: ["transformer_blocks.*.attn1.to_*", "transformer_blocks.*.ff.net.0.proj"]
    scheme: W3A4
  - name: allocated W8A8
    layers: ["transformer_blocks.*.ff.net.2", "transformer_blocks.0.attn1.**"]
    scheme: W8A8
`));
  });

  it('moves the checkpoint where the file moves', async () => {
    const { document, checkpoint, possible } = await open(ruled);
    const found = allocate(possible, made(possible, 3), 1.6e6);
    assert.match(rewriteConfig(document, checkpoint, possible, found, { checkpoint: '../some where/glyph-dit' }).text, /^checkpoint: "\.\.\/some where\/glyph-dit" # the example$/m);
  });

  it('ties what runs as one product, and only within a block', () => {
    const layer = (name: string, role: 'q' | 'k' | 'v' | 'cross-q' | 'cross-k' | 'cross-v' | 'ffn-gate' | 'ffn-up' | 'modulation', block: string | null): { name: string; role: typeof role; block: string | null } => ({ name, role, block });
    const groups = tieLayers([layer('0.q', 'q', '0'), layer('1.q', 'q', '1'), layer('0.k', 'k', '0'), layer('0.v', 'v', '0'), layer('0.cq', 'cross-q', '0'), layer('0.ck', 'cross-k', '0'), layer('0.cv', 'cross-v', '0'),
      layer('0.w1', 'ffn-gate', '0'), layer('0.w3', 'ffn-up', '0'), layer('0.m', 'modulation', '0'), layer('q', 'q', null), layer('k', 'k', null)]);
    assert.deepEqual(groups.map((group) => group.map(({ name }) => name)), [['0.q', '0.k', '0.v'], ['1.q'], ['0.cq'], ['0.ck', '0.cv'], ['0.w1', '0.w3'], ['0.m'], ['q'], ['k']]);
  });

  it('leaves out options that a width refuses', async () => {
    const { possible } = await open('version: 1\ncheckpoint: ./glyph-dit\ndefaults: { method: { name: svdquant, lowRank: { rank: 100 } }, scheme: W4A4 }\n', ['W4A4', 'keep']);
    const labels = new Map(possible.groups.flatMap(({ layers, options }) => layers.map(({ name }) => [name, options.map(({ label }) => label).join()])));
    assert.deepEqual([labels.get('proj_out_2'), labels.get('proj_out_1')], ['keep', 'W4A4,keep']);
  });

  it('refuses what cannot be, with the remedy', async () => {
    const { possible, plan, checkpoint, document } = await open(ruled);
    const losses = made(possible, 1);
    assert.throws(() => allocate(possible, losses, 1_000_000), /No plan fits into 1000000 bytes: .* more than \d+ bytes.*--layers/);
    assert.throws(() => allocate(possible, { ...losses, values: new Map() }, 2e6), /There is no loss of .* as W2A4.*Add it to the file/);
    assert.throws(() => allocate(possible, { ...losses, kind: 'weights', values: new Map([...losses.values].map(([label, layers]) => [label, new Map([...layers.keys()].map((name) => [name, NaN]))])) }, 2e6), /NaN.*quantscope stats/);
    assert.throws(() => allocatable(plan, parseConfig(document).config, checkpoint, possible.options, ['nothing.*']), /No layer that could be changed matches "nothing\.\*"/);
    for (const [texts, message] of [[['W4'], /"W4" is no option/], [['W4A4'], /2 to 16 options/], [['keep', 'keep'], /twice/], [['none:W4A4', 'keep'], /no method "none"\. Known: orbitquant/]] as const) {
      assert.throws(() => readOptions(texts, {}), message);
    }
    for (const [text, message] of [['{', /l\.json: no JSON/], ['{}', /holds no losses/], ['{"losses":{"W4A4":{"a":-1}}}', /loss of "a" as W4A4 must be a number, 0 or more, not -1/], ['null', /holds no losses/]] as const) {
      assert.throws(() => givenLosses(text, 'l.json'), message);
    }
  });

  it('allocates FLUX.1-dev at every size', async () => {
    const place = folder({});
    await writeSparseFlux(place);
    const text = `version: 1\ncheckpoint: ${JSON.stringify(place)}\ndefaults: { method: orbitquant, scheme: W4A4 }\nrules:\n  - layers: ["**.norm*.linear", "*embedder*", "time_text_embed.**", "norm_out.**", "proj_out"]\n    keep: original\n`;
    const { document, checkpoint, possible } = await open(text, ['W2A4', 'W3A4', 'W4A4', 'W6A6', 'W8A8'], undefined, join(place, 'x.quant.yaml'));
    assert.equal(possible.groups.flatMap(({ layers }) => layers).length, 418);
    const losses = made(possible, 5);
    const started = performance.now();
    const whole = allocate(possible, losses, 1e12);
    process.stdout.write(`      418 layers × 5 options: ${(performance.now() - started).toFixed(0)} ms with curve and baselines\n`);
    const next = random(2);
    for (const share of [0.05, 0.3, 0.6, pick(next, [0.7, 0.8])]) {
      const budget = between(whole, share);
      const found = allocate(possible, losses, budget);
      assert.ok(found.bytes <= budget && found.certificate.optimal && found.baselines.every(({ objective }) => objective >= found.objective));
      const { text: written, plan } = rewriteConfig(document, checkpoint, possible, found);
      assert.equal(plan.totals.checkpointBytes, found.bytes);
      assert.ok(written.split('\n').length < 150, `${written.split('\n').length} lines`);
    }
  });
});
