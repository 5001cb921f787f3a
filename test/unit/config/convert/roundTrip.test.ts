/** Plan → the file of a tool → plan: nothing changes, for random plans of what each tool can say, and for whole published models. */
import assert from 'node:assert/strict';
import { unwritable, writers } from '../../../../server/src/config/convert/writers';
import { dialects } from '../../../../server/src/config/dialects';
import type { Checkpoint } from '../../../../server/src/protocol';
import { publishedCheckpoint } from '../../../fixtures/checkpoints';
import { pick, random } from '../../../fixtures/random';
import { configText, exported, firstBlocks, imported, planOf, recipesOf } from './support';

const float = (scheme: string, format: string, group?: number | string): string[] => {
  const part = `{ kind: float, format: ${format}${group === undefined ? '' : `, group: ${group}`} }`;
  return [`scheme: ${scheme}`, `method: { name: rtn, weights: ${part}${scheme.endsWith('A16') ? '' : `, activations: ${part}`} }`];
};
const svdquant = (more = ''): string[] => ['scheme: W4A4', `method: { name: svdquant${more} }`];

/** What layers may get. */
const recipes: Readonly<Record<string, string[]>> = {
  int8: ['scheme: W8A8', 'method: rtn'], int8w: ['scheme: W8A16', 'method: rtn'], int4: ['scheme: W4A4', 'method: rtn'], int4w64: ['scheme: W4A16', 'method: { name: rtn, weights: { group: 64 } }'],
  uint4w128: ['scheme: W4A16', 'method: { name: rtn, weights: { group: 128, symmetric: false } }'], uint4w64: ['scheme: W4A16', 'method: { name: rtn, weights: { group: 64, symmetric: false } }'],
  int8w32: ['scheme: W8A16', 'method: { name: rtn, weights: { group: 32 } }'], int4w32: ['scheme: W4A16', 'method: { name: rtn, weights: { group: 32 } }'], uint4w32: ['scheme: W4A16', 'method: { name: rtn, weights: { group: 32, symmetric: false } }'],
  int5w32: ['scheme: W5A16', 'method: { name: rtn, weights: { group: 32 } }'], int8fp32: ['scheme: W8A8', 'method: { name: rtn, weights: { scale: fp32 }, activations: { scale: fp32 } }'],
  int4g64: ['scheme: W4A4', 'method: { name: rtn, weights: { group: 64 }, activations: { group: 64 } }'], uint8: ['scheme: W8A8', 'method: { name: rtn, weights: { symmetric: false }, activations: { symmetric: false } }'],
  int8t: ['scheme: W8A8', 'method: { name: rtn, weights: { group: tensor } }'], static8: ['scheme: W8A8', 'method: { name: rtn, weights: { group: tensor }, activations: { range: static } }'],
  int6a8: ['scheme: W6A8', 'method: { name: rtn, weights: { group: 32 }, activations: { symmetric: false } }'],
  nvfp4: float('W4A4', 'nvfp4'), nvfp4w: float('W4A16', 'nvfp4'), mxfp8: float('W8A8', 'mxfp8'), mxfp4: float('W4A4', 'mxfp4'), fp8t: float('W8A8', 'fp8', 'tensor'), fp8: float('W8A8', 'fp8', 'row'), fp8w: float('W8A16', 'fp8', 'row'), fp4w64: float('W4A16', 'fp4', 64),
  svdq: svdquant(), svdq16: svdquant(', lowRank: { rank: 16, iterations: 100 }'), svdqfp4: svdquant(', weights: { kind: float, format: nvfp4 }, activations: { kind: float, format: nvfp4 }'),
  smooth: ['scheme: W8A8', 'method: { name: smoothquant, smooth: { kind: smoothquant, alpha: 0.5 } }'], gptq: ['scheme: W4A16', 'method: { name: rtn, weights: { group: 128 }, solver: { kind: gptq } }'],
  convrot: ['scheme: W8A8', 'method: { name: rtn, rotate: { kind: rpbh }, weights: { scale: fp32 }, activations: { scale: fp32 } }'], svdh: ['scheme: W4A16', 'method: { name: rtn, rotate: { kind: rpbh }, lowRank: { rank: 32 }, weights: { group: 128, symmetric: false } }'],
};

