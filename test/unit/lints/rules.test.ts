import assert from 'node:assert/strict';
import { fixAll } from '../../../server/src/language/codeActions';
import { documentOf } from '../config/found';
import { layersNamed, publishedCheckpoint } from '../../fixtures/checkpoints';
import { lintsOf, marks, remedied } from './linted';
import { TextDocument } from 'vscode-languageserver-textdocument';

const checkpoint = layersNamed('blocks.0.attn.q', 'blocks.0.ff.up', 'blocks.1.attn.q', 'blocks.1.ff.up', 'out');
const head = 'version: 1\ncheckpoint: ./m\n';

describe('lint: rules without effect', () => {
  const text = `${head}defaults: { keep: bf16 }
rules:
  # the way out
  - layers: [out] # one layer
    keep: fp16
  # everything
  - layers: "**"
    keep: bf16 # at last`;

  it('are greyed, point at who takes their layers, and go or move', () => {
    const [problem] = lintsOf(text, checkpoint);
    assert.deepEqual([problem?.code, problem?.unnecessary, problem?.related?.map(({ message }) => message)], ['plan/shadowed-rule', true, ['"rule 2" takes layers of it.']]);
    const after = remedied(text, 'plan/shadowed-rule', checkpoint);
    assert.equal(after['Remove this rule, which has no effect'], text.replace('  - layers: [out] # one layer\n    keep: fp16\n', ''));
    assert.equal(after['Move this rule to the end'], `${text.replace('  - layers: [out] # one layer\n    keep: fp16\n', '')}\n  - layers: [out] # one layer\n    keep: fp16`);
  });

  it('in braces', () => {
    const flow = `${head}rules: [ { layers: out, keep: fp16 }, { layers: "**", keep: bf16 } ]\n`;
    const after = remedied(flow, 'plan/shadowed-rule', checkpoint);
    assert.equal(after['Remove this rule, which has no effect'], `${head}rules: [ { layers: "**", keep: bf16 } ]\n`);
    assert.equal(after['Move this rule to the end'], `${head}rules: [ { layers: "**", keep: bf16 }, { layers: out, keep: fp16 } ]\n`);
    const lines = `${head}rules: [\n  { layers: out, keep: fp16 }, # why\n  { layers: "**", keep: bf16 },\n]\n`;
    assert.equal(remedied(lines, 'plan/shadowed-rule', checkpoint)['Remove this rule, which has no effect'], `${head}rules: [\n   # why\n  { layers: "**", keep: bf16 },\n]\n`.replace('   # why', '  # why'));
  });

  it('do not move where that would leave another without effect', () => {
    const pair = `${head}defaults: { keep: bf16 }\nrules:\n  - { layers: out, keep: fp16 }\n  - { layers: out, keep: bf16 }\n`;
    assert.deepEqual(Object.keys(remedied(pair, 'plan/shadowed-rule', checkpoint)), ['Remove this rule, which has no effect']);
  });

  it('stay when something in them is used elsewhere', () => {
    const anchored = `${head}rules:\n  - &first { layers: out, keep: fp16 }\n  - { layers: "**", keep: bf16 }\n  - *first\n  - { layers: "**", keep: bf16 }\n`;
    const problems = lintsOf(anchored, checkpoint).filter(({ code }) => code === 'plan/shadowed-rule');
    assert.deepEqual(problems.map(({ data }) => data?.fixes.length ?? 0), [0, 1, 2]);
  });

  it('all go at once, and nothing that would change a layer', () => {
    const many = `${head}rules:\n  - { layers: out, keep: fp16 }\n  - { layers: [out, "**.bias"], keep: bf16 }\n  - { layers: "**", keep: bf16 }\n  - { layers: nowhere, keep: bf16 }\n`;
    const [action, ...none] = fixAll('file:///x', lintsOf(many, checkpoint));
    assert.deepEqual([action?.kind, none], ['source.fixAll.quantscope', []]);
    const after = TextDocument.applyEdits(documentOf(many), action?.edit?.changes?.['file:///x'] ?? []);
    assert.equal(after, `${head}rules:\n  - { layers: "**", keep: bf16 }\n  - { layers: nowhere, keep: bf16 }\n`);
    assert.deepEqual(fixAll('file:///x', lintsOf(after, checkpoint)), []);
  });
});

