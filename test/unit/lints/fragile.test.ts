import assert from 'node:assert/strict';
import { methods } from '../../../server/src/methods';
import { newConfigText } from '../../../server/src/config/template';
import { publishedModels } from '../../fixtures/architectures';
import { publishedCheckpoint } from '../../fixtures/checkpoints';
import { lintsOf, marks, remedied } from './linted';

const code = 'plan/fragile-low-bits';
const head = 'version: 1\ncheckpoint: ./m\n';
const flux = publishedCheckpoint('FLUX.1-dev');
const dit = publishedCheckpoint('DiT-XL/2-256');

describe('lint: modulation, embedder and final layers at low bits', () => {
  it('says nothing about new configs, by any method, for any model', () => {
    for (const { name } of publishedModels) {
      const checkpoint = publishedCheckpoint(name);
      for (const method of methods.keys()) {
        for (const scheme of ['W4A4', 'W4A16', 'W8A8', 'W4A8', 'W3A3', 'W2A4']) {
          assert.deepEqual(lintsOf(newConfigText(checkpoint, './m', method, scheme), checkpoint).map(({ message }) => `${name} ${method} ${scheme}: ${message}`), []);
        }
      }
    }
  }).timeout(120_000);

  it('marks the scheme that reaches them and offers the rules of the method', () => {
    const text = `${head}defaults: { method: orbitquant, scheme: W4A4 } # everything\n`;
    const found = lintsOf(text, flux);
    assert.deepEqual(marks(text, found), [`${code} [W4A4]`, `${code} [W4A4]`]);
    assert.equal(found[1]?.message, '76 modulation layers get weights as codebook 4 bit, activations as codebook 4 bit: fewer bits than they bear (single_transformer_blocks.*.norm.linear, transformer_blocks.*.norm1.linear, ' +
      'transformer_blocks.*.norm1_context.linear). OrbitQuant usually leaves them at "scheme: W4A16, method: { name: rtn, weights: { group: 64 } }".');
    const after = remedied(text, code, flux);
    assert.equal(after['Add a rule for them: keep: original'], `${text}rules:
  - name: embedders and final layers
    layers: ["context_embedder", "norm_out.linear", "proj_out", "time_text_embed.**", "x_embedder"]
    keep: original
`);
  });

  it('both fixes, one after the other, are the policy of a new config', () => {
    let text = `${head}defaults: { method: orbitquant, scheme: W4A4 }\n`;
    for (let left = lintsOf(text, flux); left.length > 0; left = lintsOf(text, flux)) {
      text = remedied(text, code, flux)[left[0]?.data?.fixes[0]?.title ?? ''] ?? '';
    }
    assert.equal((text.match(/- name/g) ?? []).length, 2);
  });

  it('changes a rule that is about nothing else, and leaves its comments', () => {
    const text = `${head}defaults: { method: orbitquant, scheme: W4A4 }
rules:
  # how blocks are shifted
  - name: modulation # AdaLN
    layers: ["**.norm*.linear"]
    scheme: W4A8 # too few
    method: rtn # no groups
  - { layers: [x_embedder, context_embedder, "time_text_embed.**", "norm_out.**", proj_out], keep: bf16 }
`;
    assert.deepEqual(marks(text, lintsOf(text, flux)), [`${code} [W4A8]`]);
    const [after] = Object.values(remedied(text, code, flux));
    assert.equal(after, text.replace('scheme: W4A8', 'scheme: W4A16').replace('method: rtn', 'method: { name: rtn, weights: { group: 64 } }'));
  });

  it('works in braces', () => {
    const text = `{ version: 1, checkpoint: ./m, defaults: { method: rtn, scheme: W4A16 }, rules: [{ layers: ["**.norm1.**"], keep: original }, { layers: "proj_out_*", scheme: W4A4 }] }\n`;
    assert.deepEqual(marks(text, lintsOf(text, dit)), [`${code} [W4A4]`]);
    assert.deepEqual(Object.values(remedied(text, code, dit)), [text.replace('scheme: W4A4', 'keep: original')]);
    const plain = '{ version: 1, checkpoint: ./m, defaults: { method: rtn, scheme: W4A4 } }\n';
    assert.match(Object.values(remedied(plain, code, dit)).join('\n'), /^\{ rules: \[\{ name: modulation, layers: \["transformer_blocks\.\*\.norm1\.linear"\], scheme: W4A16, method: \{ name: rtn, weights: \{ group: 64 \} \} \}\], version: 1,/m);
  });

  it('points at defaults when the rule has no scheme of its own', () => {
    const text = `${head}defaults: { method: orbitquant, scheme: W4A4 }\nrules:\n  - { layers: ["**.norm*.linear"], method: rtn }\n  - { layers: [x_embedder, context_embedder, "time_text_embed.**", "norm_out.**", proj_out], keep: bf16 }\n`;
    const [problem] = lintsOf(text, flux);
    assert.deepEqual([marks(text, problem ? [problem] : []), problem?.related?.length], [[`${code} [rtn]`], 1]);
    remedied(text, code, flux);
  });

  const rest = '\nrules:\n  - { layers: ["transformer_blocks.*.attn1.*", "transformer_blocks.*.ff.**"], keep: original }\n';
  const cases: [settings: string, low: string[]][] = [
    ['method: rtn, scheme: W8A8', []],
    ['method: rtn, scheme: W8A16', []],
    ['method: rtn, scheme: W8A6', ['modulation', 'embedder and final']],
    ['method: { name: rtn, weights: { group: 64 } }, scheme: W4A16', ['embedder and final']],
    ['method: { name: rtn, weights: { group: 288 } }, scheme: W4A16', ['modulation', 'embedder and final']],
    ['method: { name: rtn, weights: { group: 64 } }, scheme: W3A16', ['modulation', 'embedder and final']],
    ['method: { name: rtn, weights: { kind: float, format: nvfp4 } }, scheme: W4A8', ['embedder and final']],
    ['method: ptq4dit, scheme: W4A8', []], // its paper quantizes everything
    ['keep: bf16', []],
  ];
  for (const [settings, low] of cases) {
    it(`${settings}: ${low.join(', ') || 'nothing'}`, () => {
      const found = lintsOf(`${head}defaults: { ${settings} }${rest}`, dit).filter((problem) => problem.code === code);
      assert.deepEqual(found.map(({ message }) => /^\d+ (.*?) layers/.exec(message)?.[1]).sort(), low.toSorted());
    });
  }
});