const torchao = 'int8 int8w int4 int4w64 uint4w128 uint4w64 int8w32 int5w32 uint8 int6a8 nvfp4 nvfp4w mxfp8 mxfp4 fp8t fp8 fp8w';
/** What each tool says to the letter, of the above. `one`: it has one recipe for all layers; `alone`: what goes with no other. `places`: which layers it can keep. */
const tools: Readonly<Record<string, { one?: true; says: string; alone?: string; places?: string[] }>> = {
  'diffusers-bitsandbytes': { one: true, says: 'int8fp32 fp4w64' }, 'diffusers-torchao': { one: true, says: 'int8 uint4w128 int6a8 fp8 nvfp4 mxfp4' }, 'diffusers-quanto': { one: true, says: 'int8w uint4w128 fp8w' },
  'diffusers-modelopt': { one: true, says: 'int8 int4w64 static8 nvfp4 fp8t fp8w' }, 'diffusers-auto-round': { says: 'int8w int4w64 uint4w64 int8w32 int5w32' }, 'optimum-quanto': { says: 'int8w uint4w128 fp8w' },
  'diffusers-nunchaku-lite': { says: 'svdq uint4w64' }, 'diffusers-sdnq': { says: 'int8 int8w int4w64 uint4w128 int5w32 fp8 fp8w svdh' },
  'compressed-tensors': { says: 'int8 int8w int4 int4w64 uint4w128 int5w32 int8fp32 int4g64 uint8 int8t static8 int6a8 nvfp4 nvfp4w mxfp8 mxfp4 fp8t fp8 fp8w fp4w64' }, 'llm-compressor': { says: 'int8 int4w64', alone: 'gptq' },
  modelopt: { says: 'int8 int8w int4 int4w64 int4g64 static8 nvfp4 nvfp4w mxfp8 mxfp4 fp8t fp8 fp8w fp4w64' }, 'modelopt-hf': { says: 'int8w nvfp4 nvfp4w mxfp8 fp8t fp8' }, 'torchao-fqn': { says: torchao },
  deepcompressor: { one: true, places: ['**.norm*.linear', '**.ff_context.**'], says: 'int8 int4w64 static8 nvfp4 fp8 svdq svdq16 svdqfp4' }, 'vidit-q': { one: true, says: 'int8 int8w int4 uint8 int8t smooth' },
  comfyui: { says: 'uint4w64 int8fp32 nvfp4 mxfp8 fp8t convrot' }, 'convert-to-quant': { says: 'int8t nvfp4 mxfp8 fp8t fp8' }, 'stable-diffusion.cpp': { says: 'int8w32 int4w32 uint4w32 int5w32' }, 'llama-quantize': { says: 'int8w32 int4w32 uint4w32 int5w32' },
};

/** Groups of layers that a rule may take, by patterns that every model answers in its own way. */
const places = ['**.attn.**', '**.to_k', '**.to_q', '**.ff*.**', '**.norm*.linear', '**.adaLN_modulation.*', '**.feed_forward.**', '**.1.**', '*_embedder.**', '**.proj_out', 'proj_out', '**.net.2', '**.to_out.0', 'condition_embedder.**'];

