import assert from 'node:assert/strict';
import { TextDocument } from 'vscode-languageserver-textdocument';
import type { CodeAction } from 'vscode-languageserver-types';
import { parseConfig } from '../../../server/src/config/parse';
import { resolvePlan } from '../../../server/src/config/resolve';
import { toValue } from '../../../server/src/config/tree';
import type { Model } from '../../../server/src/language/model';
import { refactorKinds, refactors, resolveRefactor } from '../../../server/src/language/refactor';
import type { RefactorOptions } from '../../../server/src/language/refactor';
import type { Checkpoint } from '../../../server/src/protocol';
import { layersNamed, publishedCheckpoint } from '../../fixtures/checkpoints';
import { modelOf } from './models';

const checkpoint = layersNamed(...[0, 1, 2].flatMap((block) => ['attn.to_q', 'attn.to_k', 'ff.up'].map((name) => `blocks.${block}.${name}`)), 'out');
const head = 'version: 1\ncheckpoint: m\ndefaults: { method: rtn, scheme: W8A8 }\n';
const all: RefactorOptions = { wanted: () => true, lazy: false, disabled: true };

interface Offered { titles: string[]; actions: CodeAction[]; model: Model; /** The text behind the head after the action whose title starts so. */ after(title: string): string }

/** At the `|`, or over what stands between two of them. */
function offered(marked: string, options: Partial<RefactorOptions> = {}, of: Checkpoint | null = checkpoint): Offered {
  const [from = 0, to = from] = [...marked.matchAll(/\|/g)].map(({ index }, i) => head.length + index - i);
  const model = modelOf(head + marked.replaceAll('|', ''), of ? { checkpoint: of } : {});
  const actions = refactors(model, { start: model.document.positionAt(from), end: model.document.positionAt(to) }, { ...all, ...options });
  return {
    titles: actions.map(({ title, disabled }) => (disabled ? `${title} [${disabled.reason}]` : title)), actions, model,
    after: (title) => {
      const action = actions.find((each) => each.title.startsWith(title) && each.edit);
      assert.ok(action, `no "${title}" among ${actions.map((each) => each.title).join(' / ')}`);
      const text = applied(model, action);
      assert.equal(text.slice(0, head.length), head);
      return text.slice(head.length);
    },
  };
}

function applied({ document }: Model, { edit }: CodeAction): string {
  return TextDocument.applyEdits(document, edit?.changes?.[document.uri] ?? []);
}

