/** What a layer may get, and what each of that costs in every layer: true packed bytes, found by the resolver itself. */
import { methods } from '../../methods';
import type { QuantConfig, Rule, Settings } from '../../config/parse';
import { resolvePlan } from '../../config/resolve';
import type { Checkpoint, LayerPlan, Range } from '../../protocol';
import { AllocationError } from './errors';

/** One option, as a rule of the config would say it. */
export interface LayerOption { label: string; settings: Settings; /** Lines of the rule. */ lines: string[] }

export const keepLabel = 'keep';

const nowhere: Range = { start: { line: 0, character: 0 }, end: { line: 0, character: 0 } };

/** 2, 3, 4 and 8 bits with the activation bits of `defaults` (no fewer than those of the weights), and the layer as it is. */
export function usualOptions(defaults: Settings): LayerOption[] {
  const activations = defaults.scheme?.value.activationBits ?? 16;
  return readOptions([...[2, 3, 4, 8].map((bits) => `W${bits}A${Math.max(bits, activations)}`), keepLabel], defaults);
}

/** @param texts `W4A4` with the method of `defaults`, `rtn:W4A16` with another, or `keep`. @throws AllocationError */
export function readOptions(texts: readonly string[], defaults: Settings): LayerOption[] {
  const options = texts.map((text) => readOption(text, defaults));
  const twice = texts.find((text, index) => texts.indexOf(text) !== index);
  if (twice !== undefined || options.length < 2 || options.length > maxOptions) {
    throw new AllocationError(twice !== undefined ? `The option "${twice}" stands there twice. Remove one.` : `There must be 2 to ${maxOptions} options to choose from, not ${options.length}. Example: --options W3A4,W4A4,W8A8,keep`);
  }
  return options;
}

const maxOptions = 16;

function readOption(text: string, defaults: Settings): LayerOption {
  if (text === keepLabel) {
    return { label: text, settings: { keep: { value: 'original', range: nowhere } }, lines: ['keep: original'] };
  }
  const [, named, weightBits, activationBits] = /^(?:([\w-]+):)?W([1-8]|16)A([1-8]|16)$/.exec(text) ?? [];
  if (weightBits === undefined || activationBits === undefined) {
    throw new AllocationError(`"${text}" is no option. Write a scheme (W4A4), a method and a scheme (rtn:W4A16), or keep, with commas between: --options W3A4,W4A4,W8A8,keep`);
  }
  const method = named ?? (defaults.method ? undefined : 'orbitquant');
  if (method !== undefined && !methods.has(method)) {
    throw new AllocationError(`There is no method "${method}". Known: ${[...methods.keys()].join(', ')}.`);
  }
  const scheme = { value: { weightBits: Number(weightBits), activationBits: Number(activationBits) }, range: nowhere };
  return {
    label: text, settings: { scheme, ...(method === undefined ? {} : { method: { value: { name: method }, range: nowhere } }) },
    lines: [...(method === undefined ? [] : [`method: ${method}`]), `scheme: W${weightBits}A${activationBits}`],
  };
}

/** The plan of every layer under one option; null where the option cannot be. */
export function layersUnder(option: LayerOption, config: QuantConfig, checkpoint: Checkpoint): Map<string, LayerPlan | null> {
  const everywhere: Rule = { index: 0, name: option.label, layers: [{ value: '**', range: nowhere }], range: nowhere, layersRange: nowhere, layersKey: nowhere, ...option.settings };
  const { layers } = resolvePlan({ defaults: config.defaults, rules: [everywhere] }, checkpoint);
  // A refused combination leaves the layer as it is.
  return new Map(layers.map((layer) => [layer.name, option.label !== keepLabel && layer.recipe.method === 'keep' ? null : layer]));
}
