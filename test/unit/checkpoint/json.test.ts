import assert from 'node:assert/strict';
import { Fault, JsonReader, parseJson } from '../../../server/src/checkpoint/json';
import { throwsProblem } from './expect';

function read(text: string): unknown {
  const reader = new JsonReader(text);
  const value = reader.value();
  reader.end();
  return value;
}

describe('strict JSON reader', () => {
  const valid = [
    '{}', '[]', '[[],{}]', ' { "a" : [ 1 , -2.5e-3 , true , false , null , "x" ] } ', '"\\u00e9\\ud83d\\ude00\\n"', '0', '-0', '1E+2', '"\u007f\u2028"', '{"":{"":""}}',
  ];
  for (const text of valid) {
    it(`reads ${text} as JSON.parse does`, () => assert.deepEqual(read(text), JSON.parse(text)));
  }

  const invalid: [text: string, position: number][] = [
    ['', 0], ['{', 1], ['[1,]', 3], ['{"a":1,}', 7], ['{"a" 1}', 5], ['{a:1}', 1], ['[1 2]', 3], ['01', 0], ['1.', 0], ['.5', 0], ['+1', 0], ['NaN', 0], ['Infinity', 0],
    ['nul', 0], ['truex', 0], ['"a', 0], ['"\t"', 1], ['"\\q"', 1], ['"\\u12"', 1], ['"\\', 0], ['1 2', 2], ['\u00a01', 0], ['\'a\'', 0], ['[1]]', 3], ['{"a":1}x', 7],
  ];
  for (const [text, position] of invalid) {
    it(`refuses ${JSON.stringify(text)} at ${position}`, () => {
      assert.throws(() => JSON.parse(text));
      assert.throws(() => read(text), error => error instanceof Fault && error.code === 'checkpoint/json' && error.position === position);
    });
  }

  it('refuses a key that stands twice, however deep', () => {
    assert.throws(() => read('[{"a":{"b":1,"\\u0062":2}}]'), { code: 'checkpoint/duplicate', position: 13 });
  });

  it('keeps __proto__ as plain data', () => {
    const value = read('{"__proto__":{"polluted":true}}') as object;
    assert.equal(Object.getPrototypeOf(value), Object.prototype);
    assert.deepEqual(Object.keys(value), ['__proto__']);
  });

  it('reads whole numbers up to 2^53 − 1 and no further', () => {
    assert.equal(new JsonReader('9007199254740991').integer(), Number.MAX_SAFE_INTEGER);
    assert.equal(new JsonReader(' 0').integer(), 0);
    for (const text of ['9007199254740992', '90071992547409910', '00', '-1', '-0', '1.0', '1e0', '', '"1"', 'null']) {
      assert.throws(() => new JsonReader(text).integer(), { code: 'checkpoint/shape' }, text);
    }
  });

  it('refuses numbers that no double holds', () => {
    assert.throws(() => read('[1e999]'), { message: 'the number 1e999 is out of range', position: 1 });
    assert.throws(() => read('-1e999'), { position: 0 });
  });

  it('bounds nesting at 64 levels', () => {
    assert.ok(read('['.repeat(64) + ']'.repeat(64)));
    assert.throws(() => read('['.repeat(65) + ']'.repeat(65)), { message: /nested deeper than 64 levels/, position: 64 });
    assert.throws(() => read('{"a":'.repeat(1_000_000)), /nested deeper/);
  });

  it('names the byte, not the character', () => {
    throwsProblem(() => parseJson('config.json', Buffer.from('{"é":?}'), 'checkpoint/config'), 'checkpoint/config', /^config\.json: byte 6: unexpected "\?"/);
    throwsProblem(() => parseJson('config.json', Buffer.from('{"é":NaN}'), 'checkpoint/config'), 'checkpoint/config', /byte 6/);
  });
});
