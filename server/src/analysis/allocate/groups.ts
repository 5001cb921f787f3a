/** Layers that must share a recipe: projections of one input, which runtimes fuse into one product, and copies of one layer. */
import type { Copies } from '../../checkpoint/copies';
import type { Layer, Role } from '../../protocol';

const fused: readonly (readonly Role[])[] = [
  ['q', 'k', 'v'], ['context-q', 'context-k', 'context-v'], ['cross-k', 'cross-v'], ['ffn-gate', 'ffn-up'], ['context-ffn-gate', 'context-ffn-up'],
];

/** Every layer is in exactly one group; layers outside of blocks are groups of their own. @param copies of the checkpoint */
export function tieLayers<T extends Pick<Layer, 'name' | 'role' | 'block'>>(layers: readonly T[], copies: readonly Copies[] = []): T[][] {
  const groups = new Map<string, T[]>();
  const originals = new Map(copies.flatMap(({ layers: modules }) => modules.flatMap((each) => each.map(({ name }) => [name, each[0]?.name ?? name] as const))));
  for (const layer of layers) {
    const family = fused.findIndex((roles) => roles.includes(layer.role));
    const key = family < 0 || layer.block === null ? `layer ${originals.get(layer.name) ?? layer.name}` : `family ${family} ${layer.block}`;
    const group = groups.get(key);
    if (group) {
      group.push(layer);
    } else {
      groups.set(key, [layer]);
    }
  }
  return [...groups.values()];
}
