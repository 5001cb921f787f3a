/** What goes wrong, in the form that the wire takes: nothing raw, and never the end of the server. */
import { LSPErrorCodes, ResponseError } from 'vscode-languageserver';
import type { CancellationToken, Connection } from 'vscode-languageserver';
import { AllocationError } from './analysis/allocate/errors';
import { CheckpointError } from './checkpoint';
import { EngineError } from './engine/client';
import { ModelError } from './models/builder';
import { SamplerError } from './samplers';

/** A message that the client refuses or that can no longer be written is the client's affair: it goes to the log. */
export function send(connection: Connection, what: string, sent: Promise<unknown>): void {
  sent.catch((error: unknown) => {
    try {
      connection.console.warn(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    } catch {
      // The connection itself is gone, and with it everyone who could read this.
    }
  });
}

/** A feature that fails is logged and answers with its neutral value; one that nobody waits for any more says so. */
export async function safely<T>(connection: Connection, what: string, fallback: T, work: () => Promise<T>, token?: CancellationToken): Promise<T | ResponseError<never>> {
  try {
    const answer = await work();
    return token?.isCancellationRequested ? new ResponseError<never>(LSPErrorCodes.RequestCancelled, `${what}: cancelled`) : answer;
  } catch (error) {
    if (error instanceof ResponseError) {
      return error as ResponseError<never>; // meant for the user, such as why something cannot be renamed
    }
    connection.console.error(`${what}: ${stackOf(error)}`);
    return fallback;
  }
}

/** What the user asked for gets its reason; what nobody foresaw goes to the log with its stack. */
export function asResponseError(connection: Connection, method: string, error: unknown): ResponseError<unknown> {
  if (error instanceof ResponseError) {
    return error as ResponseError<unknown>;
  }
  if (error instanceof EngineError) {
    return new ResponseError(error.code === 'CANCELLED' ? LSPErrorCodes.RequestCancelled : LSPErrorCodes.RequestFailed, error.message, { code: error.code });
  }
  if ([ModelError, SamplerError, AllocationError].some((kind) => error instanceof kind)) {
    return new ResponseError(LSPErrorCodes.RequestFailed, (error as Error).message);
  }
  if (error instanceof CheckpointError) {
    return new ResponseError(LSPErrorCodes.RequestFailed, error.message, { problem: error.problem });
  }
  connection.console.error(`${method}: ${stackOf(error)}`);
  return new ResponseError(LSPErrorCodes.RequestFailed, `${method.replace('quantscope/', '')} failed: ${error instanceof Error ? error.message : String(error)}`);
}

function stackOf(error: unknown): string {
  return error instanceof Error ? error.stack ?? error.message : String(error);
}
