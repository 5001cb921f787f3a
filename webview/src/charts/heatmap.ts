/**
 * Role × block. A cell's colour is also told by its mark: the larger the square the farther from the baseline, filled for worse and hollow for
 * better; wide cells carry the number. Arrow keys move from cell to cell.
 */
import { select } from 'd3';
import { h } from '../dom';
import type { LayerRow } from '../model/layers';
import { buildMatrix, nextCell } from '../model/matrix';
import type { Cell, Matrix } from '../model/matrix';
import type { Metric } from '../model/metrics';
import { domain, intensity, ratioTicks } from '../model/scale';
import type { ChartEvents } from './bars';

const CELL_HEIGHT = 20;
const HEAD = 34;
const LABELS = 128;
const MIN_CELL = 11;
const MAX_CELL = 56;
const TEXT_CELL = 40;
/** Cells nearer to the baseline than this share of the range carry no mark, so that the others stand out. */
const FAINT = 0.12;

export interface Heatmap {
  element: HTMLElement;
  draw(rows: readonly LayerRow[], metric: Metric): void;
  select(name: string | null): void;
}

export function createHeatmap(events: ChartEvents): Heatmap {
  const legend = h('div', { class: 'legend' });
  const scroller = h('div', { class: 'heatmap-scroll' });
  const element = h('div', { class: 'heatmap' }, scroller, legend);
  const svg = select(scroller).append('svg').attr('role', 'grid').attr('aria-label', 'Layers by role and block');
  let rows: readonly LayerRow[] = [];
  let metric: Metric | undefined;
  let matrix: Matrix = { blocks: [], titles: [], roles: [], cells: [] };
  let selected: string | null = null;
  let size = MIN_CELL;

  function draw(): void {
    if (metric === undefined || element.clientWidth === 0) {
      return;
    }
    const shown = metric;
    matrix = buildMatrix(rows, shown);
    const values = matrix.cells.map(({ value }) => value).filter((value) => value !== null);
    const range = domain(values, shown);
    size = Math.max(MIN_CELL, Math.min(MAX_CELL, Math.floor((element.clientWidth - LABELS - 2) / Math.max(1, matrix.blocks.length))));
    const text = size >= TEXT_CELL;
    svg.attr('width', LABELS + size * matrix.blocks.length + 2).attr('height', HEAD + CELL_HEIGHT * matrix.roles.length + 2);

    svg.selectAll('text.group').data(groupsOf(matrix)).join('text').attr('class', 'group').attr('y', 10)
      .attr('x', ({ first }) => LABELS + first * size + 2).text(({ title }) => title);
    const every = Math.max(1, Math.ceil(20 / size));
    svg.selectAll('text.column').data(matrix.titles).join('text').attr('class', 'column').attr('y', HEAD - 6)
      .attr('x', (_title, column) => LABELS + (column + 0.5) * size)
      .text((title, column) => (title === '' ? (text ? 'outside' : '–') : column % every === 0 ? title : ''));
    svg.selectAll('text.role').data(matrix.roles).join('text').attr('class', 'role').attr('x', LABELS - 8).attr('dy', '.35em')
      .attr('y', (_role, row) => HEAD + (row + 0.5) * CELL_HEIGHT).text((role) => role);

    const cells = svg.selectAll<SVGGElement, Cell>('g.cell').data(matrix.cells, (cell) => `${cell.role} ${matrix.blocks[cell.column] ?? ''}`).join((enter) => {
      const cell = enter.append('g').attr('class', 'cell').attr('role', 'gridcell');
      cell.append('rect').attr('class', 'field');
      cell.append('rect').attr('class', 'size');
      cell.append('text').attr('dy', '.35em');
      cell.append('title');
      return cell;
    }).order();
    cells.attr('transform', ({ row, column }) => `translate(${LABELS + column * size},${HEAD + row * CELL_HEIGHT})`)
      .attr('aria-label', (cell) => describe(cell, matrix, shown))
      .each(function drawCell(cell) {
        const strength = cell.value === null ? null : intensity(cell.value, range, shown);
        const group = select(this);
        group.select('.field').attr('class', `field${strength === null ? ' empty' : ''}`)
          .attr('x', 0.5).attr('y', 0.5).attr('width', size - 1).attr('height', CELL_HEIGHT - 1)
          .style('fill', () => (strength === null ? null : fill(strength)));
        const side = text || strength === null || Math.abs(strength) < FAINT ? 0 : Math.max(3, Math.abs(strength) * (Math.min(size, CELL_HEIGHT) - 5));
        group.select('.size').attr('class', `size${strength !== null && strength < 0 ? ' hollow' : ''}`)
          .attr('x', (size - side) / 2).attr('y', (CELL_HEIGHT - side) / 2).attr('width', side).attr('height', side);
        group.select('text').attr('x', size / 2).attr('y', CELL_HEIGHT / 2)
          .text(text && cell.value !== null ? shown.format(cell.value).replace('×', '').replace(' dB', '') : '');
        group.select('title').text(describe(cell, matrix, shown));
      });
    drawLegend(legend, range, shown);
    mark(selected);
  }

  function mark(name: string | null): void {
    selected = name;
    const current = matrix.cells.find((cell) => cell.layers.some(({ plan }) => plan.name === name));
    const stop = current ?? matrix.cells[0];
    svg.selectAll<SVGGElement, Cell>('g.cell')
      .classed('selected', (cell) => cell === current)
      .attr('aria-selected', (cell) => String(cell === current))
      .attr('tabindex', (cell) => (cell === stop ? 0 : -1));
  }

  const cellOf = (target: EventTarget | null): Cell | undefined => {
    const group = (target as Element | null)?.closest<SVGGElement>('g.cell');
    return group === null || group === undefined ? undefined : select<SVGGElement, Cell>(group).datum();
  };
  const focus = (cell: Cell): void => {
    svg.selectAll<SVGGElement, Cell>('g.cell').filter((other) => other === cell).node()?.focus();
  };
  svg.on('click', (event: MouseEvent) => {
    const cell = cellOf(event.target);
    if (cell !== undefined) {
      events.onSelect(cell.layer.plan.name);
      focus(cell);
    }
  }).on('dblclick', (event: MouseEvent) => {
    const cell = cellOf(event.target);
    if (cell !== undefined) {
      events.onOpen(cell.layer.plan.name);
    }
  }).on('keydown', (event: KeyboardEvent) => {
    const cell = cellOf(event.target);
    if (cell === undefined) {
      return;
    }
    if (event.key.startsWith('Arrow')) {
      event.preventDefault();
      const next = nextCell(matrix, cell, event.key);
      events.onSelect(next.layer.plan.name);
      focus(next);
    } else if (event.key === 'Enter') {
      events.onOpen(cell.layer.plan.name);
    } else if (event.key === ' ') {
      event.preventDefault();
      events.onSelect(cell.layer.plan.name);
    } else if (event.key === 'Escape') {
      events.onLeave();
    }
  });
  new ResizeObserver(draw).observe(element);

  return {
    element,
    draw: (nextRows, nextMetric) => {
      rows = nextRows;
      metric = nextMetric;
      draw();
    },
    select: (name) => {
      mark(name);
      const cell = matrix.cells.find(({ layers }) => layers.some(({ plan }) => plan.name === name));
      if (cell !== undefined) {
        const left = LABELS + cell.column * size;
        scroller.scrollLeft = Math.max(Math.min(scroller.scrollLeft, left - LABELS), left + size - scroller.clientWidth);
      }
    },
  };
}

