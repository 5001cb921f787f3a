import assert from 'node:assert/strict';
import { planConfig, planScheme, planText, planUri } from '../../../server/src/language/planText';
import { layersNamed, publishedCheckpoint } from '../../fixtures/checkpoints';
import { modelOf } from './models';

const head = 'version: 1\ncheckpoint: m\n';
const checkpoint = layersNamed('blocks.0.up', 'blocks.1.up', 'out');

function linesOf(config: string, of = checkpoint): string[] {
  return planText(modelOf(head + config, { checkpoint: of })).split('\n');
}

describe('resolved plan', () => {
  it('says for every layer what it gets, what that takes and who decided it, and adds up', () => {
    assert.equal(linesOf('defaults: { method: rtn, scheme: W8A8 }\nrules:\n  - { name: ends, layers: out, keep: bf16 }\nbudget: { size: 1kB }\n').join('\n'), [
      'unknown · 3 layers · /models/model.safetensors',
      'columns: bits of weights (W) and activations (A), true bits per weight and bytes with side data, name, recipe, ← what decided it',
      '', 'blocks.0',
      '  W8A8    12.000   48  blocks.0.up  rtn: weights int8 per row, activations int8 per row  ← defaults',
      '', 'blocks.1',
      '  W8A8    12.000   48  blocks.1.up  rtn: weights int8 per row, activations int8 per row  ← defaults',
      '', 'outside of blocks',
      '  W16A16  16.000   64  out          not quantized, stored as bf16  ← ends',
      '',
      'by recipe (layers, share of the linear weights, true bits per weight)',
      '  not quantized, stored as bf16 · 1 layer · 33.33 % · 16.000 bits',
      '  rtn: weights int8 per row, activations int8 per row · 2 layers · 66.67 % · 12.000 bits',
      '', 'totals',
      '  linear weights    160 B · 13.333 bits per weight · 0 B of it shared by layers · 192 B as stored now',
      '  other tensors     0 B',
      '  whole checkpoint  160 B (160 B)',
      '  budget            840 B below',
      `  hash of the plan  ${modelOf(`${head}defaults: { method: rtn, scheme: W8A8 }\nrules:\n  - { layers: out, keep: bf16 }\n`, { checkpoint }).plan?.hash.slice(0, 16) ?? ''}`,
      '',
    ].join('\n'));
  });

  it('changes only the lines of layers that get something else', () => {
    const flux = publishedCheckpoint('FLUX.1-dev');
    const config = (bits: string): string => `defaults: { method: orbitquant, scheme: W4A4 }\nrules:\n  - { name: some, layers: "transformer_blocks.0.**", scheme: ${bits} }\n`;
    const [before, after] = [linesOf(config('W4A4'), flux), linesOf(config('W8A16').replace('name: some', 'name: "a much longer name"').replace('W8A16', 'W2A16'), flux)];
    const different = before.slice(0, before.indexOf('by recipe (layers, share of the linear weights, true bits per weight)')).filter((line, index) => line !== after[index]);
    assert.equal(different.length, flux.layers.filter(({ name }) => name.startsWith('transformer_blocks.0.')).length);
  });

  it('says why a layer is left as it is, and lists the problems with their lines', () => {
    const lines = linesOf('defaults: { method: { name: rtn, weights: { group: 3 } }, scheme: W4A16 }\nrules:\n  - { layers: nothing, keep: bf16 }\n');
    assert.match(lines[4] ?? '', /not quantized {2}← defaults {2}! left as it is: .*3/);
    assert.match(lines.at(-3) ?? '', /^ {2}error plan\/refused \(line 3\): /);
    assert.match(lines.at(-2) ?? '', /^ {2}warning plan\/pattern-matches-nothing \(line 5\): /);
  });

  it('says that there is no plan yet', () => {
    assert.match(planText(modelOf('version: 1\n')), /^No plan yet: [^]*\n\nproblems \(1\)\n {2}error config\/missing-key \(line 1\): "checkpoint" is missing/);
  });

  it('names any config', () => {
    for (const uri of ['file:///a%20b/x.quant.yaml', 'untitled:/p/new.quant.yml?x=1', 'file:///%E2%82%AC%23.quant.yaml']) {
      assert.equal(planConfig(planUri(uri)), uri);
      assert.ok(planUri(uri).startsWith(`${planScheme}:/`));
    }
    assert.match(planUri('file:///p/x.quant.yaml'), /^quantscope-plan:\/x\.plan\?/);
    assert.throws(() => planConfig('quantscope-plan:/x'), /does not name a resolved plan/);
  });
});
