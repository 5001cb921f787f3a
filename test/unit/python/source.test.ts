/** Python source: what names, values and arguments stand for, without running anything. */
import assert from 'node:assert/strict';
import { numberOf, stringOf } from '../../../server/src/python/literals';
import { PythonSource } from '../../../server/src/python/source';
import type { SyntaxNode } from '../../../server/src/python/source';

/** The call of a name, and the source. */
function callOf(text: string, name: string): { source: PythonSource; call: SyntaxNode } {
  const source = new PythonSource(text);
  const call = source.calls.find(({ firstChild }) => firstChild && source.textOf(firstChild) === name);
  return { source, call: call ?? assert.fail(`no call of ${name}`) };
}

describe('Python source', () => {
  const names: [text: string, callee: string, dotted: string | undefined][] = [
    ['from a.b import C\nC()', 'C', 'a.b.C'], ['from a.b import (C as D,\n  E)  # x\nD()', 'D', 'a.b.C'], ['from a import B, C\nC()', 'C', 'a.C'], ['from .a import B\nB()', 'B', '.a.B'],
    ['import a.b\na.b.C()', 'a.b.C', 'a.b.C'], ['import a.b as q, torch\nq.C()', 'q.C', 'a.b.C'], ['import torch\ntorch.nn.Linear()', 'torch.nn.Linear', 'torch.nn.Linear'],
    ['from a import *\nC()', 'C', 'a.C'], ['C()', 'C', 'C'], ['f()()', 'f()', undefined], ['x[0].C()', 'x[0].C', undefined],
  ];
  for (const [text, callee, dotted] of names) {
    it(`${JSON.stringify(text)}: ${callee} is ${dotted ?? 'unknown'}`, () => {
      const { source, call } = callOf(text, callee);
      assert.equal(source.nameOf(call.firstChild as SyntaxNode), dotted);
    });
  }

  const values: [text: string, value: string | undefined][] = [
    ['x = [1]\nf(x)', '[1]'], ['x = 1\nx = 2\nf(x)\nx = 3', '2'], ['x = y = "a"\nf(x)', '"a"'], ['x: list = [1]\nf(x)', '[1]'], ['def g():\n  x = 2\n  f(x)\nx = 1', '2'], ['def g():\n  f(x)\nx = 1', '1'],
    ['x = 1\ndef g(x):\n  f(x)', undefined], ['x = 1\nx += 2\nf(x)', undefined], ['x, y = 1, 2\nf(x)', undefined], ['for x in [1]:\n  f(x)', undefined], ['f(x)', undefined], ['x: int\nf(x)', undefined], ['with a() as x:\n  f(x)', undefined],
  ];
  for (const [text, value] of values) {
    it(`${JSON.stringify(text)}: x is ${value ?? 'unknown'}`, () => {
      const { source, call } = callOf(text, 'f');
      const found = source.valueOf(source.argumentsOf(call)[0]?.value as SyntaxNode);
      assert.equal(found && source.textOf(found), value);
    });
  }

  it('arguments: by place, by name and spread, comments between', () => {
    const { source, call } = callOf('f(1, # one\n  a=b, *c, **d, lambda: 2)', 'f');
    assert.deepEqual(source.argumentsOf(call).map(({ name, value, spread }) => [name?.text, source.textOf(value), spread]), [[undefined, '1', ''], ['a', 'b', ''], [undefined, 'c', '*'], [undefined, 'd', '**'], [undefined, 'lambda: 2', '']]);
  });

  it('literals', () => {
    const strings: [text: string, value: string | undefined][] = [['"a"', 'a'], ['\'it\\\'s\'', 'it\'s'], ['r"\\d+"', '\\d+'], ['"""a\nb"""', 'a\nb'], ['"\\x41\\u00e9\\n\\q"', 'Aé\n\\q'], ['b"a"', undefined], ['f"a{x}"', undefined], ['f"a"', 'a'], ['"a\\\nb"', 'ab'], ['"open', undefined], ['Rb"x"', undefined]];
    assert.deepEqual(strings.map(([text]) => stringOf(text)), strings.map(([, value]) => value));
    assert.deepEqual(['1_000', '0x10', '1e3', '.5', '3j'].map(numberOf), [1000, 16, 1000, 0.5, undefined]);
  });

  it('reads whatever one types, and ends', () => {
    const text = 'from diffusers import BitsAndBytesConfig as B\nq = B(load_in_4bit=True, llm_int8_skip_modules=["a", \'b\'], x={"k": (1,)})\n';
    for (let at = 0; at < text.length; at++) {
      for (const typed of ['(', '"', '[', '\\', '\n', '*', '=']) {
        const source = new PythonSource(text.slice(0, at) + typed + text.slice(at + 3));
        source.calls.forEach((call) => source.argumentsOf(call));
      }
    }
    assert.ok(new PythonSource(`${'f('.repeat(20_000)}x`).calls.length > 0);
  });
});
