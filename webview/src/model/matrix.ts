/** Layers as a matrix: one row for each role, one column for each block, the worst layer of a cell standing for it. */
import type { Role } from '../../../server/src/protocol';
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
  'q', 'k', 'v', 'qkv', 'attention-out', 'ffn-up', 'ffn-down',
  'context-q', 'context-k', 'context-v', 'context-qkv', 'context-attention-out', 'context-ffn-up', 'context-ffn-down',
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

/** Where an arrow key leads from a cell: the nearest filled cell in that direction along its row or column, else the same cell. */
export function nextCell({ cells }: Matrix, from: Cell, key: string): Cell {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
  if (step === undefined) {
    return from;
  }
  const [dx = 0, dy = 0] = step;
  const ahead = cells.filter((cell) => (dx === 0
    ? cell.column === from.column && (cell.row - from.row) * dy > 0
    : cell.row === from.row && (cell.column - from.column) * dx > 0));
  const distance = (cell: Cell): number => Math.abs(cell.column - from.column) + Math.abs(cell.row - from.row);
  return ahead.reduce<Cell | undefined>((best, cell) => (best === undefined || distance(cell) < distance(best) ? cell : best), undefined) ?? from;
}
