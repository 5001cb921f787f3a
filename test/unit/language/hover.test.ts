import assert from 'node:assert/strict';
import type { MarkupContent } from 'vscode-languageserver-types';
import { hover } from '../../../server/src/language/hover';
import type { Model } from '../../../server/src/language/model';
import { layersNamed, publishedCheckpoint } from '../../fixtures/checkpoints';
import { atCursor, reportOf } from './models';
import type { Options } from './models';

/** The Markdown at the `|`, and the text it is about. */
function hovered(marked: string, options?: Options): { text: string; about: string } {
  const { model, position } = atCursor(marked, options);
  const found = hover(model, position);
  return { text: (found?.contents as MarkupContent | undefined)?.value ?? '', about: found?.range ? model.document.getText(found.range) : '' };
}

const checkpoint = layersNamed('blocks.0.attn.q', 'blocks.0.ff.up', 'blocks.1.attn.q', 'blocks.1.ff.up', 'out');
const head = 'version: 1\ncheckpoint: ./m\ndefaults: { method: orbitquant, scheme: W4A4 }\n';

describe('hover on the language', () => {
  it('shows a key\'s docs with its values', () => {
    const { text, about } = hovered('rules:\n  - ke|ep: bf16\n');
    assert.equal(about, 'keep');
    assert.equal(text, '**rules.keep**\n\nDo not quantize these layers; store them as this type.\n\n- `original`: As the checkpoint stores it.\n- `bf16`: bfloat16\n- `fp16`: float16\n- `fp32`: float32');
  });

  it('shows examples and defaults', () => {
    assert.match(hovered('defaults: { s|cheme: W4A4 }').text, /Examples: `W4A4`, `W4A16`/);
    assert.match(hovered('defaults: { method: { name: rtn, rotate: { se|ed: 1 } } }').text, /Default: `0`\./);
    assert.match(hovered('defaults: { method: { name: rtn, weights: { gro|up: 1 } } }').text, /Examples: `row`, `64`, `128`, `tensor`$/);
  });

  it('explains a method with its source', () => {
    for (const marked of ['defaults: { method: orbit|quant }', 'defaults: { method: { name: orbit|quant } }']) {
      assert.match(hovered(marked).text, /^\*\*OrbitQuant\*\*\n\nRotates every row .*\n\nSource: OrbitQuant, arXiv 2607\.02461$/);
    }
    assert.doesNotMatch(hovered('rules:\n  - name: r|tn\n').text, /Round to nearest/, 'a rule may be called rtn');
  });

  it('spells a scheme out', () => {
    assert.match(hovered('defaults: { scheme: W4|A16 }').text, /^\*\*W4A16\*\*: 4-bit weights, activations as they are\./);
    assert.match(hovered('defaults: { scheme: W16|A3 }').text, /^\*\*W16A3\*\*: weights as they are, 3-bit activations\./);
  });

  it('explains a listed value', () => {
    assert.match(hovered('rules:\n  - keep: bf|16\n').text, /^\*\*bf16\*\*: bfloat16/);
  });

  for (const marked of ['| ', '# com|ment', 'unkn|own: 1', 'unknown: val|ue', 'constr|uctor: 1', 'a: [b, |c]']) {
    it(`says nothing at ${JSON.stringify(marked)}`, () => {
      assert.equal(hovered(marked).text, '');
    });
  }
});

