/**
 * One bar for each row, in the order given, from the metric's baseline. A ratio's bars start at ×1, so the side says better or worse without colour,
 * estimates are hollow and dashed, and every bar carries its value as text. Marks are options of a listbox: arrows move, Enter opens the rule, Escape leaves.
 */
import { axisTop, scaleLinear, scaleLog, select } from 'd3';
import { h } from '../dom';
import { elideStart } from '../model/format';
import type { BarRow, BarScale } from '../model/bars';
import { domain, ratioTicks } from '../model/scale';
import { moveCursor } from '../model/window';
import { listenToMarks } from './marks';
import type { ChartEvents } from './marks';

const ROW = 20;
const AXIS = 22;
const VALUE_WIDTH = 76;
const CHARACTER = 6.7;

export interface Bars {
  element: HTMLElement;
  draw(rows: readonly BarRow[], scale: BarScale): void;
  select(name: string | null): void;
}

export function createBars(label: string, events: ChartEvents): Bars {
  const element = h('div', { class: 'bars' });
  const axis = select(element).append('svg').attr('class', 'bars-axis').attr('height', AXIS).attr('aria-hidden', 'true');
  const svg = select(element).append('svg').attr('class', 'bars-body').attr('role', 'listbox').attr('aria-label', label);
  let rows: readonly BarRow[] = [];
  let metric: BarScale | undefined;
  let selected: string | null = null;

  function draw(): void {
    if (metric === undefined || element.clientWidth === 0) {
      return;
    }
    const shown = metric;
    const width = element.clientWidth;
    const longest = Math.max(0, ...rows.map(({ name }) => name.length));
    const labelWidth = Math.round(Math.min(longest * CHARACTER + 12, width * 0.46));
    const values = rows.map(({ value }) => value).filter((value) => value !== null);
    const [low, high] = domain(values, shown);
    const x = (shown.scale === 'log' ? scaleLog() : scaleLinear()).domain([low, high]).range([labelWidth + 6, width - VALUE_WIDTH]);
    const zero = x(shown.baseline);
    const tickCount = Math.max(2, Math.floor((width - VALUE_WIDTH - labelWidth) / 64));
    const ticks = shown.scale === 'log' ? ratioTicks(low, high, tickCount) : x.ticks(tickCount);

    axis.attr('width', width).selectAll<SVGGElement, null>('g').data([null]).join('g').attr('transform', `translate(0,${AXIS - 1})`)
      .call(axisTop<number>(x).tickValues(ticks).tickFormat((value) => (shown.tick ?? shown.format)(value)).tickSize(4));

    svg.attr('width', width).attr('height', rows.length * ROW + 4);
    svg.selectAll('line.grid').data(ticks).join('line').attr('class', 'grid').lower()
      .attr('x1', (tick) => x(tick)).attr('x2', (tick) => x(tick)).attr('y1', 0).attr('y2', rows.length * ROW);
    svg.selectAll('line.baseline').data([zero]).join('line').attr('class', 'baseline')
      .attr('x1', zero).attr('x2', zero).attr('y1', 0).attr('y2', rows.length * ROW);

    const marks = svg.selectAll<SVGGElement, BarRow>('g.mark').data(rows, ({ name }) => name).join((enter) => {
      const mark = enter.append('g').attr('class', 'mark').attr('role', 'option');
      mark.append('rect').attr('class', 'row-hit').attr('height', ROW);
      mark.append('text').attr('class', 'label').attr('y', ROW / 2).attr('dy', '.35em');
      mark.append('rect').attr('class', 'bar').attr('y', 4).attr('height', ROW - 8);
      mark.append('text').attr('class', 'value').attr('y', ROW / 2).attr('dy', '.35em');
      mark.append('title');
      return mark;
    }).order();
    marks.attr('data-name', ({ name }) => name).attr('transform', (_row, index) => `translate(0,${index * ROW})`)
      .attr('aria-label', ({ description }) => description);
    marks.select('.row-hit').attr('width', width);
    marks.select('.label').attr('x', labelWidth).text((row) => elideStart(row.name, Math.floor((labelWidth - 8) / CHARACTER)));
    marks.select('.bar')
      .attr('class', ({ side, estimate }) => `bar ${side}${estimate === true ? ' estimate' : ''}`)
      .attr('x', ({ value }) => Math.min(zero, x(value ?? shown.baseline)))
      .attr('width', ({ value }) => Math.abs(x(value ?? shown.baseline) - zero));
    marks.select('.value').attr('x', width - 8).classed('none', ({ value }) => value === null).text(({ text }) => text);
    marks.select('title').text(({ description }) => description);
    mark(selected);
  }

  function mark(name: string | null): void {
    selected = name;
    const first = rows[0]?.name;
    const known = name !== null && rows.some((row) => row.name === name);
    svg.selectAll<SVGGElement, BarRow>('g.mark')
      .classed('selected', (row) => row.name === name)
      .attr('aria-selected', (row) => String(row.name === name))
      .attr('tabindex', (row) => (row.name === (known ? name : first) ? 0 : -1));
  }

  listenToMarks<BarRow>(svg, {
    selector: 'g.mark',
    key: ({ name }) => name,
    next: ({ name }, key) => rows[moveCursor(key, rows.findIndex((row) => row.name === name), rows.length, 10) ?? -1],
    onSelect: ({ name }) => events.onSelect(name),
    onOpen: ({ name }) => events.onOpen(name),
    onLeave: events.onLeave,
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
      svg.select<SVGGElement>('g.mark.selected').node()?.scrollIntoView({ block: 'nearest' });
    },
  };
}
