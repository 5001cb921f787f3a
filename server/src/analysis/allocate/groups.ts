/** Layers that must share a recipe, because they run as one product: projections of one input, which runtimes fuse. */
import type { Layer, Role } from '../../protocol';

const fused: readonly (readonly Role[])[] = [
  ['q', 'k', 'v'], ['context-q', 'context-k', 'context-v'], ['cross-k', 'cross-v'], ['ffn-gate', 'ffn-up'], ['context-ffn-gate', 'context-ffn-up'],
];

/** Every layer is in exactly one group; layers outside of blocks are groups of their own. */
export function tieLayers<T extends Pick<Layer, 'name' | 'role' | 'block'>>(layers: readonly T[]): T[][] {
  const groups = new Map<string, T[]>();
  for (const layer of layers) {
    const family = fused.findIndex((roles) => roles.includes(layer.role));
    const key = family < 0 || layer.block === null ? `layer ${layer.name}` : `family ${family} ${layer.block}`;
    const group = groups.get(key);
    if (group) {
      group.push(layer);
    } else {
      groups.set(key, [layer]);
    }
  }
  return [...groups.values()];
}
