import assert from 'node:assert/strict';
import { remedied } from './linted';

const head = 'version: 1\ncheckpoint: ./m\n';

describe('quick fixes for the text itself', () => {
  it('the second of two equal keys goes', () => {
    const text = `${head}# first\ndefaults: { keep: bf16, keep: fp16 }\ncheckpoint: ./other\nrules:\n  - layers: a\n    keep: bf16\n    layers:\n      - b\n`;
    const after = Object.values(remedied(text, 'config/duplicate-key'));
    assert.deepEqual(after, [text.replace(', keep: fp16', ''), text.replace('checkpoint: ./other\n', ''), text.replace('    layers:\n      - b\n', '')].toSorted((a, b) => after.indexOf(a) - after.indexOf(b)));
  });

  it('keep, or what stands beside it, goes', () => {
    const text = `${head}rules:\n  - layers: a\n    scheme: W4A4 # x\n    # why\n    method: rtn\n    keep: bf16\n`;
    assert.deepEqual(remedied(text, 'config/keep-and-quantize'), {
      'Remove "keep"': text.replace('    keep: bf16\n', ''), 'Remove "scheme" and "method"': text.replace('    scheme: W4A4 # x\n', '').replace('    method: rtn\n', ''),
    });
    remedied(`${head}defaults: { keep: bf16, scheme: W4A4 }\n`, 'config/keep-and-quantize');
    remedied(`${head}rules:\n  - keep: bf16\n    layers: a\n    scheme: W4A4\n`, 'config/keep-and-quantize');
  });

  it('a key of another place goes', () => {
    assert.deepEqual(remedied(`${head}defaults: { scheme: W4A4, nonsense: { a: 1 }, method: rtn }\n`, 'config/unknown-key'), { 'Remove "nonsense"': `${head}defaults: { scheme: W4A4, method: rtn }\n` });
    assert.ok('Remove "alpha"' in remedied(`${head}defaults: { scheme: W4A4, method: { name: rtn, smooth: { kind: absmax, alpha: 1 } } }\n`, 'config/unknown-key'));
    assert.deepEqual(Object.keys(remedied(`${head}defaults:\n  shceme: W4A4\n  method: rtn\n`, 'config/unknown-key')), ['Change to "scheme"', 'Remove "shceme"']);
  });

  it('the version comes first', () => {
    assert.deepEqual(remedied('# mine\ncheckpoint: ./m\n', 'config/missing-key'), { 'Add "version: 1"': '# mine\nversion: 1\ncheckpoint: ./m\n' });
    assert.deepEqual(remedied('{ checkpoint: ./m }', 'config/missing-key'), { 'Add "version: 1"': '{ version: 1, checkpoint: ./m }' });
  });

  it('numbers come back to what is allowed, and text into quotes', () => {
    assert.deepEqual(remedied(`${head}preview: { steps: 0 }\n`, 'config/value'), { 'Change to 1': `${head}preview: { steps: 1 }\n` });
    assert.deepEqual(remedied(`${head}rules: [{ layers: [1], keep: bf16 }]\n`, 'config/type'), { 'Write "1"': `${head}rules: [{ layers: ["1"], keep: bf16 }]\n` });
  });
});
