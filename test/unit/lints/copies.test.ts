import assert from 'node:assert/strict';
import { tieLayers } from '../../../server/src/analysis/allocate/groups';
import { copiesIn } from '../../../server/src/checkpoint/copies';
import { publishedCheckpoint } from '../../fixtures/checkpoints';
import { lintsOf, marks, remedied } from './linted';

const code = 'plan/copies-differ';
const dit = publishedCheckpoint('DiT-XL/2-256');
const head = `version: 1
checkpoint: ./m
defaults: { method: { name: rtn, weights: { group: 64 } }, scheme: W4A16 }
`;

describe('lint: one embedder, stored in every block', () => {
  it('knows them in DiT and in no other model', () => {
    assert.deepEqual(copiesIn(dit).map(({ pattern, layers }) => [pattern, layers.map((each) => each.length)]), [['transformer_blocks.*.norm1.emb.timestep_embedder.*', [28, 28]]]);
    for (const name of ['PixArt-Sigma-1024', 'FLUX.1-dev']) {
      assert.deepEqual(copiesIn(publishedCheckpoint(name)), []);
    }
  });

  it('a rule for one block takes its copy along: out of the rule, all into it, or kept', () => {
    const text = `${head}rules:
  - { layers: ["**.norm1.**", "proj_out*"], keep: original }
  # more for the first block
  - layers:
      - "transformer_blocks.0.**" # all of it
    scheme: W8A8
`;
    assert.deepEqual(marks(text, lintsOf(text, dit)), [`${code} ["transformer_blocks.0.**"]`]);
    const after = remedied(text, code, dit);
    assert.deepEqual(Object.keys(after), ['Leave the copies out of this rule', 'Take all copies with this rule', 'Keep all copies as they are']);
    assert.equal(after['Leave the copies out of this rule'], text.replace('# all of it\n', '# all of it\n      - "!transformer_blocks.*.norm1.emb.timestep_embedder.*"\n'));
  });

  it('a rule for one copy alone goes, or takes all', () => {
    const text = `${head}rules: [{ layers: ["**.norm1.**", "proj_out*"], keep: original }, { layers: transformer_blocks.3.norm1.emb.timestep_embedder.linear_1, scheme: W8A16 }]\n`;
    const [problem] = lintsOf(text, dit);
    assert.match(problem?.message ?? '', /stored 28 times, but transformer_blocks\.3\.norm1\.emb\.timestep_embedder\.linear_1 gets another recipe/);
    assert.equal(problem?.related?.length, 1);
    const after = remedied(text, code, dit);
    assert.equal(after['Remove this rule'], `${head}rules: [{ layers: ["**.norm1.**", "proj_out*"], keep: original }]\n`);
    assert.ok(after['Take all copies with this rule']?.includes('layers: [transformer_blocks.3.norm1.emb.timestep_embedder.linear_1, "transformer_blocks.*.norm1.emb.timestep_embedder.*"]'));
  });

  it('two rules for some blocks each still leave a way', () => {
    const text = `${head}rules:\n  - { layers: "transformer_blocks.1*.**", scheme: W8A16 }\n  - { layers: "transformer_blocks.2*.**", scheme: W8A8 }\n`;
    assert.ok(Object.keys(remedied(text, code, dit)).includes('Keep all copies as they are'));
  });

  it('allocations choose once for all copies', () => {
    const embedders = dit.layers.filter(({ role }) => role === 'embedder');
    assert.deepEqual(tieLayers(embedders, copiesIn(dit)).map((group) => group.length), [28, 28]);
  });

  it('is silent when all are quantized alike, and when none is quantized', () => {
    assert.deepEqual(lintsOf(`${head.replace('W4A16', 'W8A8')}`, dit), []);
    assert.deepEqual(lintsOf(`${head}rules:\n  - { layers: ["**.norm1.**", "proj_out*"], keep: original }\n  - { layers: "transformer_blocks.0.**", keep: fp32 }\n`, dit), []);
  });
});
