/** Densities as steps with an optional theoretical curve. Arrow keys read the bins one by one; what lies outside of the range is said in words. */
import { area, axisBottom, curveStepAfter, line, max, scaleLinear, select } from 'd3';
import type { Histogram as Counts } from '../../../server/src/protocol';
import { h } from '../dom';
import { histogramBins } from '../model/density';
import type { Bin } from '../model/density';
import { formatInteger, formatNumber } from '../model/format';
import { readingCursor } from './cursor';

const HEIGHT = 150;
const MARGIN = { left: 8, right: 8, top: 6, bottom: 20 };

export interface Series { name: string; histogram: Counts; style: 'before' | 'after' }
export interface HistogramData {
  label: string;
  series: readonly Series[];
  /** The density every series is compared with. */
  curve?: { name: string; density: (x: number) => number };
  /** Compresses the height so that single values in the tails stay visible. */
  logarithmic?: boolean;
}

export function createHistogram(): { element: HTMLElement; draw(data: HistogramData): void } {
  const readout = h('p', { class: 'readout', 'aria-live': 'polite' });
  const keys = h('div', { class: 'legend' });
  const host = h('div', { class: 'histogram-plot' });
  const element = h('figure', { class: 'histogram' }, host, keys, readout);
  const svg = select(host).append('svg').attr('role', 'img').attr('tabindex', 0).attr('height', HEIGHT);
  let data: HistogramData | undefined;
  const count = (): number => Math.max(0, (data?.series[0]?.histogram.counts.length ?? 2) - 2);
  const cursor = readingCursor(svg, { count, first: () => Math.floor(count() / 2), draw });

  function draw(): void {
    const width = host.clientWidth;
    if (data === undefined || width === 0) {
      return;
    }
    const { series, curve, logarithmic = false } = data;
    const bins = series.map(({ histogram }) => histogramBins(histogram).bins);
    const all = bins.flat();
    const height = (density: number): number => (logarithmic ? Math.log1p((1e4 * density) / top) : density);
    const points = curve === undefined ? [] : curvePoints(all, curve.density);
    const top = Math.max(max(all, ({ density }) => density) ?? 0, max(points, ([, density]) => density) ?? 0) || 1;
    const x = scaleLinear([all[0]?.x0 ?? 0, all.at(-1)?.x1 ?? 1], [MARGIN.left, width - MARGIN.right]);
    const y = scaleLinear([0, height(top)], [HEIGHT - MARGIN.bottom, MARGIN.top]);

    svg.attr('width', width).attr('aria-label', data.label);
    svg.selectAll<SVGGElement, null>('g.axis').data([null]).join('g').attr('class', 'axis').attr('transform', `translate(0,${HEIGHT - MARGIN.bottom})`)
      .call(axisBottom(x).ticks(Math.max(2, Math.floor(width / 70))).tickSizeOuter(0));
    const shape = area<[number, number]>().curve(curveStepAfter).x(([at]) => x(at)).y0(y(0)).y1(([, density]) => y(height(density)));
    svg.selectAll('path.series').data(series).join('path').attr('class', ({ style }) => `series ${style}`)
      .attr('d', (_series, index) => shape(steps(bins[index] ?? [])));
    svg.selectAll('path.curve').data(curve === undefined ? [] : [points]).join('path').attr('class', 'curve')
      .attr('d', line<[number, number]>().x(([at]) => x(at)).y(([, density]) => y(height(density))));
    const current = bins[0]?.[cursor.index];
    svg.selectAll('rect.cursor').data(current === undefined ? [] : [current]).join('rect').attr('class', 'cursor')
      .attr('x', (bin) => x(bin.x0)).attr('width', (bin) => Math.max(1, x(bin.x1) - x(bin.x0))).attr('y', MARGIN.top).attr('height', HEIGHT - MARGIN.top - MARGIN.bottom);

    keys.replaceChildren(...series.map(({ name, style }) => h('span', { class: 'legend-entry' }, h('span', { class: `key ${style}` }), name)),
      ...(curve === undefined ? [] : [h('span', { class: 'legend-entry' }, h('span', { class: 'key curve' }), curve.name)]));
    readout.textContent = read(data, bins, cursor.index);
    select(host).on('pointermove', (event: PointerEvent) => {
      const at = x.invert(event.offsetX);
      cursor.point(bins[0]?.findIndex((bin) => at >= bin.x0 && at < bin.x1) ?? -1);
    }).on('pointerleave', () => cursor.point(-1));
  }

  new ResizeObserver(draw).observe(host);
  return {
    element,
    draw: (next) => {
      data = next;
      cursor.reset();
      draw();
    },
  };
}

function curvePoints(bins: readonly Bin[], density: (x: number) => number): [number, number][] {
  const low = bins[0]?.x0 ?? 0;
  const high = bins.at(-1)?.x1 ?? 1;
  return Array.from({ length: 121 }, (_, index) => low + (index / 120) * (high - low)).map((x) => [x, density(x)]);
}

function steps(bins: readonly Bin[]): [number, number][] {
  const last = bins.at(-1);
  return [...bins.map(({ x0, density }): [number, number] => [x0, density]), ...(last === undefined ? [] : [[last.x1, last.density] as [number, number]])];
}

function read({ series }: HistogramData, bins: readonly Bin[][], cursor: number): string {
  const bin = bins[0]?.[cursor];
  if (bin !== undefined) {
    const counts = series.map(({ name }, index) => `${name} ${formatInteger(bins[index]?.[cursor]?.count ?? 0)}`);
    return `${formatNumber(bin.x0)} to ${formatNumber(bin.x1)}: ${counts.join(', ')}`;
  }
  const outside = series.map(({ name, histogram }) => ({ name, ...histogramBins(histogram) })).filter(({ below, above }) => below + above > 0)
    .map(({ name, below, above }) => `${name}: ${formatInteger(below + above)}`);
  return outside.length === 0 ? '' : `Outside of the range: ${outside.join(', ')}`;
}
