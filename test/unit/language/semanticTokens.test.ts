import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { semanticTokens, tokenEdits, tokenModifiers, tokenTypes } from '../../../server/src/language/semanticTokens';
import type { Range } from '../../../server/src/protocol';
import { layersNamed } from '../../fixtures/checkpoints';
import { modelOf } from './models';
import type { Options } from './models';

const checkpoint = layersNamed('blocks.0.ff.up', 'blocks.1.ff.up', 'out');

/** `text:type.modifier` of every token. */
function colours(text: string, options: Options = { checkpoint }, range?: Range): string[] {
  const lines = text.split(/\r?\n/);
  let [line, character] = [0, 0];
  const data = semanticTokens(modelOf(text, options), range);
  return Array.from({ length: data.length / 5 }, (_, i) => {
    const [lineDelta = 0, characterDelta = 0, length = 0, type = 0, modifiers = 0] = data.slice(5 * i);
    [line, character] = [line + lineDelta, lineDelta === 0 ? character + characterDelta : characterDelta];
    return [`${lines[line]?.slice(character, character + length) ?? ''}:${tokenTypes[type] ?? ''}`, ...tokenModifiers.filter((_, bit) => modifiers & (1 << bit))].join('.');
  });
}

describe('semantic tokens', () => {
  const values: [text: string, colours: string[]][] = [
    ['version: 1\ncheckpoint: ./m\n', ['version:property', '1:number', 'checkpoint:property']],
    ['defaults: { method: rtn, scheme: W4A4 }\n', ['defaults:property', 'method:property', 'rtn:method', 'scheme:property', 'W4A4:scheme']],
    ['defaults: { method: { name: "gptq" }, keep: nope }\n', ['defaults:property', 'method:property', 'name:property', '"gptq":method', 'keep:property', 'nope:enumMember.unknown']],
    ['defaults: { method: gtpq, scheme: W44 }\n', ['defaults:property', 'method:property', 'gtpq:method.unknown', 'scheme:property', 'W44:scheme.unknown']],
    ['budget: { size: 6.9 GB }\n', ['budget:property', 'size:property', '6.9:number', 'GB:unit']],
    ['budget: { size: "6.9GB" }\n', ['budget:property', 'size:property', '6.9:number', 'GB:unit']],
    ['bugdet: { size: 1 }\n', ['bugdet:property.unknown', 'size:property']],
    ['constructor: 1\n', ['constructor:property.unknown']],
    ['preview: { mode: free, prompts: [rtn] }\n', ['preview:property', 'mode:property', 'free:enumMember', 'prompts:property']],
    ['# version: 1\n', []],
    ['defaults: &d { keep: bf16 }\nrules:\n  - layers: x\n    method: *d\n', ['defaults:property', '&d:anchor', 'keep:property', 'bf16:enumMember', 'rules:property', 'layers:property', 'x:layer', 'method:property', '*d:alias']],
  ];
  for (const [text, expected] of values) {
    it(JSON.stringify(text), () => {
      assert.deepEqual(colours(text, {}), expected);
      assert.deepEqual(colours(text.replaceAll('\n', '\r\n'), {}), expected, 'with CRLF');
    });
  }

  const patterns: [value: string, colours: string[]][] = [
    ['["blocks.*.ff.up"]', ['blocks:layer', '*:wildcard', 'ff:layer', 'up:layer']],
    ['["**.1.**", "!**.up"]', ['**:wildcard', '1:layer.index', '**:wildcard', '!:wildcard.excluded', '**:wildcard.excluded', 'up:layer.excluded']],
    ['["no*.where"]', ['no:layer.unmatched', '*:wildcard.unmatched', 'where:layer.unmatched']],
    ['["!no"]', ['!:wildcard.unmatched.excluded', 'no:layer.unmatched.excluded']],
    ['out', ['out:layer']],
    ['[**.up]', ['**:wildcard', 'up:layer']],
    ['["o\\u0075t"]', []],
    ['["o\n        ut"]', []],
  ];
  for (const [value, expected] of patterns) {
    it(`of ${JSON.stringify(value)}`, () => {
      assert.deepEqual(colours(`rules:\n  - layers: ${value}\n`).slice(2), expected);
    });
  }

  it('stays while a bracket is missing', () => {
    assert.deepEqual(colours('rules:\n  - layers: [out, "**.up"\n    keep: bf16\n'), ['rules:property', 'layers:property', 'out:layer', '**:wildcard', 'up:layer', 'keep:property', 'bf16:enumMember']);
  });

  it('says nothing of matches without a checkpoint', () => {
    assert.deepEqual(colours('rules: [{ layers: no }]\n', {}), ['rules:property', 'layers:property', 'no:layer']);
  });

  it('colours where an alias stands only once', () => {
    assert.deepEqual(colours('rules:\n  - layers: &l [out]\n  - layers: *l\n'), ['rules:property', 'layers:property', '&l:anchor', 'out:layer', 'layers:property', '*l:alias']);
  });

  it('colours a part', () => {
    const text = 'version: 1\nbudget: { bits: 4 }\nrules: []\n';
    assert.deepEqual(colours(text, {}, { start: { line: 1, character: 0 }, end: { line: 1, character: 40 } }), ['budget:property', 'bits:property', '4:number']);
  });

  it('tells what changed', () => {
    const [before, after] = ['version: 1\nrules: [{ layers: out }]\n', 'version: 1\n# new\nrules: [{ layers: out }]\n'].map((text) => semanticTokens(modelOf(text, { checkpoint })));
    assert.ok(before && after);
    const edits = tokenEdits(before, after);
    assert.equal(edits.length, 1);
    for (const { start, deleteCount, data = [] } of edits) {
      assert.deepEqual(before.toSpliced(start, deleteCount, ...data), after);
      assert.ok(data.length <= 5);
    }
    assert.deepEqual(tokenEdits(after, after), []);
    assert.deepEqual(tokenEdits([], [1]), [{ start: 0, deleteCount: 0, data: [1] }]);
    assert.deepEqual(tokenEdits([1, 1], [1]), [{ start: 1, deleteCount: 1, data: [] }]);
  });

  it('names to the editor what is no standard type, with a colour of the themes for every one', () => {
    const { contributes } = JSON.parse(readFileSync(join(__dirname, '../../../package.json'), 'utf8')) as {
      contributes: { semanticTokenTypes: { id: string }[]; semanticTokenModifiers: { id: string }[]; semanticTokenScopes: { language: string; scopes: Record<string, string[]> }[] };
    };
    const standard = ['property', 'method', 'enumMember', 'number'];
    assert.deepEqual(contributes.semanticTokenTypes.map(({ id }) => id).sort(), tokenTypes.filter((type) => !standard.includes(type)).sort());
    assert.deepEqual(contributes.semanticTokenModifiers.map(({ id }) => id), [...tokenModifiers]);
    assert.deepEqual(tokenTypes.filter((type) => !contributes.semanticTokenScopes[0]?.scopes[type]), []);
  });
});
