import type { Recipe } from '../../../protocol';
import { comfy } from '../../dialects/comfy';
import { comfyEquivalent, formats } from '../../dialects/comfyTensors';
import type { ComfyNote } from '../../dialects/comfyTensors';
import { json, nearest, requireNumbers } from './writer';
import type { Writer } from './writer';

/** Every layer by its exact name. What is not named is loaded as unquantized. */
export const comfyWriter: Writer = {
  id: comfy.id, dialect: comfy, says: 'float8, NVFP4, MXFP8, int8 and int4 with or without ConvRot, AWQ W4A16, for each layer by name', fileName: 'quantization_metadata.json',
  write({ quantized }) {
    requireNumbers(quantized, 'ComfyUI');
    const layers = quantized.flatMap((of) => {
      const note = nearest(notesFor(of.recipe).map((setting) => ({ setting, recipe: comfyEquivalent(setting)?.recipe })), of, 'ComfyUI');
      return of.layers.map(({ name, inFeatures }) => [name, note.convrot === true || note.format === 'convrot_w4a4' ? { ...note, convrot_groupsize: [256, 64, 16, 4].find((size) => inFeatures % size === 0) ?? 4 } : note] as const);
    });
    return json({ format_version: '1.0', layers: Object.fromEntries(layers) });
  },
};

/** Formats, with a rotation where the plan has one. */
function notesFor({ rotate }: Recipe): ComfyNote[] {
  return [...Object.keys(formats).map((format) => ({ format })), ...rotate ? [{ format: 'int8_tensorwise', convrot: true }] : []];
}
