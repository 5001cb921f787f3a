/** The preview requests of the language server and of the command line: plans in, pictures and numbers out. */
import { basename, resolve } from 'node:path';
import { URI } from 'vscode-uri';
import type { LoadedConfig } from '../config/load';
import type { Engine } from '../engine/client';
import { ModelError } from '../models/builder';
import type { Capture, Checkpoint, Plan, PreviewEstimate, PreviewResult, PreviewSettings } from '../protocol';
import { captureActivations } from './capture';
import type { CaptureOptions } from './capture';
import { writeCapture } from './captureFile';
import { estimatePreview } from './estimate';
import { runPreview } from './preview';
import type { Candidate, PreviewRequest } from './preview';
import { previewSettings } from './settings';

export interface PreviewConfig { uri: string; rule?: number; loaded: LoadedConfig }

type Hooks = Pick<PreviewRequest, 'folder' | 'cancellation' | 'onFrame' | 'onProgress'>;

/** @throws ModelError when the configs cannot be previewed together */
export async function preview(configs: readonly PreviewConfig[], hooks: Hooks, engine: Engine, changes: Partial<PreviewSettings> = {}): Promise<PreviewResult> {
  const { checkpoint, settings } = common(configs, changes);
  return runPreview({ ...hooks, checkpoint, settings, candidates: configs.map(toCandidate) }, engine);
}

export async function estimate(configs: readonly PreviewConfig[], folder: string | null, engine: Engine): Promise<PreviewEstimate> {
  const { checkpoint, settings } = common(configs, {});
  return estimatePreview(checkpoint, settings, configs.length, folder, engine);
}

/**
 * Activations of the full-precision model at the compared steps, into a safetensors file.
 * @param options all layers of the plan and 64 sampled rows unless told otherwise
 * @throws ModelError when the model cannot be previewed, or the file holds its weights
 */
export async function capture(config: PreviewConfig, path: string, options: Partial<CaptureOptions>, engine: Engine): Promise<Capture> {
  const { checkpoint, settings } = common([config], {});
  if (checkpoint.tensors.some((tensor) => resolve(tensor.file) === resolve(path))) {
    throw new ModelError(`${basename(path)} holds the weights of this checkpoint; choose another name for the capture.`);
  }
  const layers = config.loaded.plan?.layers.map((layer) => layer.name) ?? [];
  return writeCapture(path, await captureActivations(checkpoint, settings, engine, { layers, sampleRows: 64, ...options }));
}

/** Every candidate is compared with one reference: the first config's checkpoint and settings. */
function common(configs: readonly PreviewConfig[], changes: Partial<PreviewSettings>): { checkpoint: Checkpoint; settings: PreviewSettings } {
  const checkpoint = configs[0]?.loaded.checkpoint;
  if (!checkpoint) {
    throw new ModelError('There is no checkpoint to preview: see the problems of the config.');
  }
  const other = configs.find((config) => config.loaded.checkpoint?.path !== checkpoint.path);
  if (other) {
    throw new ModelError(`${nameOf(other)} is for another checkpoint; only configs of the same checkpoint can be compared.`);
  }
  return { checkpoint, settings: previewSettings({ ...configs[0]?.loaded.parsed.config.preview?.value, ...changes }, checkpoint) };
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
