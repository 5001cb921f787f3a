import assert from 'node:assert/strict';
import { configCodes } from '../../../server/src/config/codes';
import { schema } from '../../../server/src/config/schema';
import { fixed, found, parse } from './found';

const head = 'version: 1\ncheckpoint: ./m\n';

describe('validation', () => {
  const cases: [text: string, expected: string[]][] = [
    ['', ['error config/empty [] This config is empty. Start with "version: 1" and "checkpoint: <path>".']],
    ['version: 1\n', ['error config/missing-key [v] "checkpoint" is missing. The model: a diffusers folder, a `.safetensors` file or a `.safetensors.index.json`, relative to this file.']],
    ['just text', ['error config/type [just text] This file must be a mapping (key: value).']],
    [`${head}shceme: W4A4\n`, [`error config/unknown-key [shceme] "shceme" is not known here. Known: ${Object.keys(schema.properties ?? {}).join(', ')}.`]],
    [`${head}defaults: { shceme: W4A4 }\n`, ['error config/unknown-key [shceme] "shceme" is not known here. Known: method, scheme, keep. Did you mean "scheme"?']],
    [`${head}defaults: { scheme: W4 }\n`, ['error config/value [W4] A scheme is W<bits>A<bits> with 1 to 8 bits, or 16 to leave that side alone: W4A4, W4A16, W8A8.']],
    [`${head}defaults: { scheme: W9A4 }\n`, ['error config/value [W9A4] A scheme is W<bits>A<bits> with 1 to 8 bits, or 16 to leave that side alone: W4A4, W4A16, W8A8.']],
    [`${head}defaults: { method: orbitqant }\n`, ['error config/unknown-value [orbitqant] "method" must be orbitquant, rtn, q-dit, smoothquant, vidit-q, gptq, quarot, duquant, svdquant, dirotq, lrq-dit or ptq4dit. Did you mean "orbitquant"?']],
    [`${head}defaults: { method: { weights: {} } }\n`, ['error config/missing-key [{] "name" is missing in "method". The method that is the starting point.']],
    [`${head}defaults: { method: [rtn] }\n`, ['error config/type [[rtn]] "method" must be text or a mapping (key: value).']],
    [`${head}defaults: { keep: fp8 }\n`, ['error config/unknown-value [fp8] "keep" must be original, bf16, fp16 or fp32.']],
    [`version: 2\ncheckpoint: m\n`, ['error config/unknown-value [2] "version" must be 1. Did you mean "1"?']],
    [`version: "1"\ncheckpoint: m\n`, ['error config/type ["1"] "version" must be a whole number.']],
    [`version: 1\ncheckpoint: 5\n`, ['error config/type [5] "checkpoint" must be text. Put it in quotes: "5".']],
    [`version: 1\ncheckpoint: " "\n`, ['error config/value [" "] "checkpoint" needs the path of a model: a folder, a .safetensors file or a .safetensors.index.json.']],
    [`version: 1\ncheckpoint:\n`, ['error config/type [] "checkpoint" must be text.']],
    [`${head}rules:\n`, ['error config/type [] "rules" must be a list.']],
    [`${head}rules: [x]\n`, ['error config/type [x] Each entry of "rules" must be a mapping (key: value).']],
    [`${head}rules: [{ keep: bf16 }]\n`, ['error config/missing-key [{] "layers" is missing in an entry of "rules". Layer patterns: `*` matches within one dotted segment, `**` across segments, anchored at both ends; `!pattern` excludes.']],
    [`${head}rules: [{ layers: [], keep: bf16 }]\n`, ['error config/value [[]] "layers" must not be empty.']],
    [`${head}rules: [{ layers: [1, true], keep: bf16 }]\n`, ['error config/type [1] Each entry of "layers" must be text. Put it in quotes: "1".', 'error config/type [true] Each entry of "layers" must be text. Put it in quotes: "true".']],
    [`${head}rules: [{ layers: a, name: "", keep: bf16 }]\n`, ['error config/value [""] "name" must not be empty.']],
    [`${head}defaults: { scheme: W4A4, method: { name: rtn, weights: { group: 0 } } }\n`, ['error config/value [0] "group" must be >= 1.']],
    [`${head}defaults: { scheme: W4A4, method: { name: rtn, weights: { group: rows } } }\n`, ['error config/unknown-value [rows] "group" must be row or tensor. Did you mean "row"?']],
    [`${head}defaults: { scheme: W4A4, method: { name: rtn, rotate: true } }\n`, ['error config/unknown-value [true] "rotate" must be false.']],
    [`${head}budget: { size: 6.9 }\n`, ['error config/type [6.9] "size" must be text or a whole number. Put it in quotes: "6.9".']],
    [`${head}budget: { size: 6.9 gigs }\n`, ['error config/value [6.9 gigs] A size is a number with a unit: 6.9GB, 700 MB, 1.5GiB.']],
    [`${head}budget: { size: 1GB, bits: 4 }\n`, ['error config/value [{ size: 1GB, bits: 4 }] "budget" takes only one of size, bits.']],
    [`${head}budget: {}\n`, ['error config/value [{}] "budget" needs one of size, bits.']],
    [`${head}budget: { bits: 40 }\n`, ['error config/value [40] "bits" must be <= 32.']],
  ];
  for (const [text, expected] of cases) {
    it(JSON.stringify(text), () => {
      assert.deepEqual(found(text), expected);
    });
  }

  it('repairs a misspelt key and value', () => {
    assert.equal(fixed(`${head}defaults: { shceme: W4A4 }\n`), `${head}defaults: { scheme: W4A4 }\n`);
    assert.equal(fixed(`${head}defaults: { keep: bf61 }\n`), `${head}defaults: { keep: bf16 }\n`);
  });

  it('stops at a hundred problems', () => {
    assert.equal(parse(Array.from({ length: 5000 }, (_, i) => `k${i}: 1`).join('\n')).problems.length, 100);
  });

  it('takes its codes from the table, each with meaning and remedy', () => {
    for (const [code, { meaning, remedy }] of Object.entries(configCodes)) {
      assert.match(code, /^(config|plan)\/[a-z-]+$/);
      assert.match(meaning, /^[A-Z`].*\.$/);
      assert.match(remedy, /^[A-Z`].*\.$/);
    }
  });
});
