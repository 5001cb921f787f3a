import type { Layer } from '../../protocol';
import { placesOf } from '../resolve';

/** What cannot be converted at all. The message names the place and what to do instead. */
export class ConversionError extends Error {}

export function layersPlace(layers: readonly Pick<Layer, 'name'>[]): string {
  return `${layers.length} ${layers.length === 1 ? 'layer' : 'layers'}: ${placesOf(layers.map(({ name }) => name))}`;
}
