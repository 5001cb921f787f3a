/** The preview requests of the language server and of the command line: plans in, pictures and numbers out. */
import { basename, dirname, join, resolve } from 'node:path';
import { URI } from 'vscode-uri';
import type { LoadedConfig } from '../config/load';
import type { Engine } from '../engine/client';
import { ModelError } from '../models/builder';
import type { Capture, Plan, PreviewEstimate, PreviewResult, PreviewSettings } from '../protocol';
import { thresholdsOf } from '../config/thresholds';
import { calibrationNeeds, engineRecipes, prepareRecipes, requestFor, withWorkFolder } from '../quantize/recipes';
import type { PlanRequest } from '../quantize/recipes';
import { captureActivations } from './capture';
import type { CaptureOptions } from './capture';
import { writeCapture } from './captureFile';
import { estimatePreview } from './estimate';
import { openPipeline } from './pipelines';
import type { Pipeline } from './pipelines';
import { runPreview } from './preview';
import type { Candidate, PreviewRequest } from './preview';

export interface PreviewConfig { uri: string; rule?: number; loaded: LoadedConfig }

export interface PreviewHooks extends Pick<PreviewRequest, 'cancellation' | 'onFrame' | 'onItem' | 'onProgress'> { /** Where trajectories, statistics and fitted layers are kept; null for nowhere. */ cacheFolder: string | null }

/**
 * @param asDeployed every config is followed by itself with its layers on integers, as far as they can
 * @throws ModelError when the configs cannot be previewed together
 */
export async function preview(configs: readonly PreviewConfig[], hooks: PreviewHooks, engine: Engine, changes: Partial<PreviewSettings> = {}, asDeployed = false): Promise<PreviewResult> {
  const pipeline = await common(configs, changes);
  const { cacheFolder, onProgress, ...rest } = hooks;
  return withWorkFolder(cacheFolder, async (folder) => {
    const candidates: Candidate[] = [];
    for (const config of configs) {
      const candidate = await toCandidate(config, { folder, cancellation: hooks.cancellation, onProgress }, engine);
      candidates.push(candidate, ...(asDeployed ? [{ ...candidate, label: `${candidate.label}, as deployed`, asDeployed }] : []));
    }
    return runPreview({ ...rest, ...(onProgress ? { onProgress } : {}), folder: cacheFolder && trajectoriesIn(cacheFolder), pipeline, candidates }, engine);
  });
}

export async function estimate(configs: readonly PreviewConfig[], cacheFolder: string | null, engine: Engine, changes: Partial<PreviewSettings> = {}, asDeployed = false): Promise<PreviewEstimate> {
  const pipeline = await common(configs, changes);
  const calibrations = await withWorkFolder(cacheFolder, (folder) => Promise.all(configs.map(({ loaded, uri }) => calibrationNeeds(requestFor(loaded, dirname(URI.parse(uri).fsPath), { folder }), engine))));
  // Configs with the same settings share their statistics: the one that needs most counts.
  const calibration = Math.max(...calibrations.map(({ flops }) => flops));
  return estimatePreview(pipeline, asDeployed ? 2 * configs.length : configs.length, cacheFolder && trajectoriesIn(cacheFolder), engine, calibration);
}

/**
 * Activations of the full-precision model at the compared steps, into a safetensors file.
 * @param options all layers of the plan and 16 sampled rows unless told otherwise
 * @throws ModelError when the model cannot be previewed, or the file holds its weights
 */
export async function capture(config: PreviewConfig, path: string, { layers, ...options }: Partial<Omit<CaptureOptions, 'layers'>> & { /** By name. */ layers?: readonly string[] }, engine: Engine): Promise<Capture> {
  const pipeline = await common([config], {});
  if (pipeline.checkpoint.tensors.some((tensor) => resolve(tensor.file) === resolve(path))) {
    throw new ModelError(`${basename(path)} holds the weights of this checkpoint; choose another name for the capture.`);
  }
  const { plan, parsed } = config.loaded;
  const activations = await captureActivations(pipeline, engine, { layers: (plan?.layers ?? []).filter(({ name }) => layers?.includes(name) ?? true), sampleRows: 16, ...options });
  return writeCapture(path, activations, thresholdsOf(parsed.config.findings?.value));
}

/** Every candidate is compared with one reference: the first config's checkpoint and settings. */
async function common(configs: readonly PreviewConfig[], changes: Partial<PreviewSettings>): Promise<Pipeline> {
  const [first] = configs;
  const checkpoint = first?.loaded.checkpoint;
  if (!first || !checkpoint) {
    throw new ModelError('There is no checkpoint to preview: see the problems of the config.');
  }
  const other = configs.find((config) => config.loaded.checkpoint?.path !== checkpoint.path);
  if (other) {
    throw new ModelError(`${nameOf(other)} is for another checkpoint; only configs of the same checkpoint can be compared.`);
  }
  const written = { ...first.loaded.parsed.config.preview?.value, ...changes };
  const { scheme, fsPath } = URI.parse(first.uri);
  if (scheme !== 'file' && (written.prompts || written.decoder)) {
    throw new ModelError('Save this config first: prompts and decoders are looked up from its folder.');
  }
  return openPipeline(checkpoint, written, dirname(fsPath));
}

type Preparing = Pick<PlanRequest, 'folder' | 'cancellation' | 'onProgress'>;

/** Fits what the plan's recipes need, of the layers in scope. */
async function toCandidate(config: PreviewConfig, preparing: Preparing, engine: Engine): Promise<Candidate> {
  const { loaded } = config;
  const { rules } = loaded.parsed.config;
  const rule = config.rule === undefined ? undefined : rules[config.rule];
  if (config.rule !== undefined && !rule) {
    throw new ModelError(`${nameOf(config)} has no rule ${config.rule + 1}; it has ${rules.length}.`);
  }
  const plan = loaded.plan as Plan;
  const layers = new Set(plan.layers.filter((layer) => !rule || layer.decidedBy?.rule === config.rule).map((layer) => layer.name));
  const prepared = await prepareRecipes(requestFor(loaded, dirname(URI.parse(config.uri).fsPath), { ...preparing, only: (name) => layers.has(name) }), engine);
  return { label: rule ? `${nameOf(config)}: ${rule.name}` : nameOf(config), uri: config.uri, plan, rule: config.rule ?? null, layers, recipes: engineRecipes(prepared) };
}

function trajectoriesIn(cacheFolder: string): string { return join(cacheFolder, 'trajectories'); }

function nameOf({ uri }: PreviewConfig): string { return basename(URI.parse(uri).path); }
