/**
 * One number over the steps of the trajectory, one line for each candidate. Lines differ in dash and marker, not only in colour; where there is no
 * distance at all, the point is hollow, off the line, and says 'equal'. Points are options of a listbox: left and right along a line, up and down between candidates, Escape leaves.
 */
import { axisBottom, axisLeft, line, scaleLinear, scaleLog, select, symbol, symbolCircle, symbolDiamond, symbolSquare, symbolTriangle } from 'd3';
import { h } from '../dom';
import type { CurvePoint, PreviewMetric } from '../model/previewMetrics';
import { curveDomain } from '../model/previewMetrics';
import { decades, tickText } from '../model/scale';
import { listenToMarks } from './marks';

const HEIGHT = 132;
const MARGIN = { left: 56, right: 12, top: 10, bottom: 30 };
const SYMBOLS = [symbolCircle, symbolSquare, symbolTriangle, symbolDiamond];

export interface CurveSeries { label: string; points: CurvePoint[] }
export interface CurveData { metric: PreviewMetric; series: CurveSeries[]; /** Steps of the whole trajectory. */ steps: number; selected: number | null }
export interface CurveEvents { onSelect: (step: number, series: number) => void; onLeave: () => void }

export interface StepCurve { element: HTMLElement; draw(data: CurveData): void }

interface Mark extends CurvePoint { series: number; label: string }

export function createStepCurve(events: CurveEvents): StepCurve {
  const element = h('div', { class: 'curve-plot' });
  const svg = select(element).append('svg').attr('role', 'listbox').attr('height', HEIGHT);
  const ground = svg.append('g').attr('aria-hidden', 'true');
  let data: CurveData | undefined;
  let marks: Mark[] = [];
  /** Where the Tab key lands. */
  let stop = { step: -1, series: 0 };

  function draw(): void {
    const width = element.clientWidth;
    if (data === undefined || width === 0) {
      return;
    }
    const { metric, series, steps, selected } = data;
    marks = series.flatMap(({ label, points }, index) => points.map((point) => ({ ...point, label, series: index })));
    const [low, high] = curveDomain(marks.map(({ value }) => value), metric);
    const x = scaleLinear([1, Math.max(2, steps)], [MARGIN.left + 6, width - MARGIN.right]);
    const y = (metric.scale === 'log' ? scaleLog() : scaleLinear()).domain([low, high]).range([HEIGHT - MARGIN.bottom, MARGIN.top]);
    // null has no finite PSNR and stands at the top; an error of 0 is below every decade and stands at the bottom.
    const place = ({ value }: CurvePoint): number => (value === null ? MARGIN.top : y(Math.max(low, Math.min(high, value))));

    svg.attr('width', width).attr('aria-label', `${metric.title} at each compared step, ${metric.better}`);
    const ticks = metric.scale === 'log' ? decades(low, high) : y.ticks(4);
    ground.selectAll<SVGGElement, null>('g.y').data([null]).join('g').attr('class', 'y').attr('transform', `translate(${MARGIN.left},0)`)
      .call(axisLeft<number>(y).tickValues(ticks).tickFormat(tickText).tickSize(4).tickSizeOuter(0));
    const stepTicks = x.ticks(Math.max(2, Math.min(steps, Math.floor(width / 60)))).filter((value) => Number.isInteger(value));
    ground.selectAll<SVGGElement, null>('g.x').data([null]).join('g').attr('class', 'x').attr('transform', `translate(0,${HEIGHT - MARGIN.bottom})`)
      .call(axisBottom<number>(x).tickValues(stepTicks).tickFormat(String).tickSize(4).tickSizeOuter(0));
    ground.selectAll('text.axis-title').data(['step']).join('text').attr('class', 'axis-title').attr('x', width - MARGIN.right).attr('y', HEIGHT - 2)
      .attr('text-anchor', 'end').text((text) => text);
    ground.selectAll('line.grid').data(ticks).join('line').attr('class', 'grid').attr('x1', MARGIN.left).attr('x2', width - MARGIN.right)
      .attr('y1', (tick) => y(tick)).attr('y2', (tick) => y(tick));
    ground.selectAll('line.selected-step').data(selected === null ? [] : [selected]).join('line').attr('class', 'selected-step')
      .attr('x1', (step) => x(step + 1)).attr('x2', (step) => x(step + 1)).attr('y1', MARGIN.top).attr('y2', HEIGHT - MARGIN.bottom);
    ground.selectAll('path.curve-line').data(series).join('path').attr('class', (_each, index) => `curve-line series-${index % 4}`)
      .attr('d', ({ points }) => line<CurvePoint>().defined(({ value }) => value !== null).x(({ step }) => x(step + 1)).y(place)(points));
    ground.selectAll('text.equal').data(marks.filter(({ value }) => value === null)).join('text').attr('class', 'equal').attr('text-anchor', 'end')
      .attr('x', ({ step }) => x(step + 1) - 9).attr('y', MARGIN.top).attr('dy', '.35em').text('equal');

    const known = marks.some(({ step, series: index }) => step === stop.step && index === stop.series);
    const tab = known ? stop : (marks.find(({ step }) => step === selected) ?? marks[0]);
    svg.selectAll<SVGGElement, Mark>('g.point').data(marks, pointKey).join((enter) => {
      const group = enter.append('g').attr('role', 'option');
      group.append('circle').attr('class', 'hit').attr('r', 11);
      group.append('path').attr('class', 'marker');
      group.append('title');
      return group;
    }).order()
      .attr('class', ({ series: index, step, value }) => `point series-${index % 4}${step === selected ? ' selected' : ''}${value === null ? ' equal' : ''}`)
      .attr('transform', (point) => `translate(${x(point.step + 1)},${place(point)})`)
      .attr('aria-selected', ({ step }) => String(step === selected))
      .attr('tabindex', ({ step, series: index }) => (step === tab?.step && index === tab.series ? 0 : -1))
      .attr('aria-label', (point) => describe(point, metric))
      .each(function drawMark(point) {
        select(this).select('.marker').attr('d', symbol(SYMBOLS[point.series % 4] ?? symbolCircle, 44)());
        select(this).select('title').text(describe(point, metric));
      });
  }

  listenToMarks<Mark>(svg, {
    selector: 'g.point',
    key: pointKey,
    next: (mark, key) => neighbour(marks, mark, key),
    onSelect: ({ step, series }) => {
      stop = { step, series };
      events.onSelect(step, series);
    },
    onLeave: events.onLeave,
  });
  new ResizeObserver(draw).observe(element);
  return {
    element,
    draw: (next) => {
      data = next;
      draw();
    },
  };
}

