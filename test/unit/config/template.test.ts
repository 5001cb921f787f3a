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

  for (const { name } of publishedModels) {
    it(`of ${name} resolves without problems, by every method`, () => {
      const checkpoint = publishedCheckpoint(name);
      for (const method of methods.keys()) {
        const { config, problems } = parse(newConfigText(checkpoint, './model', method, 'W4A4'));
        assert.deepEqual([...problems, ...resolvePlan(config, checkpoint).problems].map(({ code, message }) => `${method}: ${code} ${message}`), []);
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
