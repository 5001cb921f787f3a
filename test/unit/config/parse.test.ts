import assert from 'node:assert/strict';
import { maxPatterns } from '../../../server/src/config/parse';
import { thresholdsOf } from '../../../server/src/config/thresholds';
import { configOf, found, parse, slice } from './found';

describe('parse', () => {
  const text = [
    'version: 1', 'checkpoint: "./FLUX.1-dev"', 'defaults: { method: orbitquant, scheme: W4A4 }', 'rules:',
    '  - name: modulation', '    layers: ["**.norm*.linear", \'!**.x\']', '    scheme: W4A16', '    method: { name: rtn, weights: { group: 64 } }',
    '  - layers: proj_out', '    keep: bf16', 'budget: { size: 6.9GB }', '',
  ].join('\n');

  it('reads every value with its range', () => {
    const { config, problems } = parse(text);
    assert.deepEqual(problems, []);
    assert.equal(config.checkpoint?.value, './FLUX.1-dev');
    assert.equal(slice(text, config.checkpoint.range), '"./FLUX.1-dev"');
    assert.deepEqual(config.defaults.scheme?.value, { weightBits: 4, activationBits: 4 });
    assert.deepEqual(config.defaults.method?.value, { name: 'orbitquant' });
    const [first, second] = config.rules;
    assert.deepEqual(first?.layers.map(({ value, range }) => [value, slice(text, range)]), [['**.norm*.linear', '"**.norm*.linear"'], ['!**.x', '\'!**.x\'']]);
    assert.equal(slice(text, first?.layersRange), '["**.norm*.linear", \'!**.x\']');
    assert.equal(slice(text, first?.layersKey), 'layers');
    assert.deepEqual(first?.method?.value, { name: 'rtn', weights: { group: 64 } });
    assert.deepEqual([second?.index, second?.name, second?.layers[0]?.value, second?.keep?.value], [1, 'rule 2', 'proj_out', 'bf16']);
    assert.deepEqual(config.budget?.value, { bytes: 6_900_000_000 });
  });

  it('reads thresholds of findings, and leaves out what the schema refuses', () => {
    assert.deepEqual(configOf('findings: { deviation: 2, activationKs: 0.1, salienceCorrelation: -0.2 }').findings?.value, { deviation: 2, activationKs: 0.1, salienceCorrelation: -0.2 });
    const wrong = parse('version: 1\ncheckpoint: ./m\nfindings: { deviation: 0.5, energyShare: 2, tailMas: 1, rho: high, salientChannel: 50 }');
    assert.deepEqual(wrong.problems.map(({ message }) => message.replace(/ Known:.*Did/, ' Did')).sort(), [
      '"deviation" must be >= 1.', '"energyShare" must be <= 1.', '"rho" must be a number.', '"tailMas" is not known here. Did you mean "tailMass"?',
    ]);
    assert.deepEqual(wrong.config.findings?.value, { salientChannel: 50 });
    assert.equal(thresholdsOf(wrong.config.findings?.value).salientChannel, 50);
    assert.equal(thresholdsOf(wrong.config.findings?.value).deviation, 1.25);
  });

  it('reads how a preview runs, and leaves out what the schema refuses', () => {
    assert.deepEqual(configOf('preview: { prompts: [a fox, p.safetensors], width: 512, height: 256, frames: 9, decoder: ./taesd, guidance: 0, steps: 4, seed: 1, mode: free, compareSteps: 2 }').preview?.value,
      { prompts: ['a fox', 'p.safetensors'], width: 512, height: 256, frames: 9, decoder: './taesd', guidance: 0, steps: 4, seed: 1, mode: 'free', compareSteps: 2 });
    const wrong = parse(`version: 1\ncheckpoint: ./m\npreview: { prompts: [5], width: wide, frames: 0, decoder: " ", guidance: -1, heigth: 5, classes: [${'1,'.repeat(65)}] }`);
    assert.deepEqual(wrong.problems.map(({ code, message }) => `${code} ${message}`).sort(), [
      'config/type "width" must be a whole number.',
      'config/type Each entry of "prompts" must be text. Put it in quotes: "5".',
      'config/unknown-key "heigth" is not known here. Known: classes, prompts, width, height, frames, decoder, steps, seed, guidance, mode, compareSteps. Did you mean "height"?',
      'config/value "classes" holds more than 64 entries. Remove some.',
      'config/value "decoder" is vae, or the path of a tiny decoder.',
      'config/value "frames" must be >= 1.',
      'config/value "guidance" must be >= 0.',
    ]);
    assert.deepEqual(wrong.config.preview?.value.prompts, []);
  });

  it('gives the same ranges in CRLF text', () => {
    const windows = text.replaceAll('\n', '\r\n');
    assert.deepEqual(parse(windows).problems, []);
    assert.equal(slice(windows, parse(windows).config.rules[1]?.layers[0]?.range), 'proj_out');
  });

  const overrides: [written: string, expected: object][] = [
    ['{ name: orbitquant, rotate: false }', { name: 'orbitquant', rotate: false }],
    ['{ name: rtn, rotate: { kind: rpbh, seed: 7 } }', { name: 'rtn', rotate: { kind: 'rpbh', seed: 7 } }],
    ['{ name: rtn, rotate: { kind: rpbh } }', { name: 'rtn', rotate: { kind: 'rpbh', seed: 0 } }],
    ['{ name: rtn, weights: { symmetric: false, scale: fp32, group: tensor }, activations: { kind: codebook, norm: bf16 } }',
      { name: 'rtn', weights: { symmetric: false, scale: 'fp32', group: 'tensor' }, activations: { kind: 'codebook', norm: 'bf16' } }],
  ];
  for (const [written, expected] of overrides) {
    it(`method: ${written}`, () => {
      assert.deepEqual(configOf(`defaults: { scheme: W4A4, method: ${written} }`).defaults.method?.value, expected);
    });
  }

  const budgets: [written: string, expected: object | undefined][] = [
    ['{ size: 700 MB }', { bytes: 700e6 }], ['{ size: 1.5GiB }', { bytes: 1.5 * 2 ** 30 }], ['{ size: 12 }', { bytes: 12 }], ['{ size: 3kB }', { bytes: 3000 }], ['{ bits: 4.5 }', { bits: 4.5 }],
    ['{ size: 6.9 }', undefined], ['{ size: 5 parsecs }', undefined], ['{ size: 5constructor }', undefined], ['{ size: "-1GB" }', undefined], ['{ bits: 0 }', undefined], ['{ bits: .nan }', undefined], ['{}', undefined], ['12', undefined],
  ];
  for (const [written, expected] of budgets) {
    it(`budget: ${written} is ${expected ? JSON.stringify(expected) : 'no budget, and reported'}`, () => {
      const { config, problems } = parse(`version: 1\ncheckpoint: m\nbudget: ${written}\n`);
      assert.deepEqual(config.budget?.value, expected);
      assert.equal(problems.length === 0, expected !== undefined, JSON.stringify(problems));
    });
  }

  it('reads what is sound of a broken rule list', () => {
    const { config } = parse('rules:\n  - 5\n  - layers: [a, 1, [b], {c: d}, null]\n  -\n  - keep: bf16\n');
    assert.deepEqual(config.rules.map((rule) => [rule.index, rule.layers.map((layer) => layer.value)]), [[0, ['a']], [1, []]]);
  });

  for (const empty of ['', '\n\n', '# only a comment\n', '---\n', 'rules:\n', 'rules: null\ndefaults: ~\n', 'defaults: 5\nrules: {}\nbudget: []\n']) {
    it(`makes an empty config of ${JSON.stringify(empty)} and says so`, () => {
      const { config, problems } = parse(empty);
      assert.deepEqual(config.rules, []);
      assert.equal(config.defaults.method, undefined);
      assert.ok(problems.length > 0);
    });
  }

  it('reports keep beside scheme or method, in defaults and in rules', () => {
    const conflict = 'version: 1\ncheckpoint: m\ndefaults: { keep: bf16, method: rtn }\nrules:\n  - layers: a\n    keep: bf16\n    scheme: W4A4\n';
    assert.deepEqual(found(conflict).map((line) => line.slice(0, 47)), ['error config/keep-and-quantize [method] "keep" ', 'error config/keep-and-quantize [scheme] "keep" ']);
  });

  it('leaves out patterns above the limit, and says where they start', () => {
    const list = (from: number, count: number): string => `[${Array.from({ length: count }, (_, i) => `p${from + i}`).join(', ')}]`;
    const many = `version: 1\ncheckpoint: m\nrules:\n  - layers: ${list(0, 4000)}\n    keep: bf16\n  - layers: ${list(4000, 200)}\n    keep: bf16\n  - layers: z\n    keep: bf16\n`;
    const { config, problems } = parse(many);
    assert.equal(config.rules.reduce((sum, rule) => sum + rule.layers.length, 0), maxPatterns);
    assert.deepEqual(config.rules.map((rule) => rule.layers.length), [4000, 96, 0]);
    assert.deepEqual(problems.map((problem) => [problem.code, slice(many, problem.range)]), [['config/too-large', 'p4096']]);
  });
});
