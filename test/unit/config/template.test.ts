import assert from 'node:assert/strict';
import { newConfigText, patternsFor } from '../../../server/src/config/template';
import { resolvePlan } from '../../../server/src/config/resolve';
import { matchList } from '../../../server/src/config/match';
import { methods } from '../../../server/src/methods';
import type { Role } from '../../../server/src/protocol';
import { publishedModels } from '../../fixtures/architectures';
import { layersNamed, publishedCheckpoint } from '../../fixtures/checkpoints';
import { parse } from './found';

describe('new config', () => {
  it('FLUX.1-dev', () => {
    assert.equal(newConfigText(publishedCheckpoint('FLUX.1-dev'), './FLUX.1-dev', 'orbitquant', 'W4A4'), `version: 1
checkpoint: ./FLUX.1-dev
defaults: { method: orbitquant, scheme: W4A4 }
rules:
  - name: modulation
    layers: ["single_transformer_blocks.*.norm.linear", "transformer_blocks.*.norm1.linear", "transformer_blocks.*.norm1_context.linear"]
    scheme: W4A16
    method: { name: rtn, weights: { group: 64 } }
  - name: embedders and final layers
    layers: ["context_embedder", "norm_out.linear", "proj_out", "time_text_embed.**", "x_embedder"]
    keep: original
`);
  });

  it('DiT-XL/2', () => {
    assert.equal(newConfigText(publishedCheckpoint('DiT-XL/2-256'), '../models/DiT XL', 'rtn', 'W8A8'), `version: 1
checkpoint: "../models/DiT XL"
defaults: { method: rtn, scheme: W8A8 }
rules:
  - name: modulation
    layers: ["transformer_blocks.*.norm1.linear"]
    scheme: W4A16
    method: { name: rtn, weights: { group: 64 } }
  - name: embedders and final layers
    layers: ["proj_out_1", "proj_out_2", "transformer_blocks.*.norm1.emb.timestep_embedder.**"]
    keep: original
`);
  });

  it('a model whose roles are not known gets its defaults alone', () => {
    assert.equal(newConfigText(layersNamed('a', 'b'), './m', 'rtn', 'W4A16'), 'version: 1\ncheckpoint: ./m\ndefaults: { method: rtn, scheme: W4A16 }\n');
  });

  it('SVDQuant shifts what comes out of a GELU, and nothing where activations stay', () => {
    assert.equal(newConfigText(publishedCheckpoint('FLUX.1-dev'), './FLUX.1-dev', 'svdquant', 'W4A4'), `version: 1
checkpoint: ./FLUX.1-dev
defaults: { method: svdquant, scheme: W4A4 }
rules:
  - name: modulation
    layers: ["single_transformer_blocks.*.norm.linear", "transformer_blocks.*.norm1.linear", "transformer_blocks.*.norm1_context.linear"]
    scheme: W4A16
    method: { name: rtn, weights: { group: 64 } }
  - name: embedders and final layers
    layers: ["context_embedder", "norm_out.linear", "proj_out", "time_text_embed.**", "x_embedder"]
    keep: original
  - name: behind GELU
    layers: ["transformer_blocks.*.ff.net.2", "transformer_blocks.*.ff_context.net.2"]
    method: { name: svdquant, activations: { shift: 0.171875 } }
`);
    assert.doesNotMatch(newConfigText(publishedCheckpoint('FLUX.1-dev'), './m', 'svdquant', 'W4A16'), /shift/);
    for (const { name } of publishedModels) {
      const checkpoint = publishedCheckpoint(name);
      const { layers } = resolvePlan(parse(newConfigText(checkpoint, './model', 'svdquant', 'W4A4')).config, checkpoint);
      const shifted = layers.filter(({ recipe: { activations } }) => activations.kind === 'int' && activations.shift === 0.171875);
      // Z-Image has SwiGLU.
      assert.deepEqual(shifted.map((layer) => layer.name), layers.filter((layer) => layer.block !== null && /\.(ff|ff_context|ffn)\.net\.2$/.test(layer.name)).map((layer) => layer.name), name);
      assert.equal(shifted.length > 0, !name.startsWith('Z-Image'), name);
    }
  });

  it('DiRotQ has a basis per head on PixArt, leaves inputs behind GELU as they are at any bits, and turns what no basis fits by RPBH', () => {
    const rules = (model: string, scheme: string): string => newConfigText(publishedCheckpoint(model), './m', 'dirotq', scheme).replace(/[^]*keep: original\n/, '');
    const heads = (quantizers: string): string => '  - name: a basis per head\n    layers: ["transformer_blocks.*.attn1.to_out.0", "transformer_blocks.*.attn2.to_out.0"]\n' +
      `    method: { name: dirotq, rotate: { kind: pca, perHead: true, seed: 42 }, ${quantizers} }\n`;
    const behind = (scheme: string): string => `  - name: behind GELU\n    layers: ["transformer_blocks.*.ff.net.2"]\n    scheme: ${scheme}\n`;
    assert.equal(rules('PixArt-Sigma-1024', 'W4A4'), heads('weights: { group: 63 }, activations: { group: 63 }') + behind('W4A16'));
    assert.equal(rules('PixArt-Sigma-1024', 'W8A8'), heads('weights: { group: 63 }, activations: { group: 63 }') + behind('W8A16'));
    assert.equal(rules('PixArt-Sigma-1024', 'W4A16'), heads('weights: { group: 63 }'));
    assert.equal(rules('FLUX.1-dev', 'W4A4'), '  - name: too wide for a basis\n    layers: ["single_transformer_blocks.*.proj_out"]\n    method: { name: dirotq, rotate: { kind: rpbh, seed: 42 }, tail: false }\n');
  });

  for (const { name } of publishedModels) {
    it(`of ${name} resolves without problems, by every method and scheme`, () => {
      const checkpoint = publishedCheckpoint(name);
      for (const { name: method, schemes } of methods.values()) {
        for (const scheme of new Set([...schemes, 'W4A16', 'W16A8'])) {
          const { config, problems } = parse(newConfigText(checkpoint, './model', method, scheme));
          assert.deepEqual([...problems, ...resolvePlan(config, checkpoint).problems].map(({ code, message }) => `${method} ${scheme}: ${code} ${message}`), []);
        }
      }
    });

    it(`patterns for any role of ${name} take exactly the layers of that role`, () => {
      const checkpoint = publishedCheckpoint(name);
      for (const role of new Set(checkpoint.layers.map((layer): Role => layer.role))) {
        const taken = [...matchList(checkpoint, patternsFor(checkpoint, [role]))].map((index) => checkpoint.layers[index]?.name);
        assert.deepEqual(taken, checkpoint.layers.filter((layer) => layer.role === role).map((layer) => layer.name), role);
      }
    });
  }
});
