/** The plans that the Pareto chart and its table show: the curve of best plans, and by name the user's plan, the recommended one, finalists and baselines. */
import type { Allocation, BudgetText, NamedPlan, ParetoPoint } from '../../../server/src/protocol';
import { formatBits, formatBytes, formatNumber } from './format';

/** In order of standing: of plans at one place the first gives the mark its shape. */
export type PointKind = 'recommended' | 'current' | 'finalist' | 'baseline' | 'curve';

export interface ParetoMark {
  /** Tells the marks of one chart apart. */
  id: string;
  kind: PointKind;
  /** Of all plans at its place; empty for points of the curve. */
  names: readonly string[];
  point: ParetoPoint;
  description: string;
}

export interface PlanRow { name: string; kind: PointKind; point: ParetoPoint; /** What it is, in a sentence. */ about: string; plan: NamedPlan | null }

export const RECOMMENDED = 'recommended';
export const CURRENT = 'your plan';

/** Every plan that has a name; the user's only when it is known what it loses. */
export function namedPlans({ recommended, finalists, baselines, current, bytes, averageBits, objective }: Allocation): PlanRow[] {
  const chosen = finalists.find(({ name }) => name === recommended) ?? null;
  const tested = new Set(finalists.map(({ name }) => name));
  return [
    { name: RECOMMENDED, kind: 'recommended', point: { bytes, averageBits, objective }, about: chosen ? `Best of the plans that were run end to end: ${chosen.name}. ${chosen.description}` : 'The plan of least loss within the budget.', plan: chosen },
    ...(current ? [{ name: CURRENT, kind: 'current' as const, point: current, about: 'What the config says now, under the same losses.', plan: null }] : []),
    ...finalists.filter(({ name }) => name !== recommended).map((plan) => ({ name: plan.name, kind: 'finalist' as const, point: plan, about: plan.description, plan })),
    ...baselines.filter(({ name }) => !tested.has(name)).map((plan) => ({ name: plan.name, kind: 'baseline' as const, point: plan, about: plan.description, plan })),
  ];
}

/** Plans at the same place share a mark; points of the curve where none has a name stand by themselves. From small to large, named ones behind those of the curve that are of their size. */
export function paretoMarks(allocation: Allocation): ParetoMark[] {
  const place = ({ bytes, objective }: ParetoPoint): string => `${bytes} ${objective}`;
  const groups = new Map<string, PlanRow[]>();
  for (const plan of namedPlans(allocation)) {
    groups.set(place(plan.point), [...(groups.get(place(plan.point)) ?? []), plan]);
  }
  const named = [...groups.values()].flatMap((plans): ParetoMark[] => {
    const [first] = plans;
    const names = plans.map(({ name }) => name);
    return first ? [{ id: first.name, kind: first.kind, names, point: first.point, description: `${labelOf(names)}: ${pointText(first.point)}` }] : [];
  });
  const curve = curveRows(allocation).filter(({ point }) => !groups.has(place(point)))
    .map(({ name, point }): ParetoMark => ({ id: name, kind: 'curve', names: [], point, description: `Best plan of its size: ${pointText(point)}` }));
  return [...curve, ...named].sort((a, b) => a.point.bytes - b.point.bytes);
}

/** The points of the curve, by number. */
export function curveRows({ pareto }: Allocation): PlanRow[] {
  return pareto.map((point, index) => ({ name: `curve ${index + 1}`, kind: 'curve', point, about: 'The best plan of its size.', plan: null }));
}

/** Names hold commas themselves. */
export function labelOf(names: readonly string[]): string {
  return names.join(' · ');
}

export function pointText({ bytes, averageBits, objective }: ParetoPoint): string {
  return `${formatBytes(bytes)}, ${formatBits(averageBits)} bits on average, loss ${formatNumber(objective)}, lower is better`;
}

/** Ends of a logarithmic axis that holds every positive loss. A loss of 0 has no place on it and stands at the lower end. */
export function lossDomain(points: readonly ParetoPoint[]): [number, number] {
  const positive = points.map(({ objective }) => objective).filter((value) => value > 0);
  const [low, high] = positive.length === 0 ? [0.1, 1] : [Math.min(...positive), Math.max(...positive)];
  return [low / 1.6, Math.max(high * 1.6, low * 4)];
}

/** `1.55MB` is of the whole checkpoint, `4.5 bits` an average; nothing: that of the config. What it is worth the server says. */
export function readBudget(text: string): BudgetText | null {
  const bits = /^\s*([\d.]+)\s*bits?\s*$/i.exec(text)?.[1];
  return text.trim() === '' ? null : bits === undefined ? { size: text.trim() } : { bits };
}

/** Sizes that the chart shows: from the smallest to well beyond the budget and every plan with a name; what a larger budget would bring is in sight, and the rest of the curve in the table. */
export function sizesShown(allocation: Allocation): { low: number; high: number; /** The curve goes on behind `high`. */ more: boolean } {
  const named = [...namedPlans(allocation).map(({ point }) => point.bytes), allocation.budgetBytes];
  const curve = allocation.pareto.map(({ bytes }) => bytes);
  const low = Math.min(...named, ...curve);
  const largest = Math.max(...named);
  const [reach, end] = [largest + 1.5 * (largest - low), Math.max(largest, ...curve)];
  return { low, high: Math.min(reach, end), more: end > reach };
}
