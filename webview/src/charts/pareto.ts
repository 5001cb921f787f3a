/**
 * Size against loss: the curve of best plans, and named plans beside their marks. Kinds differ in shape and have their name in text. Marks are options of a listbox:
 * left and right go by size, up and down between named plans, Enter takes the mark's size as the next budget, Escape leaves.
 */
import { axisBottom, axisLeft, line, scaleLinear, scaleLog, select, symbol, symbolCircle, symbolDiamond, symbolSquare, symbolStar, symbolTriangle } from 'd3';
import type { SymbolType } from 'd3';
import type { ParetoPoint } from '../../../server/src/protocol';
import { h } from '../dom';
import { formatBytes, formatNumber } from '../model/format';
import { lossDomain, spreadLabels } from '../model/pareto';
import type { ParetoMark, PointKind } from '../model/pareto';
import { decades } from '../model/scale';
import { listenToMarks } from './marks';

const HEIGHT = 300;
const MARGIN = { left: 64, right: 16, top: 22, bottom: 36 };
const CHARACTER = 6.4;
const LABEL_HEIGHT = 15;
const SHAPES: Readonly<Record<PointKind, SymbolType>> = { recommended: symbolStar, current: symbolDiamond, finalist: symbolTriangle, baseline: symbolSquare, curve: symbolCircle };
const SIZES: Readonly<Record<PointKind, number>> = { recommended: 150, current: 90, finalist: 60, baseline: 56, curve: 14 };

export interface ParetoData { marks: readonly ParetoMark[]; curve: readonly ParetoPoint[]; budgetBytes: number; selected: string | null }
export interface ParetoEvents { onSelect: (mark: ParetoMark) => void; onOpen: (mark: ParetoMark) => void; onLeave: () => void }

