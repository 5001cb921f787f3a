/**
 * The engine process. This is the one file that loads the native addon: it may crash, be killed or run out of memory, and nothing else falls with it.
 * Started by EngineClient with an IPC channel; arguments: path of the addon, number of threads (0 = one per processor), device (auto, cpu or cuda).
 * With `self-test` and a device's number instead it tests CUDA, says what is wrong, and ends (cuda.ts).
 */
import { createRequire } from 'node:module';
import { IPCMessageReader, IPCMessageWriter, createMessageConnection } from 'vscode-jsonrpc/node';
import { ErrorCodes, ResponseError } from 'vscode-jsonrpc';
import type { CancellationToken } from 'vscode-jsonrpc';
import type { EngineDevice } from '../protocol';
import type { Addon, Graph, Job } from './addon';
import { findCuda, selfTestArgument } from './cuda';
import type { SelfTestMessage } from './cuda';
import { BasisJob, CloseGraphRequest, ColumnRangeJob, DequantizeLayerJob, InfoRequest, JobProgress, MeasureJob, OpenGraphRequest, OutlierRotationJob, QuantizeLayerJob, ReconstructBlockJob, RunJob, StatsJob, TakeSecondMomentsJob, TransformJob, openGraphs } from './rpc';
import type { JobErrorData } from './rpc';

const [, , addonPath = '', threads = '0', device = 'auto'] = process.argv;
// The addon's BLAS runs on the addon's own threads; without this it would start idle ones of its own when it is loaded.
process.env['OPENBLAS_NUM_THREADS'] = '1';
const addon = createRequire(__filename)(addonPath) as Addon;

if (threads === selfTestArgument) {
  const answer: SelfTestMessage = { wrong: addon.cudaSelfTest(Number(device)) };
  process.send?.(answer, () => process.exit(0));
} else {
  serve();
}

function serve(): void {
  addon.setThreads(Number(threads));

  const connection = createMessageConnection(new IPCMessageReader(process), new IPCMessageWriter(process));

  /** Runs one native job: progress to the client, cancel from it, failures as typed errors. */
  async function run<T>(start: (progress: (fraction: number) => void) => Job<T>, token: number, cancellation: CancellationToken): Promise<T> {
    try {
      const job = start((fraction) => void connection.sendProgress(JobProgress, token, fraction));
      const subscription = cancellation.onCancellationRequested(() => job.cancel());
      if (cancellation.isCancellationRequested) {
        job.cancel(); // cancelled while the request was still queued: such a token never fires
      }
      try {
        return await job.promise;
      } finally {
        subscription.dispose();
      }
    } catch (error) {
      throw typed(error);
    }
  }

  function typed(error: unknown): ResponseError<JobErrorData> {
    const { code, message } = error as { code?: JobErrorData['code']; message: string };
    return new ResponseError<JobErrorData>(ErrorCodes.InternalError, message, { code: code ?? 'INTERNAL' });
  }

  /** In order of use, the last used last. */
  const graphs = new Map<string, Graph>();

  function closeGraph(key: string): void {
    graphs.get(key)?.close();
    graphs.delete(key);
  }

  /** The graph, now the one used last. */
  function graph(key: string): Graph {
    const found = graphs.get(key);
    if (!found) {
      throw Object.assign(new Error(`The graph "${key}" is not open.`), { code: 'NOT_OPEN' });
    }
    graphs.delete(key);
    graphs.set(key, found);
    return found;
  }

  connection.onRequest(OpenGraphRequest, ({ key, program }) => {
    try {
      closeGraph(key);
      graphs.set(key, addon.openGraph(program));
    } catch (error) {
      throw typed(error);
    }
    const [oldest = key] = graphs.keys();
    if (graphs.size > openGraphs) {
      closeGraph(oldest);
    }
    return null;
  });
  connection.onRequest(CloseGraphRequest, ({ key }) => {
    closeGraph(key);
    return null;
  });
  connection.onRequest(RunJob, ({ request, token }, cancellation) => run((progress) => graph(request.key).run(request.run, progress), token, cancellation));
  connection.onRequest(TakeSecondMomentsJob, ({ request, token }, cancellation) => run((progress) => graph(request.key).takeSecondMoments({ folder: request.folder }, progress), token, cancellation));

  connection.onRequest(MeasureJob, ({ request, token }, cancellation) => run((progress) => addon.measure(request, progress), token, cancellation));
  connection.onRequest(StatsJob, ({ request, token }, cancellation) => run((progress) => addon.stats(request, progress), token, cancellation));
  connection.onRequest(OutlierRotationJob, ({ request, token }, cancellation) => run((progress) => addon.fitOutlierRotation(request, progress), token, cancellation));
  connection.onRequest(BasisJob, ({ request, token }, cancellation) => run((progress) => addon.fitBasis(request, progress), token, cancellation));
  connection.onRequest(TransformJob, ({ request, token }, cancellation) => run((progress) => addon.applyTransforms(request, progress), token, cancellation));
  connection.onRequest(QuantizeLayerJob, ({ request, token }, cancellation) => run((progress) => addon.quantizeLayer(request, progress), token, cancellation));
  connection.onRequest(DequantizeLayerJob, ({ request, token }, cancellation) => run((progress) => addon.dequantizeLayer(request, progress), token, cancellation));
  connection.onRequest(ReconstructBlockJob, ({ request, token }, cancellation) => run((progress) => addon.reconstructBlock(request, progress), token, cancellation));
  connection.onRequest(ColumnRangeJob, ({ request, token }, cancellation) => run((progress) => addon.columnRange(request, progress), token, cancellation));
  const cuda = findCuda(() => addon.cuda(), device as EngineDevice, __filename, addonPath).then((found) => {
    if (found.device !== null) {
      addon.useCuda(found.device);
    }
    return found;
  });
  connection.onRequest(InfoRequest, async () => {
    const cpu = addon.cpu();
    return { version: addon.version(), cpuLevel: cpu.level, supportedLevels: cpu.supported, threads: cpu.threads, pid: process.pid, cuda: await cuda };
  });

  // Ctrl-C in a terminal reaches the whole process group; the client decides what to cancel.
  process.on('SIGINT', () => undefined);
  // The parent's end of the channel closes when it exits or is killed: an engine never outlives its server.
  process.on('disconnect', () => process.exit(0));
  connection.listen();
}
