/** Numbers and names as hints, hovers and listings write them. */
import { escaped, grouped } from '../checkpoint/errors';
export { markdownTable } from '../markdown';
import type { Layer } from '../protocol';

export const separator = ' · ';

export function layerCount(count: number): string {
  return `${grouped(count)} ${count === 1 ? 'layer' : 'layers'}`;
}

export function percent(value: number): string {
  return `${value.toFixed(2)} %`;
}

export function bits(value: number): string {
  return `${value.toFixed(3)} bits`;
}

/** Share of all linear weights, percent. */
export function share(layers: readonly Pick<Layer, 'params'>[], all: readonly Pick<Layer, 'params'>[]): number {
  const total = paramsOf(all);
  return total > 0 ? (100 * paramsOf(layers)) / total : 0;
}

export function paramsOf(layers: readonly Pick<Layer, 'params'>[]): number {
  return layers.reduce((sum, layer) => sum + layer.params, 0);
}

/** Text from a file as Markdown code: nothing in it may end the code span or the table cell. */
export function code(text: string): string {
  return `\`${escaped(text).replaceAll('`', '\'').replaceAll('|', '\\|')}\``;
}