export function createPareto(events: ParetoEvents): { element: HTMLElement; draw(data: ParetoData): void } {
  const element = h('div', { class: 'pareto' });
  const svg = select(element).append('svg').attr('role', 'listbox').attr('height', HEIGHT).attr('aria-label', 'Plans by size of the checkpoint and loss, lower is better in both');
  const ground = svg.append('g').attr('aria-hidden', 'true');
  let data: ParetoData | undefined;

  function draw(): void {
    const width = element.clientWidth;
    if (data === undefined || width === 0) {
      return;
    }
    const { marks, curve, budgetBytes, selected } = data;
    const [low, high] = lossDomain(marks.map(({ point }) => point));
    const sizes = [...marks.map(({ point }) => point.bytes), budgetBytes];
    const x = scaleLinear([Math.min(...sizes), Math.max(...sizes)], [MARGIN.left + 10, width - MARGIN.right]).nice(4);
    const y = scaleLog([low, high], [HEIGHT - MARGIN.bottom, MARGIN.top]);
    const at = ({ bytes, objective }: ParetoPoint): [number, number] => [x(bytes), y(Math.max(low, objective))];

    svg.attr('width', width);
    ground.selectAll<SVGGElement, null>('g.x').data([null]).join('g').attr('class', 'x').attr('transform', `translate(0,${HEIGHT - MARGIN.bottom})`)
      .call(axisBottom<number>(x).tickValues(x.ticks(Math.max(2, Math.floor(width / 110)))).tickFormat((bytes) => formatBytes(Number(bytes))).tickSizeOuter(0));
    const losses = decades(low, high);
    ground.selectAll<SVGGElement, null>('g.y').data([null]).join('g').attr('class', 'y').attr('transform', `translate(${MARGIN.left},0)`)
      .call(axisLeft<number>(y).tickValues(losses).tickFormat((value) => formatNumber(Number(value))).tickSizeOuter(0));
    ground.selectAll('line.grid').data(losses).join('line').attr('class', 'grid').attr('x1', MARGIN.left).attr('x2', width - MARGIN.right).attr('y1', (value) => y(value)).attr('y2', (value) => y(value));
    ground.selectAll('text.axis-title').data([{ text: 'loss ↓, lower is better', left: 0, top: 10, end: 'start' }, { text: 'size of the checkpoint', left: width - MARGIN.right, top: HEIGHT - 4, end: 'end' }])
      .join('text').attr('class', 'axis-title').attr('x', ({ left }) => left).attr('y', ({ top }) => top).attr('text-anchor', ({ end }) => end).text(({ text }) => text);
    ground.selectAll('line.budget').data([budgetBytes]).join('line').attr('class', 'budget').attr('x1', (bytes) => x(bytes)).attr('x2', (bytes) => x(bytes)).attr('y1', MARGIN.top - 6).attr('y2', HEIGHT - MARGIN.bottom);
    ground.selectAll('path.frontier').data([curve]).join('path').attr('class', 'frontier').attr('d', (points) => line<ParetoPoint>((point) => at(point)[0], (point) => at(point)[1])(points));
    drawLabels([...marks.filter(({ kind }) => kind !== 'curve').map((mark) => ({ text: mark.label, place: at(mark.point), kind: mark.kind as string })),
      { text: `budget ${formatBytes(budgetBytes)}`, place: [x(budgetBytes), MARGIN.top - 8], kind: 'budget' }], width);

    const stop = marks.find(({ id }) => id === selected) ?? marks.find(({ kind }) => kind === 'recommended') ?? marks[0];
    svg.selectAll<SVGGElement, ParetoMark>('g.point').data(marks, ({ id }) => id).join((enter) => {
      const group = enter.append('g').attr('role', 'option');
      group.append('circle').attr('class', 'hit').attr('r', 9);
      group.append('path').attr('class', 'marker');
      group.append('title');
      return group;
    }).order()
      .attr('class', ({ id, kind }) => `point ${kind}${id === selected ? ' selected' : ''}`).attr('data-kind', ({ kind }) => kind)
      .attr('transform', ({ point }) => `translate(${at(point).join(',')})`)
      .attr('aria-selected', ({ id }) => String(id === selected)).attr('aria-label', ({ description }) => description)
      .attr('tabindex', (mark) => (mark === stop ? 0 : -1))
      .each(function drawMark({ kind, description }) {
        select(this).select('.hit').attr('r', kind === 'curve' ? 4 : 10);
        select(this).select('.marker').attr('d', symbol(SHAPES[kind], SIZES[kind])());
        select(this).select('title').text(description);
      });
  }

  /** Beside the marks, on the side where there is room; a thin line leads to those that had to move. */
  function drawLabels(labels: readonly { text: string; place: [number, number]; kind: string }[], width: number): void {
    const boxes = spreadLabels(labels.map(({ text, place: [left, top] }) => {
      const length = text.length * CHARACTER;
      return { x: left + 12 + length > width ? left - 12 - length : left + 12, y: top - LABEL_HEIGHT / 2, width: length, height: LABEL_HEIGHT };
    }));
    const placed = labels.map((label, index) => ({ ...label, box: boxes[index] ?? { x: 0, y: 0, width: 0, height: 0 } }));
    ground.selectAll('text.plan-label').data(placed).join('text').attr('class', ({ kind }) => `plan-label ${kind}`).attr('dy', '.35em')
      .attr('x', ({ box }) => box.x).attr('y', ({ box }) => box.y + LABEL_HEIGHT / 2).text(({ text }) => text);
    ground.selectAll('line.leader').data(placed.filter(({ box, place }) => Math.abs(box.y + LABEL_HEIGHT / 2 - place[1]) > 6)).join('line').attr('class', 'leader')
      .attr('x1', ({ place }) => place[0]).attr('y1', ({ place }) => place[1]).attr('y2', ({ box }) => box.y + LABEL_HEIGHT / 2)
      .attr('x2', ({ box, place }) => (box.x > place[0] ? box.x - 2 : box.x + box.width + 2));
  }

  listenToMarks<ParetoMark>(svg, {
    selector: 'g.point', key: ({ id }) => id, onSelect: events.onSelect, onOpen: events.onOpen, onLeave: events.onLeave,
    next: (mark, key) => neighbour(data?.marks ?? [], mark, key),
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

function neighbour(marks: readonly ParetoMark[], mark: ParetoMark, key: string): ParetoMark | undefined {
  const named = marks.filter(({ kind }) => kind !== 'curve');
  const step = (list: readonly ParetoMark[], by: number): ParetoMark | undefined => list[Math.min(list.length - 1, Math.max(0, list.findIndex(({ id }) => id === mark.id) + by))];
  switch (key) {
    case 'ArrowLeft': return step(marks, -1);
    case 'ArrowRight': return step(marks, 1);
    case 'ArrowUp': return step(named, -1);
    case 'ArrowDown': return step(named, 1);
    case 'Home': return marks[0];
    case 'End': return marks.at(-1);
    default: return undefined;
  }
}
