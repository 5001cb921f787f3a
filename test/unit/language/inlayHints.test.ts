import assert from 'node:assert/strict';
import { inlayHints } from '../../../server/src/language/inlayHints';
import { layersNamed, publishedCheckpoint } from '../../fixtures/checkpoints';
import { modelOf } from './models';
import type { Options } from './models';

/** The text with every hint in ⟦ ⟧ where an editor shows it. */
function hinted(text: string, options?: Options, range = { start: { line: 0, character: 0 }, end: { line: 1000, character: 0 } }): string {
  const model = modelOf(text, options);
  return inlayHints(model, range).map((hint) => ({ at: model.document.offsetAt(hint.position), label: hint.label as string })).sort((a, b) => b.at - a.at)
    .reduce((shown, { at, label }) => `${shown.slice(0, at)}⟦${label}⟧${shown.slice(at)}`, text);
}

describe('inlay hints', () => {
  const checkpoint = layersNamed('blocks.0.attn.q', 'blocks.0.ff.up', 'blocks.1.attn.q', 'blocks.1.ff.up', 'out');

  it('show FLUX.1-dev as design.md has it', () => {
    const text = 'version: 1\ncheckpoint: ./FLUX.1-dev\ndefaults: { method: orbitquant, scheme: W4A4 }\nrules:\n  - layers: ["**.norm*.linear"]\n    scheme: W4A16\n    method: { name: rtn, weights: { group: 64 } }\n  - layers: ["**.proj_out"]\n    scheme: W4A4\nbudget: { size: 6.9GB }\n';
    assert.equal(hinted(text, { checkpoint: publishedCheckpoint('FLUX.1-dev') }), text
      .replace('./FLUX.1-dev', './FLUX.1-dev⟦FluxTransformer2DModel · 504 layers · 23.80 GB⟧').replace('W4A4 }', 'W4A4 }⟦390 layers · 57.80 % · 4.004 bits⟧')
      .replace('linear"]', 'linear"]⟦76 layers · 27.13 % · 4.250 bits⟧').replace('proj_out"]', 'proj_out"]⟦38 layers · 15.07 % · 4.001 bits⟧').replace('6.9GB }', '6.9GB }⟦6.06 GB · 4.071 bits⟧'));
  });

  it('say when a rule decides fewer layers than it matches, or none, or matches none', () => {
    const rule = (layers: string): string => `  - { layers: ${layers}, keep: bf16 }\n`;
    assert.equal(hinted(`rules:\n${rule('"**"')}${rule('[out]')}${rule('nowhere')}${rule('out')}`, { checkpoint }),
      `rules:\n${rule('"**"⟦5 layers (4 decided) · 100.00 % · 16.000 bits⟧')}${rule('[out]⟦1 layer (0 decided) · 20.00 %⟧')}${rule('nowhere⟦0 layers⟧')}${rule('out⟦1 layer · 20.00 % · 16.000 bits⟧')}`);
  });

  it('stand at the key and behind every pattern where patterns have lines of their own', () => {
    assert.equal(hinted('rules:\n  - layers:  # what\n      - "**.q"\n      - "!blocks.0.**"\n    keep: bf16\n', { checkpoint }),
      'rules:\n  - layers:  # what⟦1 layer · 20.00 % · 16.000 bits⟧\n      - "**.q"⟦2 layers · 40.00 %⟧\n      - "!blocks.0.**"⟦2 layers · 40.00 %⟧\n    keep: bf16\n');
    assert.equal(hinted('defaults:\r\n  keep: bf16\r\nbudget:\r\n  bits: 20\r\n', { checkpoint }), 'defaults:⟦5 layers · 100.00 % · 16.000 bits⟧\r\n  keep: bf16\r\nbudget:\r\n  bits: 20⟦320 B · 16.000 bits⟧\r\n');
  });

  it('stay on the line of a list whose bracket or quote is open', () => {
    for (const list of ['["**.q"', '["**.q", "out', '["**.q", ']) {
      const line = hinted(`rules:\n  - layers: ${list}\n    keep: bf16\n`, { checkpoint }).split('\n').findIndex((each) => each.includes('⟦'));
      assert.equal(line, 1, list);
    }
    const long = 'rules:\n  - layers: ["**.q",\n      out]';
    assert.equal(hinted(`${long}\n    keep: bf16\n`, { checkpoint }), `${long}⟦3 layers · 60.00 % · 16.000 bits⟧\n    keep: bf16\n`);
  });

  it('say when rules leave nothing to the defaults', () => {
    assert.equal(hinted('defaults: { keep: bf16 }\nrules: [{ layers: "**", keep: fp16 }]\n', { checkpoint }), 'defaults: { keep: bf16 }⟦0 layers⟧\nrules: [{ layers: "**"⟦5 layers · 100.00 % · 16.000 bits⟧, keep: fp16 }]\n');
  });

  it('stay inside the range that was asked for', () => {
    const text = 'checkpoint: ./m\ndefaults: { keep: bf16 }\nbudget: { bits: 20 }\n';
    assert.equal(hinted(text, { checkpoint }, { start: { line: 1, character: 0 }, end: { line: 1, character: 100 } }), text.replace('bf16 }', 'bf16 }⟦5 layers · 100.00 % · 16.000 bits⟧'));
  });

  it('count UTF-16 code units', () => {
    const hints = inlayHints(modelOf('rules: [{ name: "𝒳𝒳", layers: out, keep: bf16 }]', { checkpoint }), { start: { line: 0, character: 0 }, end: { line: 9, character: 0 } });
    assert.deepEqual(hints.map((hint) => hint.position), [{ line: 0, character: 35 }]);
  });

  it('carry the details in their tooltips', () => {
    const tooltips = inlayHints(modelOf('defaults: { keep: bf16 }\nrules: [{ layers: "**.q", keep: fp16 }, { layers: blocks.0.attn.q, keep: bf16 }]\n', { checkpoint }), { start: { line: 0, character: 0 }, end: { line: 9, character: 0 } }).map((hint) => hint.tooltip);
    assert.deepEqual(tooltips.slice(0, 2), [
      'Matches 2 layers with 40.00 % of all linear weights. Later rules take 1; it decides 1: 16.000 bits per weight, scales and norms included.',
      'Matches 1 layer with 20.00 % of all linear weights. Decides all of them: 16.000 bits per weight, scales and norms included.',
    ]);
  });

  it('are silent without a checkpoint, on broken text and on a checkpoint without layers', () => {
    assert.equal(hinted('checkpoint: ./m\nrules: [{ layers: x }]\n'), 'checkpoint: ./m\nrules: [{ layers: x }]\n');
    assert.equal(hinted('rules: [{ layers: [a', { checkpoint }).includes('NaN'), false);
    assert.equal(hinted('defaults: { keep: bf16 }\n', { checkpoint: layersNamed() }), 'defaults: { keep: bf16 }⟦0 layers⟧\n');
  });
});
