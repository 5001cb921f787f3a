import assert from 'node:assert/strict';
import { find, parseTree, toValue } from '../../../server/src/config/tree';
import type { TreeNode } from '../../../server/src/config/tree';
import { pick, random } from '../../fixtures/random';
import { documentOf, found, fixed, slice } from './found';

function valueOf(text: string): unknown {
  const { root } = parseTree(documentOf(text));
  return root && JSON.parse(JSON.stringify(toValue(root)));
}

function codesOf(text: string): string[] {
  return parseTree(documentOf(text)).problems.map((problem) => problem.code);
}

describe('syntax tree', () => {
  it('gives keys and values their ranges', () => {
    const text = 'a: 1\nb:\n  c: [x, "y"]\n';
    const { root } = parseTree(documentOf(text));
    const c = find(find(root, 'b')?.value, 'c');
    assert.equal(slice(text, c?.keyRange), 'c');
    assert.equal(slice(text, c?.value.range), '[x, "y"]');
    assert.deepEqual(c?.value.kind === 'list' ? c.value.items.map((item) => slice(text, item.range)) : [], ['x', '"y"']);
  });

  it('counts positions in UTF-16 code units, in CRLF text and behind a byte order mark', () => {
    const text = '\uFEFFa: 1\r\n"𝒳𝒳": {k: "𝒴"}\r\nz: end\r\n';
    const { root } = parseTree(documentOf(text));
    assert.deepEqual(find(find(root, '𝒳𝒳')?.value, 'k')?.value.range, { start: { line: 1, character: 12 }, end: { line: 1, character: 16 } });
    assert.equal(slice(text, find(root, 'z')?.value.range), 'end');
  });

  it('follows aliases: what they bring in stands at their place', () => {
    const text = 'a: &x {k: [1, 2]}\nb: *x\n';
    assert.deepEqual(valueOf(text), { a: { k: [1, 2] }, b: { k: [1, 2] } });
    const { root } = parseTree(documentOf(text));
    assert.equal(slice(text, find(find(root, 'b')?.value, 'k')?.value.range), '*x');
  });

  it('takes the latest anchor of a name', () => {
    assert.deepEqual(valueOf('a: &x 1\nb: *x\nc: &x 2\nd: *x\n'), { a: 1, b: 1, c: 2, d: 2 });
  });

  for (const cycle of ['a: &x [*x]', 'a: &x {b: *x}', 'a: &x\n  b: &y [*x, *y]', '&r a: &x [1, [*x]]']) {
    it(`breaks the cycle in ${JSON.stringify(cycle)}`, () => {
      assert.ok(codesOf(cycle).length > 0 && codesOf(cycle).every((code) => code === 'config/alias'));
      assert.match(parseTree(documentOf(cycle)).problems[0]?.message ?? '', /refers to itself\. Break the cycle/);
    });
  }

  it('refuses aliases that multiply', () => {
    const levels = 'bcdefghi'.split('').map((name, i) => `${name}: &${name} [${Array<string>(9).fill(`*${'abcdefgh'[i] ?? ''}`).join(', ')}]`);
    assert.deepEqual(codesOf(['a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]', ...levels].join('\n')), ['config/too-large']);
  });

  it('reads unquoted patterns as what was meant, and offers the quotes', () => {
    const text = 'rules:\n  - layers: [**.ff.**, !**.net.2, a]\n';
    const { root, problems } = parseTree(documentOf(text));
    const rules = find(root, 'rules')?.value as Extract<TreeNode, { kind: 'list' }>;
    assert.deepEqual(toValue(find(rules.items[0], 'layers')?.value as TreeNode), ['**.ff.**', '!**.net.2', 'a']);
    assert.deepEqual(problems.map((problem) => `${problem.code} ${slice(text, problem.range)}`), ['config/unquoted-pattern **.ff.**', 'config/unquoted-pattern !**.net.2']);
    assert.equal(fixed(text, problems), 'rules:\n  - layers: ["**.ff.**", !**.net.2, a]\n');
    assert.equal(fixed(text, problems.slice(1)), 'rules:\n  - layers: [**.ff.**, "!**.net.2", a]\n');
  });

  it('marks the tag itself where YAML has decoded it', () => {
    const text = 'a: [b, !caf%C3%A9*]\n';
    assert.equal(fixed(text, parseTree(documentOf(text)).problems), 'a: [b, "!caf%C3%A9*"]\n');
  });

  it('keeps the first of two equal keys', () => {
    assert.deepEqual(found('a: 1\nb: 2\na: 3\n', parseTree(documentOf('a: 1\nb: 2\na: 3\n')).problems), ['error config/duplicate-key [a] "a" stands here already. Keep one of the two.']);
    assert.deepEqual(valueOf('a: 1\na: 3\n'), { a: 1 });
  });

  it('holds keys that JavaScript objects have by birth', () => {
    assert.deepEqual(Object.keys(toValue(parseTree(documentOf('__proto__: 1\nconstructor: 2\ntoString: 3')).root as TreeNode) as object), ['__proto__', 'constructor', 'toString']);
  });

  const refused: [name: string, text: string, code: string, message: RegExp][] = [
    ['a tab as indentation', 'rules:\n\t- layers: x\n', 'config/tab', /Indent with spaces/],
    ['10 MB', `a: ${'x'.repeat(10_000_000)}`, 'config/too-large', /holds 9766 KiB of text; .* may hold 256 KiB/],
    ['brackets a thousand deep', '['.repeat(1000), 'config/too-deep', /nested more than 64 deep/],
    ['dashes a thousand deep', '- '.repeat(1000), 'config/too-deep', /nested more than 64 deep/],
    ['indentation of 300 columns', `a:\n${' '.repeat(300)}b: 1`, 'config/too-deep', /nested/],
    ['a value that never ends', 'a: "b\n', 'config/yaml', /Missing closing "quote/],
    ['a bracket that never ends', 'a: [b\n', 'config/yaml', /not valid YAML/],
    ['a second document', 'a: 1\n---\nb: 2\n', 'config/yaml', /second YAML document/],
    ['a mapping as a key', '{a: 1}: 2\n', 'config/yaml', /key must be a plain word/],
    ['a message as long as the file', '!'.repeat(100_000), 'config/yaml', /^.{1,400}$/],
  ];
  for (const [name, text, code, message] of refused) {
    it(`reports ${name}`, () => {
      const problem = parseTree(documentOf(text)).problems[0];
      assert.equal(problem?.code, code);
      assert.equal(problem.severity, 'error');
      assert.match(problem.message, message);
    });
  }

  it('allows blank lines however wide, and indentation as deep as configs are', () => {
    assert.deepEqual(codesOf(`a: 1\n${' '.repeat(400)}\r\n${' '.repeat(400)}\nb: 2\n`), []);
    assert.deepEqual(valueOf('a:\n          b:\n                    c: 1\n'), { a: { b: { c: 1 } } });
  });

  it('never throws, and keeps every range inside of the text, whatever is cut out or put in', () => {
    const base = 'version: 1\ncheckpoint: ./m\ndefaults: {method: orbitquant, scheme: W4A4}\nrules:\n  - name: &n "x"\n    layers: ["**.𝒳*", !a, *n]\n    keep: bf16\nbudget: {size: 1GB}\n';
    const next = random(3);
    const pieces = ['\t', '"', '\'', '[', ']', '{', '}', ':', ': ', '- ', '*a', '&a ', '!', '!!str ', '? ', '|\n', '>', '#', '---\n', '%', '\r', '\u2028', '\ud800', '\0', ',', '<<: *n', '\n'];
    for (let i = 0; i < 3000; i++) {
      let text = base;
      for (let edits = 0; edits < 3; edits++) {
        const at = Math.floor(next() * text.length);
        text = text.slice(0, at) + (next() < 0.7 ? pick(next, pieces) : '') + text.slice(at + Math.floor(next() * 4));
      }
      const document = documentOf(text);
      const { root, problems } = parseTree(document);
      const end = document.positionAt(text.length);
      const inside = ({ start, end: stop }: TreeNode['range']): void => {
        assert.ok(start.line < stop.line || (start.line === stop.line && start.character <= stop.character), JSON.stringify(text));
        assert.ok(stop.line < end.line || (stop.line === end.line && stop.character <= end.character), JSON.stringify(text));
      };
      problems.forEach((problem) => inside(problem.range as TreeNode['range']));
      const visit = (node: TreeNode): void => {
        inside(node.range);
        const children = node.kind === 'map' ? node.entries.map((entry) => entry.value) : node.kind === 'list' ? node.items : [];
        children.forEach(visit);
      };
      if (root) {
        visit(root);
      }
    }
  });
});