describe('splitting a rule', () => {
  const text = 'rules:\n  - name: some # why\n    layers: ["**.to_q", |"**.up", "!blocks.1.**"]\n    method: { name: rtn, weights: { group: 4 } }\n  - { layers: out, keep: bf16 }\n';
  const cases: [title: string, after: string][] = [
    ['Split "some" into one rule per pattern',
      'rules:\n  - name: some # why\n    layers: ["**.to_q", "!blocks.1.**"]\n    method: { name: rtn, weights: { group: 4 } }\n' +
      '  - name: "some: **.up"\n    layers: ["**.up", "!blocks.1.**"]\n    method: { name: rtn, weights: { group: 4 } }\n  - { layers: out, keep: bf16 }\n'],
    ['Split "some" before "**.up"',
      'rules:\n  - name: some # why\n    layers: ["**.to_q", "!blocks.1.**"]\n    method: { name: rtn, weights: { group: 4 } }\n' +
      '  - name: "some (2)"\n    layers: ["**.up", "!blocks.1.**"]\n    method: { name: rtn, weights: { group: 4 } }\n  - { layers: out, keep: bf16 }\n'],
    ['Split "some" by block (2 rules)',
      'rules:\n  - name: some # why\n    layers: ["blocks.0.attn.to_q", "blocks.0.ff.up"]\n    method: { name: rtn, weights: { group: 4 } }\n' +
      '  - name: "some: blocks.2"\n    layers: ["blocks.2.attn.to_q", "blocks.2.ff.up"]\n    method: { name: rtn, weights: { group: 4 } }\n  - { layers: out, keep: bf16 }\n'],
  ];
  for (const [title, after] of cases) {
    it(title, () => assert.equal(offered(text).after(title), after));
  }

  it('by role', () => {
    const { after } = offered('rules:\n  - layers: "single_transformer_blocks.0.|**"\n    keep: bf16\n', {}, publishedCheckpoint('FLUX.1-dev'));
    const split = after('Split "rule 1" by role (6 rules)');
    assert.match(split, /^rules:\n(?: {2}- layers: \["single_transformer_blocks\.0\.[\w.]+"\]\n {4}keep: bf16\n){6}$/);
  });

  it('in braces, in lines, and with CRLF', () => {
    assert.equal(offered('rules: [{ layers: [|a, out], keep: bf16 }, { layers: x }]\n').after('Split "rule 1" into'), 'rules: [{ layers: [a], keep: bf16 }, { layers: ["out"], keep: bf16 }, { layers: x }]\n');
    assert.equal(offered('rules:\n  - layers:\n      - a # |\n').titles.filter((title) => title.startsWith('Split')).length, 0);
    assert.equal(offered('rules:\n  - layers:\n    - \'a\'\n    - o|ut\n    method:\n      name: rtn\n      weights:\n        group: 4').after('Split "rule 1" into'),
      'rules:\n  - layers:\n    - \'a\'\n    method:\n      name: rtn\n      weights:\n        group: 4\n  - layers: ["out"]\n    method:\n      name: rtn\n      weights:\n        group: 4\n');
    assert.equal(offered('rules:\r\n  - { layers: [a, |out], keep: bf16 }\r\n').after('Split "rule 1" before'), 'rules:\r\n  - { layers: [a], keep: bf16 }\r\n  - { layers: ["out"], keep: bf16 }\r\n');
  });

  it('uses a method that has a name by its name', () => {
    assert.equal(offered('rules:\n  - layers: [|a, out]\n    method: &m { name: rtn }\n').after('Split "rule 1" into'), 'rules:\n  - layers: [a]\n    method: &m { name: rtn }\n  - layers: ["out"]\n    method: *m\n');
  });

  it('says why it cannot be done', () => {
    assert.match(offered('rules:\n  - layers: [|a, # first\n      out]\n').titles[1] ?? '', /^Split "rule 1" into one rule per pattern \[There are comments between its patterns/);
    assert.deepEqual(offered('rules:\n  - layers: [|a, # first\n      out]\n', { disabled: false }).titles.filter((title) => title.startsWith('Split')), []);
  });
});

describe('merging rules', () => {
  it('takes the patterns of both, exclusions last', () => {
    assert.equal(offered('rules:\n  - name: one|\n    layers: [a, "!b"]\n    keep: bf16\n\n  - name: two\n    layers: "**.up"\n    keep: bf16\n').after('Merge with the next rule, "two"'),
      'rules:\n  - name: one\n    layers: [a, "**.up", "!b"]\n    keep: bf16\n\n');
  });

  it('is offered only where the two say the same and the plan stays', () => {
    const merges = (rules: string, of: Checkpoint | null = checkpoint): number => offered(rules, {}, of).titles.filter((title) => title.startsWith('Merge')).length;
    assert.equal(merges('rules:\n  - { layers: out|, keep: bf16 }\n  - { layers: a, keep: fp16 }\n'), 0);
    assert.equal(merges('rules:\n  - { layers: out, keep: bf16 }\n  - { layers: a|, keep: bf16 }\n'), 0, 'the last');
    const excluded = 'rules:\n  - { layers: ["**.up|", "!out"], keep: bf16 }\n  - { layers: out, keep: bf16 }\n';
    assert.equal(merges(excluded), 0, 'out would be lost');
    assert.equal(merges(excluded, null), 0, 'without a checkpoint nobody knows');
    assert.equal(merges('rules:\n  - { layers: out|, keep: bf16 }\n  - { layers: a, keep: bf16 }\n', null), 1);
  });

  it('loses no comment', () => {
    assert.match(offered('rules:\n  - { layers: o|ut, keep: bf16 }\n  # two\n  - { layers: a, keep: bf16 }\n').titles.at(-2) ?? '', /^Merge .* \[Comments of the two rules would be lost/);
  });
});

describe('patterns and names', () => {
  it('finds the shortest pattern for what is selected', () => {
    const names = '"blocks.0.attn.to_q", "blocks.1.attn.to_q", "blocks.2.attn.to_q"';
    assert.equal(offered(`rules:\n  - layers: [out, |${names}|]\n    keep: bf16\n`).after('Replace the selected 3 patterns with "blocks.*.attn.to_q" (3 layers)'), 'rules:\n  - layers: [out, "blocks.*.attn.to_q"]\n    keep: bf16\n');
    assert.equal(offered(`rules:\n  - layers: [|${names}, out]\n    keep: bf16\n`).after('Replace these 4 patterns with 2 that take the same (4 layers)'), 'rules:\n  - layers: ["blocks.*.attn.to_q", out]\n    keep: bf16\n');
    assert.equal(offered('rules:\n  - layers:\n      - out\n      - |blocks.0.ff.up\n      - blocks.1.ff.up\n      - "blocks.2.ff.up"| # last\n    keep: bf16\n').after('Replace the selected 3'),
      'rules:\n  - layers:\n      - out\n      - "blocks.*.ff.up" # last\n    keep: bf16\n');
  });

  it('may take what the rule excludes', () => {
    assert.equal(offered('rules:\n  - layers: [|"blocks.0.ff.up", "blocks.1.ff.up"|, "!blocks.2.**"]\n    keep: bf16\n').after('Replace the selected'), 'rules:\n  - layers: ["blocks.*.ff.up", "!blocks.2.**"]\n    keep: bf16\n');
  });

  it('offers nothing that is no shorter, and says what stands in the way', () => {
    const replaces = (value: string): string[] => offered(`rules:\n  - layers: ${value}\n    keep: bf16\n`).titles.filter((title) => title.startsWith('Replace the') );
    assert.deepEqual(replaces('[|"**.up", out|]'), []);
    assert.deepEqual(replaces('[|out|]'), []);
    assert.deepEqual(replaces('[|nothing, none|]'), []);
    assert.match(replaces('[|"blocks.0.ff.up", "!out", "blocks.1.ff.up", "blocks.2.ff.up"|]')[0] ?? '', /\[Exclusions stand between/);
    assert.match(replaces('[|"blocks.0.ff.up", # a\n      "blocks.1.ff.up", "blocks.2.ff.up"|]')[0] ?? '', /\[Comments stand between/);
  });

  const expanded: [value: string, after: string][] = [
    ['["**.u|p", out]', '[blocks.0.ff.up, blocks.1.ff.up, blocks.2.ff.up, out]'], ['"**.u|p"', '[blocks.0.ff.up, blocks.1.ff.up, blocks.2.ff.up]'], ['["**", "!**.u|p"]', '["**", "!blocks.0.ff.up", "!blocks.1.ff.up", "!blocks.2.ff.up"]'],
    ['"o*|t"', 'out'], ['\n      - "**.up|" # all\n      - out', '\n      - blocks.0.ff.up\n      - blocks.1.ff.up\n      - blocks.2.ff.up # all\n      - out'],
  ];
  for (const [value, after] of expanded) {
    it(`expands ${JSON.stringify(value)}`, () => {
      const rule = (layers: string): string => `rules:\n  - layers:${layers.startsWith('\n') ? '' : ' '}${layers}\n    keep: bf16\n`;
      assert.equal(offered(rule(value)).after('Replace "'), rule(after));
    });
  }
});

describe('presets', () => {
  const method = '{ name: rtn, weights: { group: 4 } }';
  const rules = `rules:\n  - layers: out\n    method: ${method}\n  - layers: a\n    method:\n      name: rtn\n      weights: { group: |4 }\n    scheme: W4A4\n  - layers: b\n    method: ${method}\n`;

  it('names a method where it stands first, and uses the name where the same is said', () => {
    assert.equal(offered(rules).after('Name this method &rtn-g4, and use it in 2 places more'), `rules:\n  - layers: out\n    method: &rtn-g4 ${method}\n  - layers: a\n    method: *rtn-g4\n    scheme: W4A4\n  - layers: b\n    method: *rtn-g4\n`);
  });

  it('uses the name that is there, and no name twice', () => {
    assert.equal(offered(rules.replace('method: {', 'method: &mine {')).after('Use &mine in 2 places that say the same'), `rules:\n  - layers: out\n    method: &mine ${method}\n  - layers: a\n    method: *mine\n    scheme: W4A4\n  - layers: b\n    method: *mine\n`);
    assert.match(offered('rules:\n  - layers: &rtn [out]\n    method: { name: |rtn }\n').after('Name this method &rtn-2'), /method: &rtn-2 \{ name: rtn \}/);
    assert.deepEqual(offered('rules:\n  - layers: out\n    method: &x { name: |rtn }\n').titles.filter((title) => /^(Use|Name)/.test(title)), []);
    assert.deepEqual(offered('rules:\n  - layers: out\n    method: rt|n\n').titles.filter((title) => /^(Use|Name)/.test(title)), []);
  });

  it('leaves alone what has comments of its own', () => {
    assert.equal(offered(`rules:\n  - layers: out\n    method: { name: |rtn }\n  - layers: a\n    method:\n      # why\n      name: rtn\n`).after('Name this method &rtn'), 'rules:\n  - layers: out\n    method: &rtn { name: rtn }\n  - layers: a\n    method:\n      # why\n      name: rtn\n');
  });

  it('writes a name out', () => {
    const named = (value: string): string => `rules:\n  - layers: out\n    method: &m${value}\n  - layers: a\n    method: *|m # here\n  - layers: b\n    method: *m\n`;
    const after = (value: string): string => offered(named(value)).after('Write *m out here').split('\n').find((line) => line.includes('# here')) ?? '';
    assert.equal(after(' { name: rtn }'), '    method: { name: rtn } # here');
    assert.equal(after('\n      name: rtn\n      weights:\n        group: 4'), '    method: { name: rtn, weights: { group: 4 } } # here');
    assert.equal(after(' gptq'), '    method: gptq # here');
    assert.equal(offered('rules:\n  - layers: &l\n    - out\n    - \'b\'\n    keep: bf16\n  - { layers: *l|, keep: fp16 }\n').after('Write *l out here').split('\n').at(-2), '  - { layers: [out, \'b\'], keep: fp16 }');
    assert.equal(after('\n      # c\n      name: rtn # d'), '    method: { name: rtn } # here');
    assert.match(offered(named(' { name: &n rtn }')).titles.at(-1) ?? '', /^Write \*m out here \[What it stands for has names inside/);
  });
});

describe('moving a rule', () => {
  const rules = 'rules:\n  # first\n  - name: one\n    layers: ["blocks.0.**"]\n    keep: bf16\n    # of one\n\n  # second\n  - name: two\n    layers: ["**.up"]|\n    keep: fp16\n  - { layers: out, keep: bf16 }\n';

  it('takes its comments along and says what changes', () => {
    assert.equal(offered(rules).after('Move "two" up: "one" then decides 1 layer'),
      'rules:\n  # second\n  - name: two\n    layers: ["**.up"]\n    keep: fp16\n\n  # first\n  - name: one\n    layers: ["blocks.0.**"]\n    keep: bf16\n    # of one\n  - { layers: out, keep: bf16 }\n');
    assert.equal(offered(rules).after('Move "two" down, which changes no layer').split('\n').slice(-6).join('\n'), '  - { layers: out, keep: bf16 }\n  # second\n  - name: two\n    layers: ["**.up"]\n    keep: fp16\n');
  });

  it('in braces, and at the end of a file without a line end', () => {
    assert.equal(offered('rules: [{ layers: out|, keep: bf16 }, { layers: a, keep: fp16 }]\n').after('Move "rule 1" down'), 'rules: [{ layers: a, keep: fp16 }, { layers: out, keep: bf16 }]\n');
    assert.equal(offered('rules:\n  - layers: out|\n  - layers: a').after('Move "rule 1" down'), 'rules:\n  - layers: a\n  - layers: out');
    assert.equal(offered('rules:\r\n  - layers: out|\r\n\r\n  - layers: a\r\n').after('Move "rule 1" down'), 'rules:\r\n  - layers: a\r\n\r\n  - layers: out\r\n');
  });

  it('never puts a name behind its use', () => {
    assert.deepEqual(offered('rules:\n  - { layers: out, method: &m { name: rtn } }\n  - { layers: a|, method: *m }\n').titles.filter((title) => title.startsWith('Move')), []);
  });
});

describe('refactorings as code actions', () => {
  const text = 'rules:\n  - name: one\n    layers: ["blocks.*.attn.*", "blocks.0.ff.up", "!blocks.2.**"]\n    method: { name: rtn, weights: { group: 4 } }\n  # c\n  - layers:\n      - blocks.1.ff.up\n      - blocks.2.ff.up\n    scheme: W4A4\n  - layers: [out]\n    scheme: W4A4\n  - { layers: out, method: { name: rtn, weights: { group: 4 } }, scheme: W4A16 }\n';

  it('keep the plan, wherever they are taken, and the values where nothing else is promised', () => {
    const before = modelOf(head + text, { checkpoint });
    let taken = 0;
    for (let at = 0; at < text.length; at += 7) {
      const { actions, model } = offered(`${text.slice(0, at)}|${text.slice(at)}`);
      for (const action of actions.filter(({ edit, kind }) => edit && kind !== 'refactor.move')) {
        const { config, root, problems } = parseConfig(TextDocument.create('file:///x', '', 1, applied(model, action)));
        assert.equal(resolvePlan(config, checkpoint).hash, before.plan?.hash, action.title);
        assert.deepEqual(problems, [], action.title);
        if (action.kind === 'refactor.extract') {
          assert.deepEqual(root && JSON.stringify(toValue(root)), JSON.stringify(toValue(before.parsed.root ?? assert.fail())));
        }
        taken++;
      }
    }
    assert.ok(taken > 60, String(taken));
  });

  it('come by kind', () => {
    const kinds = (only: string): string[] => [...new Set(offered(text.replace('group: 4', 'group: |4'), { wanted: (kind) => kind === only || kind.startsWith(`${only}.`) }).actions.map(({ kind }) => kind ?? ''))];
    assert.deepEqual(kinds('refactor').sort(), ['refactor.extract', 'refactor.move', 'refactor.rewrite']);
    assert.deepEqual(kinds('refactor.extract'), ['refactor.extract']);
    assert.deepEqual(kinds('quickfix'), []);
    assert.deepEqual(refactorKinds.filter((kind) => !kind.startsWith('refactor.')), []);
  });

  it('are computed when chosen in a long file, and refused when the text has changed', () => {
    const long = `${text.replace('name: one', 'name: one|')}  # ${'x'.repeat(20_000)}\n`;
    const { actions, model } = offered(long, { lazy: true });
    const action = actions.find(({ title }) => title.startsWith('Split'));
    assert.ok(action && action.edit === undefined);
    const resolved = resolveRefactor(model, JSON.parse(JSON.stringify(action)) as CodeAction);
    assert.match(applied(model, resolved ?? assert.fail()), /name: "one: blocks\.0\.ff\.up"/);
    assert.equal(resolveRefactor(modelOf(head), action), undefined);
    assert.ok(offered(long).actions.every(({ edit, disabled }) => edit ?? disabled));
  });

  it('are none in a text that is no config', () => {
    for (const broken of ['rules: 1|\n', 'rules: [*|x]\n', '[|\n', 'rules:\n  - |\n']) {
      assert.deepEqual(offered(broken).titles, [], broken);
    }
  });
});