describe('hover on the checkpoint', () => {
  const rule = (layers: string, more = 'keep: bf16'): string => `${head}rules:\n  - { layers: ${layers}, ${more} }\n`;

  it('sums up what a pattern matches, by block and role, and what it decides', () => {
    const { text, about } = hovered(rule('["**.a|ttn.**"]'), { checkpoint });
    assert.equal(about, '"**.attn.**"');
    assert.equal(text, [
      '`**.attn.**` matches **2 layers**, 40.00 % of all linear weights.', '',
      '| block | role | layers | share of weights |', '| --- | --- | ---: | ---: |', '| `blocks.0–1` | other | 2 | 40.00 % |', '',
      'This rule decides all of them: 16.000 bits per weight with side data, 128 B packed.',
    ].join('\n'));
  });

  it('says what later rules take away', () => {
    const text = `${head}rules:\n  - { layers: "|**", keep: bf16 }\n  - { layers: "**.q", keep: bf16 }\n`;
    assert.match(hovered(text, { checkpoint }).text, /This rule decides 3 of them: 16\.000 bits per weight with side data, 192 B packed; later rules or exclusions take the rest\./);
    assert.match(hovered(`${head}rules:\n  - { layers: "|**", keep: bf16 }\n  - { layers: "**", keep: bf16 }\n`, { checkpoint }).text, /This rule decides 0 of them; later rules/);
  });

  it('says which statistics a recipe needs, and whether they are there', () => {
    const text = 'version: 1\ncheckpoint: ./m\ndefaults: { method: gp|tq, scheme: W4A4 }\nrules:\n  - { layers: ["**.ff.**"], method: rtn, scheme: W4A4 }\n';
    const shown = (marked: string, gathered?: Model['gathered']): string => {
      const { model, position } = atCursor(marked, { checkpoint });
      return (hover({ ...model, gathered }, position)?.contents as MarkupContent).value;
    };
    assert.match(shown(text), /needs second moments of inputs from calibration runs: gathered when first needed$/);
    assert.match(shown(text, new Map([['out', true]])), /calibration runs: gathered for 1 of 3 layers$/);
    assert.match(shown(text, new Map([['out', false]])), /calibration runs: not gathered yet$/);
    assert.match(shown(text, new Map(['blocks.0.attn.q', 'blocks.1.attn.q', 'out'].map((name) => [name, true]))), /calibration runs: gathered$/);
    const moved = text.replace('gp|tq', 'gptq');
    assert.doesNotMatch(shown(moved.replace('method: rtn', 'method: r|tn')), /calibration runs/, 'this rule needs none');
    assert.match(shown(moved.replace('rules:', 'rules:\n  - { layers: ["o|ut"], method: smoothquant, scheme: W8A8 }')), /needs channel ranges from calibration runs/);
  });

  it('tells exclusions and empty patterns apart', () => {
    assert.match(hovered(rule('["**", "!**.|q"]'), { checkpoint }).text, /^`!\*\*\.q` excludes \*\*2 layers\*\*/);
    assert.match(hovered(rule('["q|"]'), { checkpoint }).text, /^`q` matches \*\*0 layers\*\*, 0\.00 % of all linear weights\.\n\n`\*` stays within one dotted segment/);
  });

  it('says what an exclusion takes out of its rule', () => {
    assert.match(hovered(rule('["blocks.0.**", "!**.|q"]'), { checkpoint }).text, /^`!\*\*\.q` excludes \*\*2 layers\*\*, 40\.00 % of all linear weights\. It takes 1 of the 2 layers out that the other patterns of this rule match\./);
    assert.match(hovered(rule('[out, "!**.|q"]'), { checkpoint }).text, /It takes none of the 1 layer out/);
  });

  it('sums up a rule at the key of its patterns', () => {
    const { text } = hovered(rule('["**", "!**.q"]').replace('layers', 'lay|ers'), { checkpoint });
    assert.match(text, /^\*\*rules\.layers\*\*\n\nLayer patterns[^]*\n\nThis rule matches \*\*3 layers\*\*, 60\.00 % of all linear weights\.\n\n\| block[^]*\n\nThis rule decides all of them: 16\.000 bits/);
    assert.match(hovered(rule('[no]').replace('layers', 'lay|ers'), { checkpoint }).text, /This rule matches \*\*0 layers\*\*, 0\.00 % of all linear weights\.$/);
  });

  it('adds to a scheme what it truly takes', () => {
    assert.match(hovered(rule('[out]', 'method: rtn, scheme: W8|A8'), { checkpoint }).text, /Decides 1 layer: \*\*12\.000 bits\*\* per weight with side data, 48 B packed\.$/);
    assert.match(hovered(rule('["**"]').replace('W4A4', 'W4|A4'), { checkpoint }).text, /Decides no layer\.$/);
    assert.match(hovered(`${head.replace('W4A4', 'W4|A4')}rules:\n  - 1\n  - { layers: out, keep: bf16 }\n`, { checkpoint }).text, /Decides 4 layers: /);
  });

  it('shows what an alias stands for', () => {
    const { text, about } = hovered(`${head}rules:\n  - { layers: out, method: &m { name: rtn, weights: { group: 2 } } }\n  - { layers: x, method: *|m }\n`);
    assert.deepEqual([about, text], ['*m', '`*m` stands for\n\n```yaml\nname: rtn\nweights:\n  group: 2\n```']);
  });

  it('groups FLUX.1-dev in a table that stays short', () => {
    const flux = publishedCheckpoint('FLUX.1-dev');
    const { text } = hovered(rule('["**.norm*.|linear"]'), { checkpoint: flux });
    assert.match(text, /matches \*\*76 layers\*\*, 27\.13 %/);
    assert.match(text, /\| `single_transformer_blocks\.0–37` \| modulation \| 38 \| 9\.04 % \|\n\| `transformer_blocks\.0–18` \| modulation \| 38 \| 18\.08 % \|/);
    assert.match(hovered(rule('["*|*"]'), { checkpoint: flux }).text, /… and \d+ more groups\./);
    assert.match(hovered(rule('["transformer_blocks.1*.**.to_q|"]'), { checkpoint: flux }).text, /`transformer_blocks\.1,10–18` \| q \| 10 /);
  });

  it('shows what was measured, with directions', () => {
    const reports = [reportOf('blocks.0.attn.q', 0.0081), reportOf('blocks.1.attn.q', 0.016)];
    const { text } = hovered(rule('["**.at|tn.**"]', 'scheme: W4A4'), { checkpoint, reports });
    assert.match(text, /Measured on all of them:\n- relative MSE 8\.100e-3 to 1\.600e-2 \(lower is better\)\n- up to 2\.000 × the expected distortion \(1 is what the quantizer promises\), in `blocks\.1\.attn\.q`\n- mean KS distance to the marginal 0\.1000 before → 0\.0020 after rotation \(lower is better\)$/);
    assert.match(hovered(rule('["|**"]'), { checkpoint, reports }).text, /Measured on 2 of 5:/);
  });

  it('describes one layer', () => {
    const { text } = hovered(rule('[blocks.1.ff.u|p]', 'name: some, scheme: W4A4'), { checkpoint, reports: [reportOf('blocks.1.ff.up', 0.01)] });
    assert.equal(text, [
      '**`blocks.1.ff.up`**: other of `blocks.1`', '',
      '- 8 × 4 (out × in), BF16, 20.00 % of all linear weights', '- 64 B stored → 32 B packed, 8.000 bits per weight with side data',
      '- orbitquant: RPBH, weights codebook 4 bit, activations codebook 4 bit; decided by `some`', '',
      'Measured:', '- SQNR 20.00 dB (higher is better), relative MSE 1.000e-2 (lower is better)', '- 1.250 × the expected 8.000e-3 (1 is what the quantizer promises)',
      '- KS distance to the marginal 0.1000 before → 0.0020 after rotation (lower is better); ρ 2.00 (far above 1: the rotation cannot promise the marginal)',
    ].join('\n'));
  });

  it('says how much of a layer was measured, and what is broken in it', () => {
    const text = (more: object): string => hovered(rule('[ou|t]'), { checkpoint, reports: [reportOf('out', 0, { ...more })] }).text;
    assert.match(text({ sampledRows: 4 }), /Measured on 4 of 8 rows:/);
    assert.match(text({ nonFinite: 3 }), /3 weights are NaN or infinite; their rows are left out/);
    assert.match(text({}), /SQNR ∞ dB/);
    assert.match(text({}), /^\*\*`out`\*\*: other, outside of blocks\n.*\n- 8 × 4/);
  });

  it('shows the size now, on budget and below it', () => {
    const budget = (written: string): string => hovered(`${head}budget: ${written}\n`, { checkpoint }).text;
    assert.match(budget('{ size: 2|50B }'), /Now: \*\*241 B\*\* for the whole quantized checkpoint \(241 B linear weights with side data, 0 B other tensors\), \*\*12\.050 bits\*\* per linear weight; 320 B as stored\.\n\n9 B below the budget\.$/);
    assert.match(budget('{ size: 2|40B }'), /1 B \*\*over\*\* the budget\.$/);
    assert.match(budget('{ bi|ts: 13 }'), /0\.950 bits below the budget\.$/);
    assert.match(hovered(`${head}bud|get: {}\n`, { checkpoint }).text, /side data included\.\n\nNow: \*\*241 B\*\*[^]*as stored\.$/);
  });

  it('describes the checkpoint and the defaults', () => {
    assert.match(hovered(head.replace('./m', './|m'), { checkpoint }).text, /\*\*unknown\*\* \(safetensors\): 5 layers with 320 B of linear weights; 5 tensors, 320 B in all\./);
    assert.match(hovered(head.replace('defaults', 'def|aults'), { checkpoint }).text, /Decides 5 of 5 layers, 160 B packed\.$/);
  });

  it('falls back to the schema without a checkpoint', () => {
    assert.match(hovered(rule('["**.at|tn.**"]')).text, /^$|Layer patterns/);
  });

  it('lets no name from a file break the Markdown', () => {
    const hostile = layersNamed('a`|b\n# x.1.y', 'a`|b\n# x.2.y');
    const text = `${head}rules:\n  - { layers: "**.y", keep: bf16 }\n`;
    const { model } = atCursor(`${text}|`, { checkpoint: hostile });
    const found = hover(model, model.document.positionAt(text.indexOf('**.y')));
    const value = (found?.contents as MarkupContent).value;
    assert.match(value, /\| `a'\\\|b\\u000a# x\.1–2` \| other \| 2 \|/);
  });
});
