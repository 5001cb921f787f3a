/**
 * Typed calls into the engine process. Starts it on first use, restarts it after a crash (at most 4 restarts in 3 minutes), turns its death in the middle of
 * a job into a clear error. The addon itself is never loaded in this process.
 */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { statSync } from 'node:fs';
import { IPCMessageReader, IPCMessageWriter, createMessageConnection } from 'vscode-jsonrpc/node';
import { ResponseError } from 'vscode-jsonrpc';
import type { CancellationToken, MessageConnection, RequestType } from 'vscode-jsonrpc';
import type { CudaInfo, EngineDevice, EngineInfo, StatusParams } from '../protocol';
import { cudaIdentity } from './cuda';
import type { CudaJob } from './cuda';
import type { BasisFit, BasisRequest, ColumnRange, DequantizeLayerRequest, DequantizedLayer, LayerFit, Measurement, MeasureRequest, OutlierRotationFit, OutlierRotationRequest, QuantizeLayerRequest, ReconstructBlockRequest, ReconstructedBlock, SecondMomentsFile, StatsRequest, StatsResult, TensorRef, TransformRequest, TransformedSample } from './addon';
import type { DeviceUse, Program, RunRequest, RunResult } from './graph';
import { BasisJob, CloseGraphRequest, ColumnRangeJob, DequantizeLayerJob, InfoRequest, JobProgress, MeasureJob, OpenGraphRequest, OutlierRotationJob, QuantizeLayerJob, ReconstructBlockJob, RunJob, StatsJob, TakeSecondMomentsJob, TransformJob } from './rpc';
import type { JobErrorData, JobParams } from './rpc';

export interface EngineOptions {
  /** The bundled host.ts. */
  hostPath: string;
  /** quantscope.node. */
  addonPath: string;
  /** 0 = one per processor. */
  threads: number;
  /** Without it: auto. With cuda no job runs on an engine that has no device; info() says why. */
  device?: EngineDevice;
  log(message: string): void;
  onState?(state: StatusParams['engine'], message: string): void;
  now?(): number;
}

export type EngineErrorCode = JobErrorData['code'] | 'CRASHED' | 'UNAVAILABLE';

export class EngineError extends Error {
  constructor(readonly code: EngineErrorCode, message: string) {
    super(message);
    this.name = 'EngineError';
  }
}

export interface JobOptions { progress?: (fraction: number) => void; cancellation?: CancellationToken | undefined }

/** A model that is ready to run. The engine may end in between or close graphs to save memory: the next run opens it again by itself. */
export interface EngineGraph {
  run(request: RunRequest, options?: JobOptions): Promise<RunResult>;
  /** Writes the second moments that runs added up into the folder, which exists, and forgets them. NOT_OPEN when the engine lost them. */
  takeSecondMoments(folder: string, options?: JobOptions): Promise<SecondMomentsFile[]>;
  /** Frees the engine's memory for this graph. */
  close(): Promise<void>;
}

/** What the rest of the server knows of the engine; tests give fakes. */
export interface Engine {
  measure(request: MeasureRequest, options?: JobOptions): Promise<Measurement>;
  stats(request: StatsRequest, options?: JobOptions): Promise<StatsResult>;
  columnRange(request: { tensor: TensorRef }, options?: JobOptions): Promise<ColumnRange>;
  fitOutlierRotation(request: OutlierRotationRequest, options?: JobOptions): Promise<OutlierRotationFit>;
  fitBasis(request: BasisRequest, options?: JobOptions): Promise<BasisFit>;
  applyTransforms(request: TransformRequest, options?: JobOptions): Promise<TransformedSample>;
  quantizeLayer(request: QuantizeLayerRequest, options?: JobOptions): Promise<LayerFit>;
  dequantizeLayer(request: DequantizeLayerRequest, options?: JobOptions): Promise<DequantizedLayer>;
  reconstructBlock(request: ReconstructBlockRequest, options?: JobOptions): Promise<ReconstructedBlock>;
  /** Checks the program and opens its files; ARGUMENT, IO or MEMORY tell what is wrong. Another program under the same key replaces the first; the same object stays open, with its memory and codes. */
  openGraph(key: string, program: Program, options?: Pick<JobOptions, 'cancellation'>): Promise<EngineGraph>;
  info(): Promise<EngineInfo>;
  /** Names this build of the addon without starting it: reports of another build are measured again. */
  identity(): string;
  /**
   * What does this job, in the order of preference: an identity of CUDA, or '' for the processor. What it computes is kept under the first, and found under any of them. An engine that runs knows it,
   * one that was not started yet names all that may be; it is not started.
   */
  devices(job: CudaJob): readonly string[];
  /** Bytes of the device that does this job; null where none does, or the engine was not started yet. */
  deviceMemory(job: CudaJob): number | null;
  /** Stops the engine if it runs and forgets earlier crashes; the next call starts it anew. */
  restart(): Promise<void>;
  dispose(): Promise<void>;
}

