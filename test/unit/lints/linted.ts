/** Lints of inline texts, and what their quick fixes make of them. */
import assert from 'node:assert/strict';
import { parseConfig } from '../../../server/src/config/parse';
import { resolvePlan } from '../../../server/src/config/resolve';
import { lintConfig } from '../../../server/src/lints';
import type { Facts } from '../../../server/src/lints';
import type { Checkpoint, Problem } from '../../../server/src/protocol';
import { applied, documentOf, slice } from '../config/found';

const nothing: Facts = { preview: [], loras: [] };

export function lintsOf(text: string, checkpoint?: Checkpoint, facts: Partial<Facts> = {}): Problem[] {
  const document = documentOf(text);
  const parsed = parseConfig(document);
  const plan = checkpoint && resolvePlan(parsed.config, checkpoint);
  return lintConfig(document, { parsed, checkpoint, plan, problems: [...parsed.problems, ...plan?.problems ?? []] }, { ...nothing, ...facts });
}

/** `code [text under the range]` */
export function marks(text: string, problems: readonly Problem[]): string[] {
  return problems.map(({ code, range }) => `${code} [${slice(text, range)}]`);
}

/**
 * Applies every quick fix of the problems with this code, in Unix and in Windows line ends: the problem is gone, nothing else has become an error, and comments on lines of their own are all there.
 * @returns by title the text after the fix
 */
export function remedied(text: string, code: string, checkpoint?: Checkpoint, facts: Partial<Facts> | ((text: string) => Partial<Facts>) = {}): Record<string, string> {
  const found = (each: string): Problem[] => lintsOf(each, checkpoint, typeof facts === 'function' ? facts(each) : facts);
  const problems = found(text).filter((problem) => problem.code === code);
  assert.ok(problems.length > 0, `no ${code}`);
  const after: Record<string, string> = {};
  const windows = text.replaceAll('\n', '\r\n');
  const there = found(windows).filter((problem) => problem.code === code);
  for (const [index, problem] of problems.entries()) {
    for (const [nth, fix] of (problem.data?.fixes ?? []).entries()) {
      const result = applied(text, fix);
      const left = found(result);
      assert.ok(!left.some((each) => each.code === code && each.message === problem.message), `${fix.title} leaves it:\n${result}`);
      const errors = left.filter(({ severity }) => severity === 'error').map(({ message }) => message);
      assert.deepEqual(errors.filter((message) => !found(text).some((each) => each.message === message)), [], `${fix.title}:\n${result}`);
      assert.deepEqual(comments(text).filter((comment) => !comments(result).includes(comment)), [], fix.title);
      assert.equal(applied(windows, there[index]?.data?.fixes[nth]), result.replaceAll('\n', '\r\n'), fix.title);
      after[fix.title] = result;
    }
  }
  return after;
}

function comments(text: string): string[] { return text.split('\n').map((line) => line.trim()).filter((line) => line.startsWith('#')); }
