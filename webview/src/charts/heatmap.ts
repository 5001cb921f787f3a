/**
 * A matrix of cells. A cell's colour is also told by its mark: the larger the square the farther from the baseline, filled for above and hollow for
 * below; wide cells carry the number. Arrow keys move from cell to cell.
 */
import { select } from 'd3';
import { h } from '../dom';
import { elideStart } from '../model/format';
import { nextCell } from '../model/heat';
import type { HeatCell, HeatData } from '../model/heat';
import { domain, intensity, ratioTicks } from '../model/scale';
import { listenToMarks } from './marks';
import type { ChartEvents } from './marks';

const CELL_HEIGHT = 20;
const HEAD = 34;
const CHARACTER = 6.2;
/** Of the width, at most this share for the names of the rows. */
const LABEL_SHARE = 0.46;
const MIN_CELL = 11;
const MAX_CELL = 56;
const TEXT_CELL = 40;
/** Cells nearer to the baseline than this share of the range carry no mark, so that the others stand out. */
const FAINT = 0.12;

export interface Heatmap {
  element: HTMLElement;
  draw(data: HeatData): void;
  select(name: string | null): void;
  /** Whether a cell of this name is among those drawn. */
  shows(name: string): boolean;
}

export function createHeatmap(events: ChartEvents): Heatmap {
  const legend = h('div', { class: 'legend' });
  const scroller = h('div', { class: 'heatmap-scroll' });
  const element = h('div', { class: 'heatmap' }, scroller, legend);
  const svg = select(scroller).append('svg').attr('role', 'grid');
  let data: HeatData | undefined;
  let selected: string | null = null;
  let size = MIN_CELL;
  let labels = 0;

  function draw(): void {
    if (data === undefined || element.clientWidth === 0) {
      return;
    }
    const { label, rows, columns, groups, cells: all, metric } = data;
    const shadeOf = ({ shade, value }: HeatCell): number | null => shade ?? value;
    const range = domain(all.map(shadeOf).filter((value) => value !== null), metric);
    labels = Math.round(Math.min(Math.max(0, ...rows.map((row) => row.length)) * CHARACTER + 12, element.clientWidth * LABEL_SHARE));
    size = Math.max(MIN_CELL, Math.min(MAX_CELL, Math.floor((element.clientWidth - labels - 2) / Math.max(1, columns.length))));
    const text = size >= TEXT_CELL;
    svg.attr('aria-label', label).attr('width', labels + size * columns.length + 2).attr('height', HEAD + CELL_HEIGHT * rows.length + 2);

    svg.selectAll('text.group').data(groups).join('text').attr('class', 'group').attr('y', 10)
      .attr('x', ({ first }) => labels + first * size + 2).text(({ title }) => title);
    const every = Math.max(1, Math.ceil(20 / size));
    svg.selectAll('text.column').data(columns).join('text').attr('class', 'column').attr('y', HEAD - 6)
      .attr('x', (_title, column) => labels + (column + 0.5) * size)
      .text((title, column) => (title === '' ? (text ? 'outside' : '–') : column % every === 0 ? title : ''));
    svg.selectAll('text.row').data(rows).join('text').attr('class', 'row').attr('x', labels - 8).attr('dy', '.35em')
      .attr('y', (_name, row) => HEAD + (row + 0.5) * CELL_HEIGHT).text((name) => elideStart(name, Math.floor((labels - 8) / CHARACTER)));

    const cells = svg.selectAll<SVGGElement, HeatCell>('g.cell').data(all, ({ names }) => names[0]).join((enter) => {
      const cell = enter.append('g').attr('class', 'cell').attr('role', 'gridcell');
      cell.append('rect').attr('class', 'field');
      cell.append('rect').attr('class', 'size');
      cell.append('text').attr('dy', '.35em');
      cell.append('title');
      return cell;
    }).order();
    cells.attr('transform', ({ row, column }) => `translate(${labels + column * size},${HEAD + row * CELL_HEIGHT})`)
      .attr('aria-label', ({ description }) => description)
      .each(function drawCell(cell) {
        const shade = shadeOf(cell);
        const strength = shade === null ? null : intensity(shade, range, metric);
        const group = select(this);
        group.select('.field').attr('class', `field${strength === null ? ' empty' : ''}`)
          .attr('x', 0.5).attr('y', 0.5).attr('width', size - 1).attr('height', CELL_HEIGHT - 1)
          .style('fill', () => (strength === null ? null : fill(strength)));
        const side = text || strength === null || Math.abs(strength) < FAINT ? 0 : Math.max(3, Math.abs(strength) * (Math.min(size, CELL_HEIGHT) - 5));
        group.select('.size').attr('class', `size${strength !== null && strength < 0 ? ' hollow' : ''}`)
          .attr('x', (size - side) / 2).attr('y', (CELL_HEIGHT - side) / 2).attr('width', side).attr('height', side);
        group.select('text').attr('x', size / 2).attr('y', CELL_HEIGHT / 2)
          .text(!text ? '' : (cell.text ?? (cell.value === null ? '' : metric.format(cell.value).replace('×', '').replace(' dB', ''))));
        group.select('title').text(cell.description);
      });
    element.style.setProperty('--labels', `${labels}px`);
    drawLegend(legend, range, metric);
    mark(selected);
  }

  function mark(name: string | null): void {
    selected = name;
    const current = find(name);
    const stop = current ?? data?.cells[0];
    svg.selectAll<SVGGElement, HeatCell>('g.cell')
      .classed('selected', (cell) => cell === current)
      .attr('aria-selected', (cell) => String(cell === current))
      .attr('tabindex', (cell) => (cell === stop ? 0 : -1));
  }

  const find = (name: string | null): HeatCell | undefined => (name === null ? undefined : data?.cells.find(({ names }) => names.includes(name)));
  listenToMarks<HeatCell>(svg, {
    selector: 'g.cell',
    key: ({ names }) => names[0],
    next: (cell, key) => (key.startsWith('Arrow') ? nextCell(data ?? { cells: [] }, cell, key) : undefined),
    onSelect: ({ names }) => events.onSelect(names[0]),
    onOpen: ({ names }) => events.onOpen(names[0]),
    onLeave: events.onLeave,
  });
  new ResizeObserver(draw).observe(element);

  return {
    element,
    draw: (next) => {
      data = next;
      draw();
    },
    select: (name) => {
      mark(name);
      const cell = find(name);
      if (cell !== undefined) {
        const left = labels + cell.column * size;
        scroller.scrollLeft = Math.max(Math.min(scroller.scrollLeft, left - labels), left + size - scroller.clientWidth);
      }
    },
    shows: (name) => find(name) !== undefined,
  };
}

/** Mixed with the editor's background, so that one rule serves every theme. */
function fill(strength: number): string {
  const hue = strength >= 0 ? 'var(--worse)' : 'var(--better)';
  return `color-mix(in srgb, ${hue} ${Math.round(6 + 54 * Math.abs(strength))}%, var(--vscode-editor-background))`;
}

function drawLegend(host: HTMLElement, [low, high]: [number, number], metric: HeatData['metric']): void {
  const middle = metric.baseline;
  const samples = metric.scale === 'log' ? ratioTicks(low, high, 5) : [0, 0.25, 0.5, 0.75, 1].map((share) => low + share * (high - low));
  const entries = samples.map((value) => {
    const swatch = h('span', { class: `swatch${value < middle ? ' hollow' : ''}` });
    swatch.style.background = fill(intensity(value, [low, high], metric));
    return h('span', { class: 'legend-entry' }, swatch, metric.format(value));
  });
  host.replaceChildren(...entries);
}