interface Running { child: ChildProcess; connection: MessageConnection; died: Promise<EngineError>; info: EngineInfo; /** What it was sent, by key; it may have closed some. */ graphs: Map<string, Program> }

const isNotOpen = (error: unknown): boolean => error instanceof EngineError && error.code === 'NOT_OPEN';
const lostSums = (): EngineError => new EngineError('NOT_OPEN', 'The engine ended, or closed this model, while statistics were added up. Collect them again.');

/** A cancelled job does not wait for an engine that is starting. The engine starts all the same. */
function unlessCancelled<T>(work: () => Promise<T>, cancellation: CancellationToken | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = (): void => reject(new EngineError('CANCELLED', 'Cancelled.'));
    if (cancellation?.isCancellationRequested) {
      cancel();
      return;
    }
    const listener = cancellation?.onCancellationRequested(cancel);
    void work().then(resolve, reject).finally(() => listener?.dispose());
  });
}

/** Half a sentence for logs: which device runs, and why not the other. */
export function describeCuda({ available, reason, devices, device, jobs }: CudaInfo): string {
  const name = devices[device ?? -1]?.name ?? 'a device';
  return available ? `CUDA runs ${jobs.join(', ')} on ${name}${reason === '' ? '' : ` with kernels for every device: ${reason}`}` : `CUDA is not used: ${reason}`;
}

/** One text for each reason, with the first layer that has it. */
function reasonsIn(device: DeviceUse | null): string[] {
  const byReason = new Map<string, string[]>();
  for (const { name, reason } of device?.processor ?? []) {
    byReason.set(reason, [...byReason.get(reason) ?? [], name]);
  }
  return [...byReason].map(([reason, [first = '', ...more]]) => `${first} ${reason}${more.length > 0 ? `, likewise ${more.length} more` : ''}`);
}

const maxRestarts = 4;
const restartWindow = 3 * 60_000;

export class EngineClient implements Engine {
  private running: Promise<Running> | undefined;
  private starts: number[] = [];
  private nextToken = 1;
  private disposed = false;
  /** Graphs with second moments that were not taken yet: opening them again would begin the sums anew. */
  private readonly adding = new Set<string>();
  /** Of the last start. */
  private cuda: CudaInfo | undefined;
  /** Lines of explain(). */
  private readonly said = new Set<string>();

  constructor(private readonly options: EngineOptions) {}

  async measure(request: MeasureRequest, options?: JobOptions): Promise<Measurement> {
    const measured = await this.job(MeasureJob, request, options);
    this.explain('weight diagnostics', measured.onProcessor);
    return measured;
  }
  stats(request: StatsRequest, options?: JobOptions): Promise<StatsResult> { return this.job(StatsJob, request, options); }
  columnRange(request: { tensor: TensorRef }, options?: JobOptions): Promise<ColumnRange> { return this.job(ColumnRangeJob, request, options); }
  fitOutlierRotation(request: OutlierRotationRequest, options?: JobOptions): Promise<OutlierRotationFit> { return this.job(OutlierRotationJob, request, options); }
  fitBasis(request: BasisRequest, options?: JobOptions): Promise<BasisFit> { return this.job(BasisJob, request, options); }
  applyTransforms(request: TransformRequest, options?: JobOptions): Promise<TransformedSample> { return this.job(TransformJob, request, options); }
  async quantizeLayer(request: QuantizeLayerRequest, options?: JobOptions): Promise<LayerFit> {
    const fit = await this.job(QuantizeLayerJob, request, options);
    this.explain('GPTQ', fit.onProcessor);
    return fit;
  }
  dequantizeLayer(request: DequantizeLayerRequest, options?: JobOptions): Promise<DequantizedLayer> { return this.job(DequantizeLayerJob, request, options); }
  reconstructBlock(request: ReconstructBlockRequest, options?: JobOptions): Promise<ReconstructedBlock> { return this.job(ReconstructBlockJob, request, options); }
  async info(): Promise<EngineInfo> { return (await this.start()).info; }

