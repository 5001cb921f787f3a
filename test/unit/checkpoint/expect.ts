import assert from 'node:assert/strict';
import { CheckpointError, checkpointCodes } from '../../../server/src/checkpoint/errors';
import type { CheckpointCode } from '../../../server/src/checkpoint/errors';

/** Checks that `error` is a CheckpointError with this code whose message matches. */
export function assertProblem(error: unknown, code: CheckpointCode, ...messages: RegExp[]): true {
  assert.ok(error instanceof CheckpointError, `not a CheckpointError: ${String(error)}`);
  assert.equal(error.problem.code, code, error.message);
  assert.equal(error.problem.severity, 'error');
  assert.equal(error.problem.message, error.message);
  assert.ok(error.problem.code in checkpointCodes);
  assert.match(error.message, /^[^\p{Cc}]+: [^\p{Cc}]{10,900}[.?]$/u);
  for (const message of messages) {
    assert.match(error.message, message);
  }
  return true;
}

export function throwsProblem(work: () => unknown, code: CheckpointCode, ...messages: RegExp[]): void {
  assert.throws(work, error => assertProblem(error, code, ...messages));
}

export async function rejectsWithProblem(work: Promise<unknown>, code: CheckpointCode, ...messages: RegExp[]): Promise<void> {
  await assert.rejects(work, error => assertProblem(error, code, ...messages));
}