/** The sample of a line's dash and marker, for legends and tables. */
export function seriesKey(series: number): Element {
  const svg = select(document.createElementNS('http://www.w3.org/2000/svg', 'svg')).attr('class', 'series-key').attr('width', 30).attr('height', 12).attr('aria-hidden', 'true');
  svg.append('path').attr('class', `curve-line series-${series % 4}`).attr('d', 'M1,6H29');
  svg.append('g').attr('class', `point series-${series % 4}`).attr('transform', 'translate(15,6)').append('path').attr('class', 'marker')
    .attr('d', symbol(SYMBOLS[series % 4] ?? symbolCircle, 44)());
  return svg.node() as Element;
}

function pointKey({ series, step }: Mark): string {
  return `${series}/${step}`;
}

function neighbour(marks: readonly Mark[], { step, series }: Mark, key: string): Mark | undefined {
  const own = marks.filter((mark) => mark.series === series);
  const at = own.findIndex((mark) => mark.step === step);
  const along: Record<string, Mark | undefined> = { ArrowLeft: own[at - 1] ?? own[at], ArrowRight: own[at + 1] ?? own[at], Home: own[0], End: own.at(-1), Enter: own[at] };
  const across: Record<string, number> = { ArrowUp: -1, ArrowDown: 1 };
  const sideways = across[key];
  return sideways === undefined ? along[key] : (marks.find((mark) => mark.step === step && mark.series === series + sideways) ?? own[at]);
}

function describe({ label, step, timestep, value }: Mark, metric: PreviewMetric): string {
  return `${label}, step ${step + 1}, t = ${Number(timestep.toPrecision(5))}. ${metric.title}: ${metric.format(value)}, ${metric.better}`;
}
