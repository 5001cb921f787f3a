import assert from 'node:assert/strict';
import { compileFnmatch } from '../../../../server/src/config/dialects/fnmatch';
import { compileRegex } from '../../../../server/src/config/dialects/regex';
import { RegexFault } from '../../../../server/src/config/dialects/regexParser';
import type { Flavour } from '../../../../server/src/config/dialects/regexParser';

describe('regular expressions of other tools', () => {
  const search = (pattern: string, text: string, flavour: Flavour = 'python'): boolean => compileRegex(pattern, flavour).search(text);
  const fault = (pattern: string, flavour: Flavour = 'python'): string => {
    try {
      compileRegex(pattern, flavour);
      return 'none';
    } catch (error) {
      assert.ok(error instanceof RegexFault);
      return `${error.unsupported ? 'unsupported' : 'invalid'} at ${error.position}: ${error.message}`;
    }
  };

  it('answer as JavaScript does where both read the same', () => {
    const names = ['transformer_blocks.0.attn.to_q', 'transformer_blocks.10.ff.net.2', 'single_transformer_blocks.1.proj_out', 'proj_out', 'x_embedder', 'a', '', 'all_x_embedder.2-1'];
    const patterns = ['blocks\\.\\d+\\.', '^proj_out$', 'blocks\\.(0|1)\\.', '(?:a|b)*c', '.*norm.*linear', 'to_[qkv]$', '^(?!.*proj_out).*', '\\bproj', 'blocks\\.[0-9]{2,3}\\.', 'blocks\\.1{1}0?\\.', '[^a-z_.]', 'x?', '(x+x+)+y',
      '2-1', '(?<=single_)transformer', '(?<!single_)transformer_blocks', '(a*)*$', 'q|out', '\\w+\\.\\d', '[\\d-]+$', '\\S\\s', '(?=.*ff)(?=.*net)', 'n+?e*?t'];
    for (const pattern of patterns) {
      for (const name of names) {
        const expected = new RegExp(pattern);
        const label = `${pattern} on ${name}`;
        assert.equal(search(pattern, name), expected.test(name), label);
        assert.equal(compileRegex(pattern, 'python').match(name), new RegExp(`^(?:${pattern})`).test(name), label);
        assert.equal(compileRegex(pattern, 'python').full(name), new RegExp(`^(?:${pattern})$`).test(name), label);
        // Something to look around for keeps it from becoming an automaton.
        assert.equal(search(`(?=)(?:${pattern})`, name), expected.test(name), `step by step: ${label}`);
      }
    }
  });

  it('keep what is special to Python and to std::regex', () => {
    assert.equal(search('(?i)PROJ', 'proj_out'), true);
    assert.equal(search('(?P<block>\\d+)\\Z', 'blocks.12'), true);
    assert.equal(search('a{x', 'a{x'), true);
    assert.equal(search('b{,2}c', 'bbc'), true);
    assert.equal(search('[]a]+', ']'), true);
    assert.equal(fault('a{x', 'ecmascript'), 'invalid at 1: "{" starts no quantifier such as {2,3}');
    assert.equal(fault('(?P<n>a)', 'ecmascript'), 'invalid at 1: the group "(?P<" is not known to std::regex');
    assert.equal(fault('(?<=a)b', 'ecmascript'), 'invalid at 1: the group "(?<=" is not known to std::regex');
  });

  it('say what is wrong, and what is right but not read', () => {
    assert.equal(fault('*proj'), 'invalid at 0: nothing to repeat before a quantifier');
    assert.equal(fault('a**'), 'invalid at 3: a quantifier follows a quantifier');
    assert.equal(fault('(a'), 'invalid at 0: a "(" is not closed');
    assert.equal(fault('a)'), 'invalid at 1: a ")" closes nothing');
    assert.equal(fault('[a'), 'invalid at 0: a "[" is not closed');
    assert.equal(fault('\\y'), 'invalid at 0: "\\y" is no escape');
    assert.equal(fault('a{3,2}'), "invalid at 1: the quantifier's upper bound is below its lower one");
    assert.equal(fault('(a)\\1'), 'unsupported at 3: backreferences are not read here');
    assert.equal(fault('a++'), 'unsupported at 3: possessive quantifiers are not read here');
    assert.match(fault('(((a{99}){99}){99}){99}'), /^unsupported .* too many steps$/);
  });

  it('that would need too many states of an automaton are followed step by step', () => {
    const text = Array.from({ length: 4000 }, (_, i) => ((i * i * 7919) % 31 < 15 ? 'a' : 'b')).join('');
    const pattern = '(?:a|b)*a(?:a|b){11}c';
    const regex = compileRegex(pattern, 'python');
    assert.deepEqual([text, `${text}abbbbbbbbbbbc`, `${text}bbbbbbbbbbbbc`].map((each) => regex.full(each)), [false, true, false]);
  });

  it('stay fast on texts that make other engines hang', () => {
    assert.equal(search('(a+)+$', `${'a'.repeat(2000)}b`), false);
    assert.equal(search('(.*)*x(.*)*y', 'x'.repeat(2000)), false);
  });

  it('fnmatch reads a pattern as Python does', () => {
    const match = (pattern: string, name: string): boolean => compileFnmatch(pattern)(name);
    assert.deepEqual(['*proj_out*', 'proj_out', 'to_[qk]', 'to_[!v]', 'to_?', 'a[b', '*.net.2', '[]]', 'x.y', '[a-c]*[0-9]'].map((pattern) =>
      ['x.proj_out.weight', 'to_q', 'to_v', 'a[b', 'ff.net.2', ']', 'xzy', 'proj_out'].filter((name) => match(pattern, name)).join(' ')),
    ['x.proj_out.weight proj_out', 'proj_out', 'to_q', 'to_q', 'to_q to_v', 'a[b', 'ff.net.2', ']', '', '']);
  });
});