describe('export and import', function () {
  this.timeout(240_000);
  const models = ['FLUX.1-dev', 'Z-Image', 'Wan2.1-1.3B'].map((name) => firstBlocks(name, 1));

  it('of every writer', () => {
    assert.deepEqual(writers.map(({ id }) => id).sort(), Object.keys(tools).sort());
    assert.deepEqual([...writers.map(({ id }) => id), ...Object.keys(unwritable)].sort(), dialects.map(({ id }) => id).sort());
  });

  for (const [index, [id, { one, says: names, alone, places: own = places }]] of Object.entries(tools).entries()) {
    it(`${id}: what it says comes back as it was, in random plans`, () => {
      const next = random(index);
      const sayable = names.split(' ').map((name) => recipes[name] ?? assert.fail(name));
      const mine = id === 'deepcompressor' ? models.slice(0, 1) : models;
      // One recipe after the other, each on another model.
      [...one ? sayable : sayable.slice(0, mine.length), ...alone ? [recipes[alone] ?? []] : []].forEach((recipe, i) => {
        const checkpoint = mine[i % mine.length] as Checkpoint;
        assert.ok(comesBack(id, baseOf(id, recipe, checkpoint), checkpoint), `${id} cannot say ${recipe.join(', ')}`);
      });
      let kept = 0;
      for (const checkpoint of mine) {
        // All recipes in one plan, for names drawn at random; then rules that keep something.
        const base = baseOf(id, pick(next, sayable), checkpoint);
        const mixed = one ? [] : sayable.map((recipe) => rule([...new Set(Array.from({ length: 4 }, () => pick(next, wide(checkpoint))))], recipe));
        const keeps = Array.from({ length: one ? 2 : 1 }, () => rule([pick(next, own)], ['keep: original']));
        assert.ok(mixed.length === 0 || comesBack(id, withRules(base, mixed), checkpoint), `${id} cannot mix what it says`);
        kept += comesBack(id, withRules(base, [...mixed, ...keeps]), checkpoint) ? 1 : 0;
      }
      assert.ok(kept > 0, `${id} could keep nothing`);
    });
  }

  it('on whole models, as people plan them', () => {
    const kept = rule(['x_embedder', 'context_embedder', '*embedder.**', 'norm_out.linear', 'proj_out'], ['keep: original']);
    const modulation = rule(['**.norm*.linear', '**.adaLN_modulation.*'], recipes['uint4w64'] ?? []);
    const plan = (recipe: string, ...rules: string[][]): string => withRules(configText(`defaults: { ${recipes[recipe]?.join(', ')} }`), rules);
    const whole = new Map(['FLUX.1-dev', 'Z-Image', 'Wan2.1-1.3B'].map((name) => [name, publishedCheckpoint(name)]));
    for (const [model, id, text] of [
      ['FLUX.1-dev', 'diffusers-nunchaku-lite', plan('svdq', modulation, kept)], ['FLUX.1-dev', 'diffusers-bitsandbytes', plan('fp4w64', rule(['**.ff.net.**', '**.norm_out.**', 'x_embedder'], ['keep: original']))],
      ['Z-Image', 'compressed-tensors', plan('int8', modulation, kept)], ['Z-Image', 'comfyui', plan('nvfp4', modulation, kept)], ['Wan2.1-1.3B', 'modelopt', plan('fp8t', kept)], ['Wan2.1-1.3B', 'convert-to-quant', plan('mxfp8', kept)],
    ] as const) {
      assert.ok(comesBack(id, text, whole.get(model) ?? assert.fail()), `${id} on ${model}`);
    }
  });
});

function rule(patterns: readonly string[], lines: readonly string[]): string[] {
  return [`  - layers: [${patterns.map((pattern) => JSON.stringify(pattern)).join(', ')}]`, ...lines.map((line) => `    ${line}`)];
}

/** Before those that a config has: what the tool keeps anyway stays the last word. */
function withRules(text: string, rules: readonly (readonly string[])[]): string {
  return rules.length === 0 ? text : text.includes('rules:') ? text.replace('rules:', ['rules:', ...rules.flat()].join('\n')) : [text.trimEnd(), 'rules:', ...rules.flat(), ''].join('\n');
}

/** Layers that every recipe fits. */
function wide(checkpoint: Checkpoint): string[] {
  return checkpoint.layers.filter(({ inFeatures, outFeatures }) => inFeatures % 128 === 0 && outFeatures >= 128).map(({ name }) => name);
}

/** One recipe for all layers but those that it does not fit, and those that the tool keeps whatever it is told. */
function baseOf(id: string, recipe: readonly string[], checkpoint: Checkpoint): string {
  const fitting = new Set(wide(checkpoint));
  const narrow = checkpoint.layers.filter(({ name }) => !fitting.has(name)).map(({ name }) => name);
  const text = (kept: readonly string[]): string => withRules(configText(`defaults: { ${recipe.join(', ')} }`), kept.length > 0 ? [rule(kept, ['keep: original'])] : []);
  const { text: file, writer } = exported(id, text(narrow), checkpoint);
  return text([...new Set([...narrow, ...imported(file, checkpoint, writer.fileName).decisions.filter(({ treatment }) => treatment.kind === 'keep').map(({ layer }) => layer.name)])]);
}

/** A plan that can be said comes back, and exported once more it is the same file. @returns false for a plan that cannot be said */
function comesBack(id: string, text: string, checkpoint: Checkpoint): boolean {
  const { text: file, writer, lossy } = exported(id, text, checkpoint);
  if (lossy.some(({ what }) => /^(?:treatment|weights|activations|smoothing|order|rotation|tail|low-rank branch|solver): /.test(what))) {
    return false;
  }
  const back = imported(file, checkpoint, writer.fileName);
  assert.equal(back.id, id, file);
  assert.deepEqual(recipesOf(back.plan), recipesOf(planOf(text, checkpoint)), `${text}\n${file}\n${back.text}`);
  assert.deepEqual(recipesOf(imported(exported(id, back.text, checkpoint).text, checkpoint, writer.fileName).plan), recipesOf(back.plan));
  return true;
}
