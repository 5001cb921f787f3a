/** A config → the best plan under its budget, and the config that says so: what the command line and the editor share. */
import { dirname, isAbsolute, relative, resolve } from 'node:path';
import type { CancellationToken } from 'vscode-jsonrpc';
import type { TextDocument } from 'vscode-languageserver-textdocument';
import { requireUnchanged } from '../../checkpoint';
import type { CheckpointStore } from '../../checkpoint';
import { loadConfig } from '../../config/load';
import type { LoadedConfig } from '../../config/load';
import type { Engine } from '../../engine/client';
import type { Allocation, BudgetText, LossKind, Plan } from '../../protocol';
import { requestFor, withWorkFolder } from '../../quantize/recipes';
import type { ReportCache } from '../cache';
import { allocatable, allocate, layersToMeasure } from './allocation';
import type { Allocatable } from './allocation';
import { readBudget } from './budget';
import { AllocationError } from './errors';
import { givenLosses, outputLosses, propagatedLosses, sourceNames, weightLosses } from './losses';
import type { Losses } from './losses';
import { readOptions, usualOptions } from './options';
import { rewriteConfig, withoutAllocated } from './patterns/rewrite';
import type { Rewritten } from './patterns/rewrite';
import { verify } from './verify';
import type { VerifyRequest } from './verify';

/** Where losses come from; a file of losses as its text, and its path for messages. */
export type LossSource = Exclude<LossKind, 'given'> | { text: string; path: string };

export interface ConfigAllocation {
  document: TextDocument;
  /** Of the config: relative paths start from its folder. */
  path: string;
  store: CheckpointStore;
  /** That of the config when absent. */
  budget?: BudgetText | undefined;
  /** As `readOptions` takes them; the usual ones when absent. */
  options?: readonly string[] | undefined;
  /** Patterns of the layers to choose for; those that `defaults` decides when absent. */
  layers?: readonly string[] | undefined;
  loss: LossSource;
  /** Run the best plans end to end, and recommend the best of them. At most so many plans, from so many seeds. */
  verify?: { finalists: number; seeds: number; onRanking?: VerifyRequest['onRanking'] } | undefined;
  /** Where the text will be written, when that is another file than `path`. */
  target?: string;
  cache: ReportCache;
  /** null keeps nothing. */
  cacheFolder: string | null;
  cancellation?: CancellationToken;
  onProgress?: (fraction: number, what: string) => void;
}

/** How many plans are run end to end, from how many seeds, where nothing else is asked for: ten take all plans there usually are. */
export const usualVerification = { finalists: 10, seeds: 2 };

export interface AllocatedConfig { allocation: Allocation; rewritten: Rewritten }

type Loaded = LoadedConfig & { plan: Plan };

/** Rules that an earlier allocation added are taken out first, so that it chooses again for their layers. @throws AllocationError, CheckpointError, ModelError, EngineError */
export async function allocateConfig(request: ConfigAllocation, engine: Engine): Promise<AllocatedConfig> {
  const { path, target = path } = request;
  const document = withoutAllocated(request.document);
  const { plan, checkpoint, ...loaded } = await loadConfig(document, path, request.store);
  if (!plan || !checkpoint) {
    throw new AllocationError(`${path}: ${loaded.problems.find(({ severity }) => severity === 'error')?.message ?? 'names no checkpoint.'}`);
  }
  const { config } = loaded.parsed;
  const budget = readBudget(request.budget, config, plan.totals);
  const options = request.options ? readOptions(request.options, config.defaults) : usualOptions(config.defaults);
  const now = document === request.document ? plan : (await loadConfig(request.document, path, request.store)).plan ?? plan;
  const possible = allocatable(plan, config, checkpoint, options, request.layers, now);
  const subject = { loaded: { ...loaded, plan, checkpoint }, possible };
  const losses = await lossesOf(request.verify ? inPart(request, 0, lossShare) : request, subject, engine);
  await requireUnchanged(plan);
  const least = allocate(possible, losses, budget.bytes);
  const allocation = request.verify ? await verified(request, subject, { losses, allocation: least }, engine) : least;
  const named = config.checkpoint?.value;
  const moved = named !== undefined && !isAbsolute(named) && dirname(target) !== dirname(path) ? relative(dirname(target), resolve(dirname(path), named)) : undefined;
  return { allocation, rewritten: rewriteConfig(document, checkpoint, possible, allocation, { budget: budget.written, checkpoint: moved }) };
}

/** Shares of the bar: measuring losses, then what else could be gone by, then whole plans. */
const [lossShare, otherShare] = [0.5, 0.6];

function inPart(request: ConfigAllocation, from: number, to: number): ConfigAllocation {
  return { ...request, onProgress: (fraction, what) => request.onProgress?.(from + (to - from) * fraction, what) };
}

interface Subject { loaded: Loaded; possible: Allocatable }

async function verified(request: ConfigAllocation, subject: Subject, found: Pick<VerifyRequest, 'losses' | 'allocation'>, engine: Engine): Promise<Allocation> {
  const [others, leftOut]: [Losses[], { name: string; reason: string }[]] = [[], []];
  for (const loss of (['outputs', 'weights'] as const).filter((kind) => kind !== found.losses.kind)) {
    try {
      others.push(await lossesOf(inPart({ ...request, loss }, lossShare, otherShare), subject, engine));
    } catch (error) {
      if (!(error instanceof AllocationError)) {
        throw error;
      }
      leftOut.push({ name: `allocated by ${sourceNames[loss]}`, reason: error.message });
    }
  }
  const { finalists = 1, seeds = 1, onRanking } = request.verify ?? {};
  return withWorkFolder(request.cacheFolder, (folder) => verify({
    ...subject, ...found, base: dirname(request.path), folder, others, leftOut, finalists, seeds, onRanking, cancellation: request.cancellation, onProgress: inPart(request, otherShare, 1).onProgress,
  }, engine));
}

async function lossesOf({ loss, path, cacheFolder, cache, cancellation, onProgress }: ConfigAllocation, { loaded, possible }: Subject, engine: Engine): Promise<Losses> {
  const base = dirname(path);
  const request = { plan: loaded.plan, options: layersToMeasure(possible), cancellation, onProgress };
  if (loss === 'weights' || loss === 'outputs') {
    return withWorkFolder(cacheFolder, (folder) => {
      const preparation = requestFor(loaded, base, { folder, cancellation });
      return loss === 'weights' ? weightLosses(request, preparation, engine, cache) : outputLosses(request, preparation, engine);
    });
  }
  return loss === 'sensitivity' ? propagatedLosses(request, { loaded, base, cacheFolder }, engine) : givenLosses(loss.text, loss.path);
}
