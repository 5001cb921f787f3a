/** The preview requests of the language server and of the command line: plans in, pictures and numbers out. */
import { basename, dirname, resolve } from 'node:path';
import { URI } from 'vscode-uri';
import type { LoadedConfig } from '../config/load';
import type { Engine } from '../engine/client';
import { ModelError } from '../models/builder';
import type { Capture, Plan, PreviewEstimate, PreviewResult, PreviewSettings } from '../protocol';
import { captureActivations } from './capture';
import type { CaptureOptions } from './capture';
import { writeCapture } from './captureFile';
import { estimatePreview } from './estimate';
import { openPipeline } from './pipelines';
import type { Pipeline } from './pipelines';
import { runPreview } from './preview';
import type { Candidate, PreviewRequest } from './preview';

export interface PreviewConfig { uri: string; rule?: number; loaded: LoadedConfig }

type Hooks = Pick<PreviewRequest, 'folder' | 'cancellation' | 'onFrame' | 'onProgress'>;

/** @throws ModelError when the configs cannot be previewed together */
export async function preview(configs: readonly PreviewConfig[], hooks: Hooks, engine: Engine, changes: Partial<PreviewSettings> = {}): Promise<PreviewResult> {
  const candidates = configs.map(toCandidate);
  return runPreview({ ...hooks, pipeline: await common(configs, changes), candidates }, engine);
}

export async function estimate(configs: readonly PreviewConfig[], folder: string | null, engine: Engine): Promise<PreviewEstimate> {
  return estimatePreview(await common(configs, {}), configs.length, folder, engine);
}

/**
 * Activations of the full-precision model at the compared steps, into a safetensors file.
 * @param options all layers of the plan and 64 sampled rows unless told otherwise
 * @throws ModelError when the model cannot be previewed, or the file holds its weights
 */
export async function capture(config: PreviewConfig, path: string, options: Partial<CaptureOptions>, engine: Engine): Promise<Capture> {
  const pipeline = await common([config], {});
  if (pipeline.checkpoint.tensors.some((tensor) => resolve(tensor.file) === resolve(path))) {
    throw new ModelError(`${basename(path)} holds the weights of this checkpoint; choose another name for the capture.`);
  }
  const layers = config.loaded.plan?.layers.map((layer) => layer.name) ?? [];
  return writeCapture(path, await captureActivations(pipeline, engine, { layers, sampleRows: 64, ...options }));
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

function toCandidate(config: PreviewConfig): Candidate {
  const plan = config.loaded.plan as Plan;
  const rule = config.rule === undefined ? undefined : config.loaded.parsed.config.rules[config.rule];
  if (config.rule !== undefined && !rule) {
    throw new ModelError(`${nameOf(config)} has no rule ${config.rule + 1}; it has ${config.loaded.parsed.config.rules.length}.`);
  }
  return { label: rule ? `${nameOf(config)}: ${rule.name}` : nameOf(config), uri: config.uri, plan, rule: config.rule ?? null };
}

function nameOf({ uri }: PreviewConfig): string { return basename(URI.parse(uri).path); }
