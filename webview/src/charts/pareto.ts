/**
 * Size against loss: the curve of best plans, and named plans beside their marks. Kinds differ in shape and have their name in text. Marks are options of a listbox:
 * left and right go by size, up and down between named plans, Enter takes the mark's size as the next budget, Escape leaves.
 */
import { axisBottom, axisLeft, line, scaleLinear, scaleLog, select, symbol, symbolCircle, symbolDiamond, symbolSquare, symbolStar, symbolTriangle } from 'd3';
import type { SymbolType } from 'd3';
import type { ParetoPoint } from '../../../server/src/protocol';
import { h } from '../dom';
import { elideEnd, formatBytes } from '../model/format';
import { labelOf, lossDomain } from '../model/pareto';
import type { ParetoMark, PointKind , sizesShown} from '../model/pareto';
import { decades, tickText } from '../model/scale';
import { listenToMarks } from './marks';

const HEIGHT = 300;
const MARGIN = { left: 64, right: 16, top: 22, bottom: 36 };
const CHARACTER = 6.4;
const LABEL_HEIGHT = 15;
const SHAPES: Readonly<Record<PointKind, SymbolType>> = { recommended: symbolStar, current: symbolDiamond, finalist: symbolTriangle, baseline: symbolSquare, curve: symbolCircle };
const ORDER: readonly PointKind[] = ['curve', 'baseline', 'finalist', 'current', 'recommended'];
const SIZES: Readonly<Record<PointKind, number>> = { recommended: 150, current: 90, finalist: 60, baseline: 56, curve: 14 };

export interface ParetoData { marks: readonly ParetoMark[]; curve: readonly ParetoPoint[]; sizes: ReturnType<typeof sizesShown>; budgetBytes: number; selected: string | null }
export interface ParetoEvents { onSelect: (mark: ParetoMark) => void; onOpen: (mark: ParetoMark) => void; onLeave: () => void }

export function createPareto(events: ParetoEvents): { element: HTMLElement; draw(data: ParetoData): void } {
  const element = h('div', { class: 'pareto' });
  const svg = select(element).append('svg').attr('role', 'listbox').attr('height', HEIGHT).attr('aria-label', 'Plans by size of the checkpoint and loss, lower is better in both');
  const ground = svg.append('g').attr('aria-hidden', 'true');
  /** Above the marks: the curve may pass behind a name. */
  const names = svg.append('g').attr('class', 'names').attr('aria-hidden', 'true');
  let data: ParetoData | undefined;

  function draw(): void {
    const width = element.clientWidth;
    if (data === undefined || width === 0) {
      return;
    }
    const { curve, sizes, budgetBytes, selected } = data;
    const marks = shown();
    const [low, high] = lossDomain(marks.map(({ point }) => point));
    const x = scaleLinear([sizes.low, sizes.high], [MARGIN.left + 10, width - MARGIN.right]);
    const y = scaleLog([low, high], [HEIGHT - MARGIN.bottom, MARGIN.top]);
    const at = ({ bytes, objective }: ParetoPoint): [number, number] => [x(bytes), y(Math.max(low, objective))];

    svg.attr('width', width);
    ground.selectAll<SVGGElement, null>('g.x').data([null]).join('g').attr('class', 'x').attr('transform', `translate(0,${HEIGHT - MARGIN.bottom})`)
      .call(axisBottom<number>(x).tickValues(x.ticks(Math.max(2, Math.floor(width / 110)))).tickFormat((bytes) => formatBytes(Number(bytes))).tickSizeOuter(0));
    const losses = decades(low, high);
    ground.selectAll<SVGGElement, null>('g.y').data([null]).join('g').attr('class', 'y').attr('transform', `translate(${MARGIN.left},0)`)
      .call(axisLeft<number>(y).tickValues(losses).tickFormat(tickText).tickSizeOuter(0));
    ground.selectAll('line.grid').data(losses).join('line').attr('class', 'grid').attr('x1', MARGIN.left).attr('x2', width - MARGIN.right).attr('y1', (value) => y(value)).attr('y2', (value) => y(value));
    ground.selectAll('text.axis-title').data([{ text: 'loss ↓, lower is better', left: 0, top: 10, end: 'start' }, { text: sizes.more ? `size of the checkpoint; the curve goes on to ${formatBytes(curve.at(-1)?.bytes ?? 0)} (table)` : 'size of the checkpoint', left: width - MARGIN.right, top: HEIGHT - 4, end: 'end' }])
      .join('text').attr('class', 'axis-title').attr('x', ({ left }) => left).attr('y', ({ top }) => top).attr('text-anchor', ({ end }) => end).text(({ text }) => text);
    ground.selectAll('line.budget').data([budgetBytes]).join('line').attr('class', 'budget').attr('x1', (bytes) => x(bytes)).attr('x2', (bytes) => x(bytes)).attr('y1', MARGIN.top - 6).attr('y2', HEIGHT - MARGIN.bottom);
    ground.selectAll('path.frontier').data([curve.filter(({ bytes }) => bytes <= sizes.high)]).join('path').attr('class', 'frontier').attr('d', (points) => line<ParetoPoint>((point) => at(point)[0], (point) => at(point)[1])(points));
    ground.selectAll('text.budget-label').data([budgetBytes]).join('text').attr('class', 'budget-label').attr('x', (bytes) => x(bytes) + 4).attr('y', MARGIN.top - 8).text((bytes) => `budget ${formatBytes(bytes)}`);
    drawLabels(marks.filter(({ kind }) => kind !== 'curve').map((mark) => ({ text: labelOf(mark.names), place: at(mark.point), kind: mark.kind })), width);

    const stop = marks.find(({ id }) => id === selected) ?? marks.find(({ kind }) => kind === 'recommended') ?? marks[0];
    // What matters most lies on top.
    const painted = [...marks].sort((a, b) => ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind));
    svg.selectAll<SVGGElement, ParetoMark>('g.point').data(painted, ({ id }) => id).join((enter) => {
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
    names.raise();
  }

  function shown(): readonly ParetoMark[] {
    return data?.marks.filter(({ point }) => point.bytes <= (data?.sizes.high ?? 0)) ?? [];
  }

  /** In a column right of the marks, where the curve has fallen away, each with a line to its mark. */
  function drawLabels(labels: readonly { text: string; place: [number, number]; kind: PointKind }[], width: number): void {
    const left = Math.max(0, ...labels.map(({ place: [x] }) => x)) + 30;
    const characters = Math.max(8, Math.floor((width - left) / CHARACTER));
    // Stacked from the top, where no plan can be, in the order of the marks.
    const placed = [...labels].sort((a, b) => a.place[1] - b.place[1]).map((label, index) => ({ ...label, y: MARGIN.top + (index + 0.5) * LABEL_HEIGHT }));
    names.selectAll('text.plan-label').data(placed).join('text').attr('class', ({ kind }) => `plan-label ${kind}`).attr('dy', '.35em')
      .attr('x', left).attr('y', ({ y }) => y).text(({ text }) => elideEnd(text, characters));
    ground.selectAll('line.leader').data(placed).join('line').attr('class', 'leader')
      .attr('x1', ({ place: [x] }) => x).attr('y1', ({ place: [, y] }) => y).attr('x2', left - 3).attr('y2', ({ y }) => y);
  }

  listenToMarks<ParetoMark>(svg, {
    selector: 'g.point', key: ({ id }) => id, onSelect: events.onSelect, onOpen: events.onOpen, onLeave: events.onLeave,
    next: (mark, key) => neighbour(shown(), mark, key),
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
