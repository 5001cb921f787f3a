/**
 * One bar for each layer, the largest deviation first, from the metric's baseline. A ratio's bars start at ×1, so the side says better or worse without colour,
 * and every bar carries its value as text. Marks are options of a listbox: arrows move, Enter opens the rule, Escape leaves.
 */
import { axisTop, scaleLinear, scaleLog, select } from 'd3';
import { h } from '../dom';
import { elideStart } from '../model/format';
import { recipeLabel } from '../model/layers';
import type { LayerRow } from '../model/layers';
import type { Metric } from '../model/metrics';
import { domain, ratioTicks } from '../model/scale';
import { moveCursor } from '../model/window';
import { listenToMarks } from './marks';
import type { ChartEvents } from './marks';

const ROW = 20;
const AXIS = 22;
const VALUE_WIDTH = 76;
const CHARACTER = 6.7;
/** Ratios this near to 1 stay grey: sampling of a finite row moves them as much. */
const AS_EXPECTED = 1.05;

export interface Bars {
  element: HTMLElement;
  draw(rows: readonly LayerRow[], metric: Metric): void;
  select(name: string | null): void;
}

export function createBars(events: ChartEvents): Bars {
  const element = h('div', { class: 'bars' });
  const axis = select(element).append('svg').attr('class', 'bars-axis').attr('height', AXIS).attr('aria-hidden', 'true');
  const svg = select(element).append('svg').attr('class', 'bars-body').attr('role', 'listbox').attr('aria-label', 'Layers, ranked by the chosen metric');
  let rows: readonly LayerRow[] = [];
  let metric: Metric | undefined;
  let selected: string | null = null;

  function draw(): void {
    if (metric === undefined || element.clientWidth === 0) {
      return;
    }
    const shown = metric;
    const width = element.clientWidth;
    const longest = Math.max(0, ...rows.map(({ plan }) => plan.name.length));
    const labelWidth = Math.round(Math.min(longest * CHARACTER + 12, width * 0.46));
    const values = rows.map(shown.value).filter((value) => value !== null);
    const [low, high] = domain(values, shown);
    const x = (shown.scale === 'log' ? scaleLog() : scaleLinear()).domain([low, high]).range([labelWidth + 6, width - VALUE_WIDTH]);
    const zero = x(shown.baseline);
    const tickCount = Math.max(2, Math.floor((width - VALUE_WIDTH - labelWidth) / 64));
    const ticks = shown.scale === 'log' ? ratioTicks(low, high, tickCount) : x.ticks(tickCount);

    axis.attr('width', width).selectAll<SVGGElement, null>('g').data([null]).join('g').attr('transform', `translate(0,${AXIS - 1})`)
      .call(axisTop<number>(x).tickValues(ticks).tickFormat((value) => shown.format(value)).tickSize(4));

    svg.attr('width', width).attr('height', rows.length * ROW + 4);
    svg.selectAll('line.grid').data(ticks).join('line').attr('class', 'grid').lower()
      .attr('x1', (tick) => x(tick)).attr('x2', (tick) => x(tick)).attr('y1', 0).attr('y2', rows.length * ROW);
    svg.selectAll('line.baseline').data([zero]).join('line').attr('class', 'baseline')
      .attr('x1', zero).attr('x2', zero).attr('y1', 0).attr('y2', rows.length * ROW);

    const marks = svg.selectAll<SVGGElement, LayerRow>('g.mark').data(rows, (row) => row.plan.name).join((enter) => {
      const mark = enter.append('g').attr('class', 'mark').attr('role', 'option');
      mark.append('rect').attr('class', 'row-hit').attr('height', ROW);
      mark.append('text').attr('class', 'label').attr('y', ROW / 2).attr('dy', '.35em');
      mark.append('rect').attr('class', 'bar').attr('y', 4).attr('height', ROW - 8);
      mark.append('text').attr('class', 'value').attr('y', ROW / 2).attr('dy', '.35em');
      mark.append('title');
      return mark;
    }).order();
    marks.attr('data-name', (row) => row.plan.name).attr('transform', (_row, index) => `translate(0,${index * ROW})`)
      .attr('aria-label', (row) => describe(row, shown));
    marks.select('.row-hit').attr('width', width);
    marks.select('.label').attr('x', labelWidth).text((row) => elideStart(row.plan.name, Math.floor((labelWidth - 8) / CHARACTER)));
    marks.select('.bar')
      .attr('class', (row) => `bar ${side(row, shown)}`)
      .attr('x', (row) => Math.min(zero, x(shown.value(row) ?? shown.baseline)))
      .attr('width', (row) => Math.abs(x(shown.value(row) ?? shown.baseline) - zero));
    marks.select('.value').attr('x', width - 8).classed('none', (row) => shown.value(row) === null).text((row) => valueText(row, shown));
    marks.select('title').text((row) => describe(row, shown));
    mark(selected);
  }

  function mark(name: string | null): void {
    selected = name;
    const first = rows[0]?.plan.name;
    const known = name !== null && rows.some((row) => row.plan.name === name);
    svg.selectAll<SVGGElement, LayerRow>('g.mark')
      .classed('selected', (row) => row.plan.name === name)
      .attr('aria-selected', (row) => String(row.plan.name === name))
      .attr('tabindex', (row) => (row.plan.name === (known ? name : first) ? 0 : -1));
  }

  listenToMarks<LayerRow>(svg, {
    selector: 'g.mark',
    key: ({ plan }) => plan.name,
    next: ({ plan }, key) => rows[moveCursor(key, rows.findIndex((row) => row.plan.name === plan.name), rows.length, 10) ?? -1],
    onSelect: ({ plan }) => events.onSelect(plan.name),
    onOpen: ({ plan }) => events.onOpen(plan.name),
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

function side(row: LayerRow, metric: Metric): 'worse' | 'better' | 'expected' | 'plain' {
  const value = metric.value(row);
  if (value === null || metric.id !== 'ratio') {
    return 'plain';
  }
  return Math.abs(Math.log(value)) <= Math.log(AS_EXPECTED) ? 'expected' : value > metric.baseline ? 'worse' : 'better';
}

function valueText(row: LayerRow, metric: Metric): string {
  const value = metric.value(row);
  if (value !== null) {
    return metric.format(value);
  }
  if (row.failure !== null) {
    return 'failed';
  }
  return row.plan.recipe.weights.kind === 'keep' ? 'kept' : row.report === null ? 'not measured' : '–';
}

function describe(row: LayerRow, metric: Metric): string {
  return `${row.plan.name}, ${row.plan.role}, ${recipeLabel(row.plan)}. ${metric.title}: ${row.failure ?? valueText(row, metric)}`;
}
