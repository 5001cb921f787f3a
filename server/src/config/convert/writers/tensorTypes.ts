/** Rules of ggml's tools: `expression=type` for every layer, so that nothing is left to the type of the command line. */
import { ggmlRecipes, ggmlTypes } from '../../dialects/ggmlTypes';
import { llamaQuantize } from '../../dialects/llamaQuantize';
import { stableDiffusionCpp } from '../../dialects/stableDiffusionCpp';
import { isKept } from '../compare';
import { apart, firstWins, nearest, requireNumbers, wholeName } from './writer';
import type { RecipeClass, WriteRequest, Writer } from './writer';

const says = 'ggml\'s types (q8_0, q5_0, q4_0, K types, bf16), weights alone';

/** The first match decides. */
export const stableDiffusionCppWriter: Writer = {
  id: stableDiffusionCpp.id, dialect: stableDiffusionCpp, says: `${says}, by expressions of which the first decides`, fileName: 'tensor-type-rules.txt',
  write: (request) => `${rulesOf(request, firstWins(request.classes, request.checkpoint), 'stable-diffusion.cpp', (expression) => expression).join(',')}\n`,
};

/** Which of two matches decides depends on the version, so no layer is taken twice; expressions are lower-cased, so a dot stands for every capital. */
export const llamaQuantizeWriter: Writer = {
  id: llamaQuantize.id, dialect: llamaQuantize, says: `${says}, by expressions`, fileName: 'tensor-types.txt',
  write: (request) => `${rulesOf(request, apart(request.classes, request.checkpoint), 'llama-quantize', (expression) => expression.replace(/[A-Z]/g, '.')).join('\n')}\n`,
};

function rulesOf({ quantized }: WriteRequest, ordered: readonly { of: RecipeClass; globs: string[] }[], title: string, spelled: (expression: string) => string): string[] {
  requireNumbers(quantized, title);
  return ordered.flatMap(({ of, globs }) => globs.map((glob) => `${spelled(wholeName(glob, '.weight'))}=${typeOf(of, title)}`));
}

function typeOf(of: RecipeClass, title: string): string {
  if (isKept(of.recipe)) {
    const { weights } = of.recipe;
    const stored = of.layers[0]?.tensor.dtype;
    const dtype = weights.kind === 'keep' ? weights.dtype : 'original';
    return dtype === 'fp16' || (dtype === 'original' && stored === 'F16') ? 'f16' : dtype === 'fp32' || (dtype === 'original' && stored === 'F32') ? 'f32' : 'bf16';
  }
  const fits = Object.entries(ggmlRecipes).filter(([type]) => of.layers.every(({ inFeatures }) => inFeatures % (ggmlTypes[type]?.[1] ?? 1) === 0));
  return nearest(fits.map(([setting, { recipe }]) => ({ setting, recipe })), of, title);
}