  async openGraph(key: string, program: Program, { cancellation }: Pick<JobOptions, 'cancellation'> = {}): Promise<EngineGraph> {
    const open = async (): Promise<void> => {
      const engine = await unlessCancelled(() => this.ready(), cancellation);
      if (engine.graphs.get(key) !== program) {
        if (this.adding.delete(key)) {
          throw lostSums();
        }
        await this.guard(engine, engine.connection.sendRequest(OpenGraphRequest, { key, program }));
        engine.graphs.set(key, program);
      }
    };
    await open();
    return {
      run: async (run, options) => {
        const attempt = async (): Promise<RunResult> => {
          const result = await this.job(RunJob, { key, run }, options);
          reasonsIn(result.device).forEach((reason) => this.explain('forward passes', reason));
          if (run.capture?.secondMoments) {
            this.adding.add(key);
          }
          return result;
        };
        try {
          return await attempt();
        } catch (error) {
          if (!isNotOpen(error)) {
            this.adding.delete(key);
            throw error;
          }
          (await this.start()).graphs.delete(key);
          await open();
          return await attempt();
        }
      },
      takeSecondMoments: async (folder, options) => {
        try {
          const files = await this.job(TakeSecondMomentsJob, { key, folder }, options);
          this.adding.delete(key);
          return files;
        } catch (error) {
          throw isNotOpen(error) ? lostSums() : error;
        }
      },
      close: async () => {
        // Not worth starting an engine for.
        if (this.running) {
          const engine = await this.start();
          engine.graphs.delete(key);
          this.adding.delete(key);
          await this.guard(engine, engine.connection.sendRequest(CloseGraphRequest, { key }));
        }
      },
    };
  }

  identity(): string {
    const found = statSync(this.options.addonPath, { throwIfNoEntry: false });
    return found ? `${found.size}-${Math.trunc(found.mtimeMs)}` : 'missing';
  }

  devices(job: CudaJob): readonly string[] {
    const { addonPath, device = 'auto' } = this.options;
    if (device === 'cuda') {
      return [cudaIdentity(addonPath) ?? 'cuda']; // which is never the processor
    }
    const cuda = device === 'cpu' || this.cuda?.jobs.includes(job) === false ? null : cudaIdentity(addonPath);
    return cuda === null ? [''] : [cuda, ''];
  }

  deviceMemory(job: CudaJob): number | null {
    return this.cuda?.jobs.includes(job) ? this.cuda.devices[this.cuda.device ?? -1]?.memoryBytes ?? null : null;
  }

  /** One line for each reason why work stays on the processor beside a device. */
  private explain(job: CudaJob, onProcessor: string | null): void {
    const line = `engine: ${job} on the processor: ${onProcessor}`;
    if (onProcessor !== null && !this.said.has(line)) {
      this.said.add(line);
      this.options.log(line);
    }
  }

  async restart(): Promise<void> {
    this.starts = [];
    await this.stop();
  }

  async dispose(): Promise<void> {
    this.disposed = true;
    await this.stop();
  }

  private async stop(): Promise<void> {
    const engine = await this.running?.catch(() => undefined);
    this.running = undefined;
    if (engine) {
      engine.child.disconnect();
      await engine.died;
    }
  }

  private async job<P, R>(type: RequestType<JobParams<P>, R, JobErrorData>, request: P, { progress, cancellation }: JobOptions = {}): Promise<R> {
    const engine = await unlessCancelled(() => this.ready(), cancellation);
    const token = this.nextToken++;
    const subscription = progress && engine.connection.onProgress(JobProgress, token, progress);
    try {
      return await this.guard(engine, engine.connection.sendRequest(type, { request, token }, cancellation));
    } finally {
      subscription?.dispose();
    }
  }

  /** The answer, or the engine's death, whichever comes first. */
  private async guard<R>(engine: Running, answer: Promise<R>): Promise<R> {
    // The losing promise still settles: a rejection nobody waits for would end this process.
    answer.catch(() => undefined);
    try {
      return await Promise.race([answer, engine.died.then((death) => Promise.reject(death))]);
    } catch (error) {
      if (error instanceof EngineError) {
        throw error;
      }
      if (error instanceof ResponseError && error.data) {
        const { code } = error.data as JobErrorData;
        if (code === 'DEVICE') {
          await this.leave(engine);
          throw new EngineError(code, `${error.message.replace(/\.$/, '')}. The next job starts the engine again, which leaves the device alone if its self-test fails.`);
        }
        throw new EngineError(code, error.message);
      }
      // A message that could not be written: the channel broke a moment before the exit was seen.
      throw engine.child.exitCode !== null || !engine.child.connected ? await engine.died : new EngineError('INTERNAL', error instanceof Error ? error.message : String(error));
    }
  }

