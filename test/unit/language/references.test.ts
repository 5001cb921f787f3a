import assert from 'node:assert/strict';
import { maxReferences, references } from '../../../server/src/language/references';
import { structureOf } from '../../../server/src/language/structure';
import { layersNamed } from '../../fixtures/checkpoints';
import { atCursor, modelOf, withMarks } from './models';
import type { Options } from './models';

const checkpoint = layersNamed('blocks.0.attn.q', 'blocks.0.ff.up', 'blocks.1.attn.q', 'out');

const other = `checkpoint: ../project/m
defaults: { method: { name: rtn } }
rules:
  - { name: attention, layers: ["blocks.*.attn.*", "!blocks.1.**"], method: &m rtn }
  - { layers: ["*.0.ff.**", "no.*"], method: *m }
`;

/** Every config with its references marked; only those that have some. */
function found(marked: string, { includeDeclaration = true, ...options }: Options & { includeDeclaration?: boolean } = { checkpoint }): string[] {
  const { model, position } = atCursor(marked, options);
  const models = [model, modelOf(other, { uri: 'file:///other/b.quant.yaml' })];
  const list = references(model, position, models.map(structureOf), includeDeclaration) ?? [];
  return models.flatMap((each) => {
    const own = list.filter(({ uri }) => uri === each.document.uri);
    return own.length > 0 ? [withMarks(each, own.map(({ range }) => range)).split('\n').filter((line) => line.includes('«')).map((line) => line.trim()).join('\n')] : [];
  });
}

describe('references', () => {
  it('of a layer are the entries of every config that touch it', () => {
    assert.deepEqual(found('rules:\n  - layers: [blocks.1.at|tn.q, "blocks.0.**"]\n  - layers: ["**"]\n'), [
      '- layers: [«blocks.1.attn.q», "blocks.0.**"]\n- layers: [«"**"»]', '- { name: attention, layers: [«"blocks.*.attn.*"», «"!blocks.1.**"»], method: &m rtn }',
    ]);
  });

  it('of a pattern are the entries that touch one of its layers', () => {
    assert.deepEqual(found('rules: [{ layers: ["!**.f|f.*", out] }]\n'), ['rules: [{ layers: [«"!**.ff.*"», out] }]', '- { layers: [«"*.0.ff.**"», "no.*"], method: *m }']);
  });

  it('of a layer need no checkpoint; a pattern without one is only itself', () => {
    assert.deepEqual(found('rules: [{ layers: [blocks.9.attn.k|] }]\n', {}), ['rules: [{ layers: [«blocks.9.attn.k»] }]', '- { name: attention, layers: [«"blocks.*.attn.*"», "!blocks.1.**"], method: &m rtn }']);
    assert.deepEqual(found('rules: [{ layers: ["blocks.*|"] }, { layers: ["blocks.*"] }]\n', {}), ['rules: [{ layers: [«"blocks.*"»] }, { layers: [«"blocks.*"»] }]']);
  });

  it('of a method are its uses in all configs, aliases included', () => {
    assert.deepEqual(found('defaults: { method: r|tn }\n'), ['defaults: { method: «rtn» }', 'defaults: { method: { name: «rtn» } }\n- { name: attention, layers: ["blocks.*.attn.*", "!blocks.1.**"], method: &m «rtn» }\n- { layers: ["*.0.ff.**", "no.*"], method: «*m» }']);
  });

  it('of a file are its uses in all configs, however the path is written', () => {
    assert.deepEqual(found('checkpoint: ./m|\n'), ['checkpoint: «./m»', 'checkpoint: «../project/m»']);
  });

  it('of an anchor and of the name of a rule stay in their file', () => {
    assert.deepEqual(found('a: &|m 1\nb: *m\nc: *m\n'), ['a: «&m» 1\nb: «*m»\nc: «*m»']);
    assert.deepEqual(found('a: &m 1\nb: *m|\nc: *m\n', { includeDeclaration: false }), ['b: «*m»\nc: «*m»']);
    assert.deepEqual(found('rules: [{ name: atten|tion, layers: a }]\n'), ['rules: [{ name: «attention», layers: a }]']);
  });

  it('take the open text of the config itself, not what else is known of it', () => {
    const { model, position } = atCursor('defaults: { method: r|tn }');
    const stale = structureOf(modelOf('\n\ndefaults: { method: rtn }'));
    assert.deepEqual(references(model, position, [stale], true)?.map(({ range }) => range.start.line), [0]);
  });

  it('end at a number that editors can show', () => {
    const { model, position } = atCursor(`rules:\n${'  - { layers: [a, "*"] }\n'.repeat(1500)}  - { layers: |a }\n`);
    assert.equal(references(model, position, [], true)?.length, maxReferences);
  });

  it('are none elsewhere', () => {
    for (const nothing of ['|', 'ver|sion: 1', '# r|tn']) {
      assert.deepEqual(found(nothing), []);
    }
  });
});