/** Mixed with the editor's background, so that one rule serves every theme. */
function fill(strength: number): string {
  const hue = strength >= 0 ? 'var(--worse)' : 'var(--better)';
  return `color-mix(in srgb, ${hue} ${Math.round(6 + 54 * Math.abs(strength))}%, var(--vscode-editor-background))`;
}

/** Runs of columns whose blocks belong to the same list, such as `transformer_blocks`. */
function groupsOf({ blocks }: Matrix): { title: string; first: number }[] {
  const groups: { title: string; first: number }[] = [];
  blocks.forEach((block, column) => {
    const title = block === '' ? '' : block.slice(0, Math.max(0, block.lastIndexOf('.')));
    if (title !== '' && groups.at(-1)?.title !== title) {
      groups.push({ title, first: column });
    }
  });
  return groups;
}

function describe(cell: Cell, { blocks }: Matrix, metric: Metric): string {
  const block = blocks[cell.column] ?? '';
  const more = cell.layers.length > 1 ? `, worst of ${cell.layers.length} layers` : '';
  const value = cell.value === null ? 'no value' : metric.format(cell.value);
  return `${cell.role}, ${block === '' ? 'outside of every block' : block}: ${metric.title} ${value} (${cell.layer.plan.name}${more})`;
}

function drawLegend(host: HTMLElement, [low, high]: [number, number], metric: Metric): void {
  const middle = metric.baseline;
  const samples = metric.scale === 'log' ? ratioTicks(low, high, 5) : [0, 0.25, 0.5, 0.75, 1].map((share) => low + share * (high - low));
  const entries = samples.map((value) => {
    const swatch = h('span', { class: `swatch${value < middle ? ' hollow' : ''}` });
    swatch.style.background = fill(intensity(value, [low, high], metric));
    return h('span', { class: 'legend-entry' }, swatch, metric.format(value));
  });
  host.replaceChildren(...entries);
}
