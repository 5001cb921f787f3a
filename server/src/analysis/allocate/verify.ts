/**
 * Which plan is best in the picture: the one of least loss, its neighbours and what simple rules give are run end to end, and the order of their latent PSNR counts. A loss is a stand-in for that;
 * where a rule of thumb does better, it is recommended.
 */
import type { Engine } from '../../engine/client';
import type { Allocation, Finalist, FinalistMeasurement, NamedPlan, SampleMean } from '../../protocol';
import { solve } from './allocation';
import type { Allocatable } from './allocation';
import { balanced } from './balance';
import { allocatedLayers, currentChoices, named, planOf } from './choices';
import type { Choices } from './choices';
import { AllocationError } from './errors';
import { sourceNames } from './losses';
import type { Losses } from './losses';
import { runPlans } from './measure';
import type { PlanRuns, Sample } from './measure';

export interface VerifyRequest extends Pick<PlanRuns, 'loaded' | 'base' | 'folder' | 'cancellation' | 'onProgress'> {
  possible: Allocatable;
  losses: Losses;
  /** The plan of least loss. */
  allocation: Allocation;
  /** What else could have been gone by; each gives a plan. */
  others: readonly Losses[];
  /** Not run, with the reason. */
  leftOut?: readonly { name: string; reason: string }[];
  /** How many plans at most. */
  finalists: number;
  /** How many seeds, those after the config's: losses are measured with that one. */
  seeds: number;
  /** The finalists that have run, best first. */
  onRanking?: ((finalists: Finalist[]) => void) | undefined;
}

/** The same allocation with the best finalist as its plan. @throws AllocationError when no plan gives finite outputs; ModelError, CheckpointError, EngineError */
export async function verify(request: VerifyRequest, engine: Engine): Promise<Allocation> {
  const { allocation, possible, losses, finalists, seeds, onRanking, loaded } = request;
  const all = candidates(request);
  const [chosen, surplus] = [all.slice(0, finalists), all.slice(finalists)];
  const first = (loaded.parsed.config.preview?.value.seed ?? 0) + 1;
  const measured: [NamedPlan, readonly Sample[]][] = [];
  const { scope } = await runPlans({
    ...request, plans: chosen.map(({ name, layers }) => ({ name, plan: planOf(possible, new Map(Object.entries(layers))) })), seeds: Array.from({ length: seeds }, (_, i) => first + i),
    onMeasured: (index, samples) => {
      const plan = chosen[index];
      if (plan) {
        measured.push([plan, samples]);
        onRanking?.(ranked(measured));
      }
    },
  }, engine);
  const ranking = ranked(measured);
  const [best] = ranking;
  if (!best || best.measured.notFinite > 0) {
    throw new AllocationError('Every plan gives outputs that are not finite. "quantscope sensitivity --first-bad" names the layer they come from; keep it with a rule.');
  }
  const { certificate: { method, bound, optimal } } = allocation;
  return {
    ...allocation, bytes: best.bytes, averageBits: best.averageBits, objective: best.objective,
    plan: { ...allocation.plan, layers: allocatedLayers(possible, losses, new Map(Object.entries(best.layers))) },
    certificate: best.objective === allocation.objective ? allocation.certificate
      : { optimal: false, bound, gap: best.objective - bound, method: `Of ${optimal ? 'proved ' : ''}least loss is another plan, "${allocatedName}"; end to end "${best.name}" is better. ${method}` },
    finalists: ranking, recommended: best.name,
    verification: { ...scope, leftOut: [...request.leftOut ?? [], ...surplus.map(({ name }) => ({ name, reason: `There were to be ${finalists} finalists.` }))] },
  };
}

const allocatedName = 'allocated';

/** All within the budget and no two alike. */
function candidates({ possible, losses, allocation, others }: VerifyRequest): NamedPlan[] {
  const budget = allocation.budgetBytes;
  const steps = balanced(possible, losses, budget);
  const smaller = solve(possible, losses, allocation.bytes - 1);
  const now = currentChoices(possible);
  const of = (choices: Choices | null, name: string, description: string): NamedPlan[] => (choices ? [named(possible, losses, choices, name, description)] : []);
  const plans = [
    ...of(new Map(allocation.plan.layers.map(({ name, option }) => [name, option])), allocatedName, `Least sum of losses by ${sourceNames[losses.kind]}.`),
    ...of(steps, 'allocated, steps balanced', 'Least error over all time steps alike: the logarithms of their errors are added up.'),
    ...others.flatMap((other) => of(solve(possible, other, budget), `allocated by ${sourceNames[other.kind]}`, `Least sum of losses by ${sourceNames[other.kind]}.`)),
    ...allocation.baselines,
    ...of(now, 'as written', 'What the config says now.'),
    ...of(smaller, 'allocated, next smaller', 'Least sum of losses of the next smaller size.'),
  ].filter(({ bytes }) => bytes <= budget);
  const known = new Map<string, NamedPlan>();
  plans.forEach((plan) => {
    const key = JSON.stringify(Object.entries(plan.layers).sort());
    const same = known.get(key);
    known.set(key, same ? { ...same, description: `${same.description} The same as "${plan.name}".` } : plan);
  });
  return [...known.values()];
}

function ranked(measured: readonly (readonly [NamedPlan, readonly Sample[]])[]): Finalist[] {
  const mean = (samples: readonly Sample[]): number => samples.some(({ finite }) => !finite) ? -Infinity : average(samples.flatMap(({ latentPsnrDb }) => latentPsnrDb ?? []))?.mean ?? Infinity;
  const sorted = [...measured].sort(([a, x], [b, y]) => compare(mean(y), mean(x)) || a.bytes - b.bytes);
  const best = sorted[0]?.[1] ?? [];
  return sorted.map(([plan, samples], place): Finalist => ({ ...plan, measured: summary(samples, place === 0 ? null : best) }));
}

function compare(a: number, b: number): number { return a === b ? 0 : a < b ? -1 : 1; }

function summary(samples: readonly Sample[], best: readonly Sample[] | null): FinalistMeasurement {
  const pairs = (best ?? []).flatMap(({ latentPsnrDb: first, finite }, i) => {
    const own = samples[i];
    return finite && own?.finite ? [[first ?? Infinity, own.latentPsnrDb ?? Infinity] as const] : [];
  });
  const behind = average(pairs.filter(([first, own]) => Number.isFinite(first) && Number.isFinite(own)).map(([first, own]) => first - own));
  return {
    latentPsnrDb: average(samples.flatMap(({ latentPsnrDb }) => latentPsnrDb ?? [])), notFinite: samples.filter(({ finite }) => !finite).length,
    behind: behind && { ...behind, wins: pairs.filter(([first, own]) => first >= own).length },
  };
}

/** Null for none. */
export function average(values: readonly number[]): SampleMean | null {
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  return n === 0 ? null : { mean, spread: n > 1 ? Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1)) : 0, n };
}