describe('lint: patterns that take nothing', () => {
  it('go, with their rule when it was the only one', () => {
    const text = `${head}defaults: { keep: bf16 }\nrules:\n  - { layers: [out, xyz, "!zyx"], keep: fp16 }\n  # gone\n  - layers:\n      - qwertz\n    keep: fp16\n`;
    const after = remedied(text, 'plan/pattern-matches-nothing', checkpoint);
    assert.deepEqual(Object.keys(after), ['Remove this pattern', 'Remove this rule']);
    assert.equal(after['Remove this rule'], text.replace('  - layers:\n      - qwertz\n    keep: fp16\n', ''));
  });

  it('offer what was meant first', () => {
    const text = `${head}defaults: { keep: bf16 }\nrules:\n  - { layers: [attn.q, out], keep: fp16 }\n`;
    assert.deepEqual(Object.keys(remedied(text, 'plan/pattern-matches-nothing', checkpoint)), ['Change to "**.attn.q"', 'Remove this pattern']);
  });

  it('are another thing when they name norms, biases or tables, which are never quantized', () => {
    const dit = publishedCheckpoint('CogVideoX-2b');
    const text = `${head}defaults: { keep: bf16 }\nrules:\n  - layers:\n      - "**.norm_q" # [64]\n      - "**.bias"\n      - "!norm_final"\n      - "transformer_blocks.*.ff.**"\n    scheme: W8A8\n    method: rtn\n`;
    const found = lintsOf(text, dit);
    assert.deepEqual(found.map(({ code, severity, unnecessary, message }) => [code, severity, unnecessary, message.slice(0, 60)]), [
      ['plan/never-quantized', 'info', true, 'This names 60 tensors (norms, biases; first transformer_bloc'],
      ['plan/never-quantized', 'info', true, 'This names 368 tensors (biases; first patch_embed.text_proj.'],
      ['plan/never-quantized', 'info', true, 'This names 2 tensors (norms, biases; first norm_final.weight'],
    ]);
    remedied(text, 'plan/never-quantized', dit);
  });

  it('or layers by the name of their weight', () => {
    const text = `${head}defaults: { keep: bf16 }\nrules:\n  - { layers: ["blocks.*.attn.q.weight", "!out.*"], keep: fp16 }\n`;
    const found = lintsOf(text, checkpoint);
    assert.deepEqual(marks(text, found), ['plan/pattern-matches-nothing ["blocks.*.attn.q.weight"]', 'plan/pattern-matches-nothing ["!out.*"]']);
    assert.deepEqual(found.map(({ data }) => data?.fixes[0]?.title), ['Change to "blocks.*.attn.q"', 'Change to "!out"']);
    remedied(text, 'plan/pattern-matches-nothing', checkpoint);
  });
});

describe('lint: layers that nothing covers', () => {
  it('are kept or quantized by defaults', () => {
    const text = `version: 1\ncheckpoint: ./m # here\n# only the way out\nrules:\n  - { layers: out, keep: bf16 }\n`;
    const after = remedied(text, 'plan/uncovered', checkpoint);
    assert.deepEqual(Object.values(after), ['{ keep: original }', '{ method: orbitquant, scheme: W4A4 }'].map((value) => text.replace('rules:', `defaults: ${value}\nrules:`)));
  });

  it('also without rules, and in braces', () => {
    assert.equal(Object.values(remedied(head, 'plan/uncovered', checkpoint))[0], `${head}defaults: { keep: original }\n`);
    assert.equal(Object.values(remedied(head.trimEnd(), 'plan/uncovered', checkpoint))[0], `${head}defaults: { keep: original }\n`);
    assert.equal(Object.values(remedied('{ version: 1, checkpoint: ./m }', 'plan/uncovered', checkpoint))[0], '{ version: 1, checkpoint: ./m, defaults: { keep: original } }');
  });
});
