/** What the command line prints, the editor's tasks and GitHub's workflows read. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describeProblem } from '../../server/src/cli/command';
import type { Problem, Severity } from '../../server/src/protocol';

interface Pattern { regexp: string; file: number; line: number; column: number; severity?: number; code: number; message: number }

const root = resolve(__dirname, '../..');
const read = (name: string): unknown => JSON.parse(readFileSync(resolve(root, name), 'utf8'));
const editor = (read('package.json') as { contributes: { problemMatchers: { name: string; pattern: Pattern }[] } }).contributes.problemMatchers[0]?.pattern;
const github = (read('schemas/problem-matcher.json') as { problemMatcher: { severity?: string; pattern: Pattern[] }[] }).problemMatcher;

describe('problem matchers', () => {
  const message = (severity: Severity, code: string): string => describeProblem({ severity, code, message: 'a: b', range: { start: { line: 4, character: 8 }, end: { line: 4, character: 9 } } } satisfies Problem, '/a folder/x:1.quant.yaml');
  const parts = (pattern: Pattern | undefined, text: string): unknown[] | undefined => {
    const match = pattern && new RegExp(pattern.regexp).exec(text);
    return match ? [pattern.file, pattern.line, pattern.column, pattern.code, pattern.message, ...pattern.severity === undefined ? [] : [pattern.severity]].map((group) => match[group]) : undefined;
  };

  it('take a message apart', () => {
    const text = message('warning', 'ct/group-width');
    assert.equal(text, '/a folder/x:1.quant.yaml:5:9: warning ct/group-width: a: b');
    const found = ['/a folder/x:1.quant.yaml', '5', '9', 'ct/group-width', 'a: b', 'warning'];
    assert.deepEqual([parts(editor, text), parts(github[0]?.pattern[0], text), parts(github[1]?.pattern[0], text)], [found, found, undefined]);
  });

  it('give GitHub its own word for what is no warning', () => {
    for (const severity of ['info', 'hint'] as const) {
      const text = message(severity, 'plan/uncovered');
      assert.deepEqual([parts(editor, text)?.at(-1), parts(github[0]?.pattern[0], text), parts(github[1]?.pattern[0], text)?.length, github[1]?.severity], [severity, undefined, 5, 'notice']);
    }
  });
});