  /** What failed on a device cannot be used further: another process opens it anew. */
  private async leave(engine: Running): Promise<void> {
    if (await this.running?.catch(() => undefined) === engine) {
      await this.stop();
    }
  }

  /** An engine that has the device that was asked for. */
  private async ready(): Promise<Running> {
    const engine = await this.start();
    const lacking = this.lacking(engine.info.cuda);
    if (lacking !== null) {
      throw new EngineError('UNAVAILABLE', lacking);
    }
    return engine;
  }

  private lacking(cuda: CudaInfo): string | null {
    return this.options.device !== 'cuda' || cuda.available ? null :
      `${describeCuda(cuda)}. The device asked for is "cuda": choose "auto" or "cpu" in its place (setting quantscope.device, option --device on the command line).`;
  }

  private start(): Promise<Running> {
    this.running ??= this.launch().catch((error: unknown) => {
      this.running = undefined;
      throw error;
    });
    return this.running;
  }

  private async launch(): Promise<Running> {
    if (this.disposed) {
      throw new EngineError('UNAVAILABLE', 'The engine has been shut down.');
    }
    const now = this.options.now?.() ?? Date.now();
    this.starts = this.starts.filter((start) => now - start < restartWindow);
    if (this.starts.length > maxRestarts) {
      const message = `The engine stopped ${this.starts.length} times within 3 minutes and is not started again. See the log for the reason, then run "QuantScope: Restart Language Server".`;
      this.options.onState?.('failed', message);
      throw new EngineError('UNAVAILABLE', message);
    }
    this.starts.push(now);
    this.options.onState?.('starting', 'Starting the engine…');
    const child = fork(this.options.hostPath, [this.options.addonPath, String(this.options.threads), this.options.device ?? 'auto'], { stdio: ['ignore', 'pipe', 'pipe', 'ipc'], execArgv: [], serialization: 'advanced' });
    let lastWords = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        lastWords = (lastWords + text).slice(-2000);
        this.options.log(`engine: ${text.trimEnd()}`);
      });
    }
    const connection = createMessageConnection(new IPCMessageReader(child), new IPCMessageWriter(child), { error: (text) => this.options.log(text), warn: (text) => this.options.log(text), info: () => undefined, log: () => undefined });
    const died = new Promise<EngineError>((resolve) => {
      const gone = (how: string): void => {
        connection.dispose();
        this.running = undefined;
        this.options.log(`engine: ended (${how})`);
        this.options.onState?.('stopped', `The engine ended (${how}).`);
        const reason = /^(?:\w*Error|fatal error|.*not found).*$/im.exec(lastWords)?.[0];
        resolve(new EngineError('CRASHED', `The engine process ended in the middle of this job (${how}${reason ? `: ${reason}` : ''}). The next job starts it again; the log has more.`));
      };
      child.once('error', (error) => gone(error.message));
      child.once('exit', (code, signal) => gone(signal === 'SIGKILL' ? 'SIGKILL, which is also how the system ends processes when memory runs out' : signal ?? `exit code ${code}`));
    });
    connection.onError(([error]) => this.options.log(`engine: ${error.message}`));
    connection.listen();
    const answer = connection.sendRequest(InfoRequest);
    answer.catch(() => undefined);
    const info = await Promise.race([answer, died.then((death) => Promise.reject(death))]).catch(async () => {
      const death = await died;
      throw new EngineError('UNAVAILABLE', death.message.replace('in the middle of this job', 'while it started').replace(' The next job starts it again; the log has more.', ' Run "quantscope doctor" to see what is missing.'));
    });
    this.cuda = info.cuda;
    this.options.log(`engine: started, version ${info.version}, ${info.cpuLevel}, ${info.threads} threads, process ${info.pid}; ${describeCuda(info.cuda)}`);
    const lacking = this.lacking(info.cuda);
    this.options.onState?.(lacking === null ? 'running' : 'failed', lacking ?? 'Engine ready.');
    return { child, connection, died, info, graphs: new Map() };
  }
}
