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
import { givenLosses, outputLosses, propagatedLosses, weightLosses } from './losses';
import type { Losses } from './losses';
import { readOptions, usualOptions } from './options';
import { rewriteConfig, withoutAllocated } from './patterns/rewrite';
import type { Rewritten } from './patterns/rewrite';

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
  /** Where the text will be written, when that is another file than `path`. */
  target?: string;
  cache: ReportCache;
  /** null keeps nothing. */
  cacheFolder: string | null;
  cancellation?: CancellationToken;
  onProgress?: (fraction: number, what: string) => void;
}

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
  const losses = await lossesOf(request, { ...loaded, plan, checkpoint }, possible, engine);
  await requireUnchanged(plan);
  const allocation = allocate(possible, losses, budget.bytes);
  const named = config.checkpoint?.value;
  const moved = named !== undefined && !isAbsolute(named) && dirname(target) !== dirname(path) ? relative(dirname(target), resolve(dirname(path), named)) : undefined;
  return { allocation, rewritten: rewriteConfig(document, checkpoint, possible, allocation, { budget: budget.written, checkpoint: moved }) };
}

async function lossesOf({ loss, path, cacheFolder, cache, cancellation, onProgress }: ConfigAllocation, loaded: Loaded, possible: Allocatable, engine: Engine): Promise<Losses> {
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
