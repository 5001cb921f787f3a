/** Layers as a matrix: one row for each role, one column for each block, the worst layer of a cell standing for it. */
import type { Role } from '../../../server/src/protocol';
import type { HeatData } from './heat';
import type { LayerRow } from './layers';
import { badness } from './metrics';
import type { Metric } from './metrics';
import { compareNames } from './tensorTable';

export interface Cell {
  role: Role;
  column: number;
  row: number;
  /** The layer with the worst value; without values the first one. */
  layer: LayerRow;
  value: number | null;
  /** All layers of the cell, in model order. */
  layers: LayerRow[];
}
export interface Matrix {
  /** Block paths; the last column '' holds what is outside of every block. */
  blocks: string[];
  /** Short column titles: the block's number, '' for the last column. */
  titles: string[];
  roles: Role[];
  cells: Cell[];
}

const ROLE_ORDER: readonly Role[] = [
  'q', 'k', 'v', 'qkv', 'attention-out', 'cross-q', 'cross-k', 'cross-v', 'cross-attention-out', 'ffn-gate', 'ffn-up', 'ffn-down',
  'context-q', 'context-k', 'context-v', 'context-qkv', 'context-attention-out', 'context-ffn-gate', 'context-ffn-up', 'context-ffn-down',
  'single-in', 'single-out', 'modulation', 'embedder', 'final', 'other',
];

export function buildMatrix(rows: readonly LayerRow[], metric: Metric): Matrix {
  const blocks = [...new Set(rows.map(({ plan }) => plan.block ?? ''))].sort((a, b) => Number(a === '') - Number(b === '') || groupFirst(a, b));
  const present = new Set(rows.map(({ plan }) => plan.role));
  const roles = ROLE_ORDER.filter((role) => present.has(role));
  const groups = new Map<string, LayerRow[]>();
  for (const row of rows) {
    const key = `${row.plan.role} ${row.plan.block ?? ''}`;
    const group = groups.get(key);
    if (group === undefined) {
      groups.set(key, [row]);
    } else {
      group.push(row);
    }
  }
  const cells: Cell[] = [];
  roles.forEach((role, row) => {
    blocks.forEach((block, column) => {
      const layers = groups.get(`${role} ${block}`);
      const layer = layers === undefined ? undefined : worst(layers, metric);
      if (layers !== undefined && layer !== undefined) {
        cells.push({ role, row, column, layer, layers, value: metric.value(layer) });
      }
    });
  });
  return { blocks, titles: blocks.map(blockTitle), roles, cells };
}

/** FLUX runs `transformer_blocks` before `single_transformer_blocks`; other architectures have one list and stay in natural order. */
function groupFirst(a: string, b: string): number {
  return Number(a.startsWith('single_')) - Number(b.startsWith('single_')) || compareNames(a, b);
}

function blockTitle(block: string): string {
  return block.slice(block.lastIndexOf('.') + 1);
}

function worst(layers: readonly LayerRow[], metric: Metric): LayerRow | undefined {
  let found: LayerRow | undefined;
  let score = -Infinity;
  for (const layer of layers) {
    const value = metric.value(layer);
    const next = value === null ? -Infinity : badness(metric, value);
    if (found === undefined || next > score) {
      found = layer;
      score = next;
    }
  }
  return found;
}

/** As the heat map draws it. */
export function roleHeat(rows: readonly LayerRow[], metric: Metric): HeatData {
  const { blocks, titles, roles, cells } = buildMatrix(rows, metric);
  return {
    label: 'Layers by role and block', rows: roles, columns: titles, groups: groupsOf(blocks), metric,
    cells: cells.map((cell) => ({
      row: cell.row, column: cell.column, value: cell.value, description: describe(cell, blocks[cell.column] ?? '', metric),
      names: [cell.layer.plan.name, ...cell.layers.filter((layer) => layer !== cell.layer).map(({ plan }) => plan.name)],
    })),
  };
}

/** Runs of columns whose blocks belong to the same list, such as `transformer_blocks`. */
function groupsOf(blocks: readonly string[]): HeatData['groups'] {
  const groups: { title: string; first: number }[] = [];
  blocks.forEach((block, first) => {
    const title = block === '' ? '' : block.slice(0, Math.max(0, block.lastIndexOf('.')));
    if (title !== '' && groups.at(-1)?.title !== title) {
      groups.push({ title, first });
    }
  });
  return groups;
}

function describe({ role, value, layer, layers }: Cell, block: string, metric: Metric): string {
  const more = layers.length > 1 ? `, worst of ${layers.length} layers` : '';
  return `${role}, ${block === '' ? 'outside of every block' : block}: ${metric.title} ${value === null ? 'no value' : metric.format(value)} (${layer.plan.name}${more})`;
}
