/**
 * Q–Q: measured quantiles over those of the fixed marginal. On the diagonal both agree; an S away from it means tails. Arrow keys read the points one by one.
 */
import { axisBottom, axisLeft, line, scaleLinear, select } from 'd3';
import { h } from '../dom';
import { farthestQuantile, nearestQuantile, quantileText } from '../model/quantiles';
import type { QuantilePoint } from '../model/quantiles';
import { readingCursor } from './cursor';

const HEIGHT = 210;
const MARGIN = { left: 28, right: 8, top: 6, bottom: 20 };

export interface QqData { label: string; points: readonly QuantilePoint[]; style: 'before' | 'after' }

export function createQq(): { element: HTMLElement; draw(data: QqData): void } {
  const readout = h('p', { class: 'readout', 'aria-live': 'polite' });
  const host = h('div', { class: 'qq-plot' });
  const element = h('figure', { class: 'qq' }, host, readout);
  const svg = select(host).append('svg').attr('role', 'img').attr('tabindex', 0).attr('height', HEIGHT);
  let data: QqData | undefined;
  const cursor = readingCursor(svg, { count: () => data?.points.length ?? 0, first: () => nearestQuantile(data?.points ?? [], 0), draw });

  function draw(): void {
    const width = host.clientWidth;
    if (data === undefined || width === 0) {
      return;
    }
    const { label, points, style } = data;
    const reach = Math.max(3, farthestQuantile(points));
    const x = scaleLinear([-reach, reach], [MARGIN.left, width - MARGIN.right]);
    const y = scaleLinear([-reach, reach], [HEIGHT - MARGIN.bottom, MARGIN.top]);
    svg.attr('width', width).attr('aria-label', label);
    svg.selectAll<SVGGElement, null>('g.x').data([null]).join('g').attr('class', 'x').attr('transform', `translate(0,${HEIGHT - MARGIN.bottom})`).call(axisBottom(x).ticks(7).tickSizeOuter(0));
    svg.selectAll<SVGGElement, null>('g.y').data([null]).join('g').attr('class', 'y').attr('transform', `translate(${MARGIN.left},0)`).call(axisLeft(y).ticks(7).tickSizeOuter(0));
    svg.selectAll('path.diagonal').data([null]).join('path').attr('class', 'diagonal').attr('d', line()([[x(-reach), y(-reach)], [x(reach), y(reach)]]));
    svg.selectAll('path.quantiles').data([points]).join('path').attr('class', `quantiles ${style}`).attr('d', line<QuantilePoint>().x(({ expected }) => x(expected)).y(({ measured }) => y(measured)));
    svg.selectAll('circle.quantile').data(points).join('circle').attr('class', `quantile ${style}`).attr('r', 1.75).attr('cx', ({ expected }) => x(expected)).attr('cy', ({ measured }) => y(measured));
    const current = points[cursor.index];
    svg.selectAll('circle.cursor').data(current === undefined ? [] : [current]).join('circle').attr('class', 'cursor').attr('r', 5).attr('cx', ({ expected }) => x(expected)).attr('cy', ({ measured }) => y(measured));
    readout.textContent = current === undefined ? '' : quantileText(current);
    svg.on('pointermove', (event: PointerEvent) => cursor.point(nearestQuantile(points, x.invert(event.offsetX)))).on('pointerleave', () => cursor.point(-1));
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
