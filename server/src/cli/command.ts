/** What every command shares: options, output, progress, cancel, and the services of the language server without an editor. */
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { ParseArgsConfig } from 'node:util';
import { CancellationTokenSource } from 'vscode-jsonrpc';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { URI } from 'vscode-uri';
import { ReportCache } from '../analysis/cache';
import { CheckpointStore } from '../checkpoint';
import type { LoadedConfig } from '../config/load';
import { EngineClient, describeCuda } from '../engine/client';
import { isEngineDevice } from '../engine/cuda';
import { loadAndLint } from '../lints';
import type { LintedConfig } from '../lints';
import { addonPath, engineHostPath, userCacheFolder } from '../paths';
import type { EngineDevice, Problem } from '../protocol';

/** Bad usage or bad input: exit code 2. The message names file, place and remedy. */
export class UsageError extends Error {}

export interface Command {
  name: string;
  /** After the name in the usage line. */
  usage: string;
  summary: string;
  /** More for --help, such as the values of an option. */
  details?(): string;
  options?: NonNullable<ParseArgsConfig['options']>;
  /** @returns the exit code: 0, or 1 for findings of severity error. */
  run(context: CommandContext): Promise<number>;
}

const commonOptions = {
  json: { type: 'boolean' }, quiet: { type: 'boolean' }, verbose: { type: 'boolean' }, threads: { type: 'string' }, device: { type: 'string' }, cache: { type: 'string' }, help: { type: 'boolean', short: 'h' },
} as const;

export class CommandContext {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly store = new CheckpointStore();
  readonly cancel = new CancellationTokenSource();
  readonly cache: ReportCache;
  /** null with --cache none. */
  readonly cacheFolder: string | null;
  readonly threads: number;
  readonly device: EngineDevice;
  private started: EngineClient | undefined;
  private progressShown = false;

  constructor(readonly values: Readonly<Record<string, unknown>>, readonly positionals: readonly string[]) {
    this.json = values['json'] === true;
    this.quiet = values['quiet'] === true;
    this.threads = this.integer('threads', 0, 256) ?? 0;
    const device = values['device'] ?? 'auto';
    if (!isEngineDevice(device)) {
      throw new UsageError(`--device must be auto, cpu or cuda, not "${String(device)}".`);
    }
    this.device = device;
    const cache = values['cache'];
    this.cacheFolder = cache === 'none' ? null : typeof cache === 'string' ? resolve(cache) : userCacheFolder();
    this.cache = new ReportCache(this.cacheFolder && join(this.cacheFolder, 'reports'));
  }

  get engine(): EngineClient {
    this.started ??= new EngineClient({ hostPath: engineHostPath, addonPath: addonPath(), threads: this.threads, device: this.device, log: (line) => this.values['verbose'] === true && this.note(line) });
    return this.started;
  }

  /** `--device cuda` is a demand: without CUDA the command ends with the reason. */
  async requireDevice(): Promise<void> {
    if (this.device === 'cuda') {
      const { cuda } = await this.engine.info();
      if (!cuda.available) {
        throw new UsageError(`--device cuda: ${describeCuda(cuda)}. Use --device auto or cpu.`);
      }
    }
  }

  /** The only positional argument. */
  path(what: string): string {
    const [path, ...surplus] = this.positionals;
    if (path === undefined) {
      throw new UsageError(`Name the ${what}.`);
    }
    if (surplus.length > 0) {
      throw new UsageError(`Only one ${what} at a time; "${surplus.join(' ')}" is too much.`);
    }
    return resolve(path);
  }

  integer(name: string, low: number, high: number): number | undefined {
    const text = this.values[name];
    if (text === undefined) {
      return undefined;
    }
    if (typeof text !== 'string' || !/^[0-9]{1,9}$/.test(text) || Number(text) < low || Number(text) > high) {
      throw new UsageError(`--${name} must be a whole number from ${low} to ${high}, not "${String(text)}".`);
    }
    return Number(text);
  }

  /** --layers "a,b": patterns as in a config. */
  layerPatterns(): string[] | undefined {
    const text = this.values['layers'];
    return typeof text === 'string' ? text.split(',').map((pattern) => pattern.trim()).filter(Boolean) : undefined;
  }

  async loadConfig(path: string): Promise<LintedConfig> {
    return loadAndLint(await this.document(path), path, this.store);
  }

  /** A config as text. */
  async document(path: string): Promise<TextDocument> {
    const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
      throw new UsageError(`${path}: ${error.code === 'ENOENT' ? 'there is no such file' : error.code === 'EISDIR' ? 'this is a folder; name a *.quant.yaml file' : error.message}.`);
    });
    let text: string;
    try {
      text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch {
      throw new UsageError(`${path}: not UTF-8 text. Save the config as UTF-8.`);
    }
    return TextDocument.create(URI.file(path).toString(), 'quantconfig', 1, text);
  }

  /** A config that analysis can work with: errors go to stderr and end the command with code 2. */
  async requirePlan(path: string): Promise<LoadedConfig & { plan: NonNullable<LoadedConfig['plan']> }> {
    const loaded = await this.loadConfig(path);
    const blocking = loaded.problems.filter((problem) => problem.severity === 'error' && problem.code !== 'plan/over-budget');
    if (!loaded.plan || blocking.length > 0) {
      throw new UsageError([`${path}: the config has errors.`, ...blocking.map((problem) => describeProblem(problem, path))].join('\n'));
    }
    return { ...loaded, plan: loaded.plan };
  }

  /** The document on stdout: one JSON document, or text for people. */
  print(value: unknown, text: () => string): void {
    this.endProgress();
    process.stdout.write(this.json ? `${JSON.stringify(value)}\n` : this.quiet ? '' : `${text()}\n`);
  }

  note(text: string): void {
    this.endProgress();
    if (!this.quiet) {
      process.stderr.write(`${text}\n`);
    }
  }

  /** A bar on stderr when it is a terminal. */
  progress(fraction: number, label: string): void {
    if (process.stderr.isTTY && !this.quiet) {
      const width = 24;
      const filled = Math.round(fraction * width);
      process.stderr.write(`\r\x1b[2K${'█'.repeat(filled)}${'·'.repeat(width - filled)} ${Math.floor(fraction * 100)} % ${label.slice(0, 60)}`);
      this.progressShown = true;
    }
  }

  async dispose(): Promise<void> {
    this.endProgress();
    await this.started?.dispose();
  }

  private endProgress(): void {
    if (this.progressShown) {
      process.stderr.write('\r\x1b[2K');
      this.progressShown = false;
    }
  }
}

export function parseCommandLine(command: Command, args: string[]): CommandContext {
  try {
    const { values, positionals } = parseArgs({ args, options: { ...commonOptions, ...command.options }, allowPositionals: true });
    return new CommandContext(values, positionals);
  } catch (error) {
    throw error instanceof UsageError ? error : new UsageError((error as Error).message);
  }
}

/** path:line:column: severity code: message — the form editors and problem matchers know. */
export function describeProblem(problem: Problem, path: string): string {
  const at = problem.range ? `:${problem.range.start.line + 1}:${problem.range.start.character + 1}` : '';
  return `${path}${at}: ${problem.severity} ${problem.code}: ${problem.message}`;
}
