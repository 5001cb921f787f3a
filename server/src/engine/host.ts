/**
 * The engine process. This is the one file that loads the native addon: it may crash, be killed or run out of memory, and nothing else falls with it.
 * Started by EngineClient with an IPC channel; arguments: path of the addon, number of threads (0 = one per processor).
 */
import { createRequire } from 'node:module';
import { IPCMessageReader, IPCMessageWriter, createMessageConnection } from 'vscode-jsonrpc/node';
import { ErrorCodes, ResponseError } from 'vscode-jsonrpc';
import type { CancellationToken } from 'vscode-jsonrpc';
import type { Addon, Job } from './addon';
import { InfoRequest, JobProgress, MeasureJob, StatsJob } from './rpc';
import type { JobErrorData } from './rpc';

const [, , addonPath = '', threads = '0'] = process.argv;
const addon = createRequire(__filename)(addonPath) as Addon;
addon.setThreads(Number(threads));

const connection = createMessageConnection(new IPCMessageReader(process), new IPCMessageWriter(process));

/** Runs one native job: progress to the client, cancel from it, failures as typed errors. */
async function run<T>(start: (progress: (fraction: number) => void) => Job<T>, token: number, cancellation: CancellationToken): Promise<T> {
  try {
    const job = start((fraction) => void connection.sendProgress(JobProgress, token, fraction));
    const subscription = cancellation.onCancellationRequested(() => job.cancel());
    try {
      return await job.promise;
    } finally {
      subscription.dispose();
    }
  } catch (error) {
    const { code, message } = error as { code?: JobErrorData['code']; message: string };
    throw new ResponseError<JobErrorData>(ErrorCodes.InternalError, message, { code: code ?? 'INTERNAL' });
  }
}

connection.onRequest(MeasureJob, ({ request, token }, cancellation) => run((progress) => addon.measure(request, progress), token, cancellation));
connection.onRequest(StatsJob, ({ request, token }, cancellation) => run((progress) => addon.stats(request, progress), token, cancellation));
connection.onRequest(InfoRequest, () => {
  const cpu = addon.cpu();
  return {
    version: addon.version(), cpuLevel: cpu.level, supportedLevels: cpu.supported, threads: cpu.threads, pid: process.pid,
    cuda: { available: false, reason: 'this build has no CUDA backend' },
  };
});

// Ctrl-C in a terminal reaches the whole process group; the client decides what to cancel.
process.on('SIGINT', () => undefined);
// The parent's end of the channel closes when it exits or is killed: an engine never outlives its server.
process.on('disconnect', () => process.exit(0));
connection.listen();
