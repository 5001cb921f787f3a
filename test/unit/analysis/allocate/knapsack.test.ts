/** Both exact ways against brute force, and what must hold for every budget. */
import assert from 'node:assert/strict';
import { solveCore } from '../../../../server/src/analysis/allocate/core';
import { Frontier } from '../../../../server/src/analysis/allocate/frontier';
import { Hull } from '../../../../server/src/analysis/allocate/hull';
import { solutionOf } from '../../../../server/src/analysis/allocate/knapsack';
import type { Groups, Option, Solution } from '../../../../server/src/analysis/allocate/knapsack';
import { Allocator } from '../../../../server/src/analysis/allocate/solver';
import type { SharingGroups } from '../../../../server/src/analysis/allocate/solver';
import { random } from '../../../fixtures/random';

/** Every choice. */
function* all(groups: Groups, choices: number[] = []): Iterable<Solution> {
  if (choices.length === groups.length) {
    yield solutionOf(groups, [...choices]);
    return;
  }
  for (let option = 0; option < (groups[choices.length]?.length ?? 0); option++) {
    yield* all(groups, [...choices, option]);
  }
}

/** Few different values, so that ties in bytes, in loss and in both are common; or many; in units or without any. */
function instance(seed: number): Groups {
  const next = random(seed);
  const whole = (most: number): number => Math.floor(next() * most);
  const [sizes, values, unit] = [seed % 2 ? 6 : 1000, seed % 3 ? 5 : 1e6, [1, 1, 64][seed % 3] ?? 1];
  return Array.from({ length: 1 + whole(5) }, () => Array.from({ length: 1 + whole(5) }, (): Option => ({ bytes: unit * whole(sizes) + 7, loss: whole(values) / 16 })));
}

const near = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(b));

describe('allocation: multiple-choice knapsack', () => {
  it('equals brute force on 1,000 random instances, at every size that a choice has and beside it', () => {
    for (let seed = 0; seed < 1000; seed++) {
      const groups = instance(seed);
      const every = [...all(groups)];
      const hull = new Hull(groups);
      const frontier = Frontier.of(groups);
      const sizes = [...new Set(every.map(({ bytes }) => bytes))].sort((a, b) => a - b);
      const step = Math.max(1, Math.floor(sizes.length / 12));
      for (const budget of sizes.filter((_, i) => i % step === 0).flatMap((bytes) => [bytes - 1, bytes, bytes + 1])) {
        const least = every.reduce((low, { bytes, loss }) => (bytes <= budget ? Math.min(low, loss) : low), Infinity);
        for (const found of [frontier?.at(budget) ?? null, solveCore(groups, hull, budget)]) {
          assert.equal(found === null, least === Infinity, `instance ${seed}, budget ${budget}`);
          if (found) {
            assert.ok(found.bytes <= budget && near(found.loss, least), `instance ${seed}, budget ${budget}: ${found.loss} in ${found.bytes}, brute force ${least}`);
            assert.deepEqual(found, { ...found, ...solutionOf(groups, found.choices) });
            assert.ok(hull.bound(budget) <= least + 1e-9, `instance ${seed}, budget ${budget}: bound`);
          }
        }
      }
      // The frontier is exactly the undominated sums.
      let low = Infinity;
      const undominated = every.sort((a, b) => a.bytes - b.bytes || a.loss - b.loss).filter(({ loss }) => (loss < low ? ((low = loss), true) : false));
      assert.deepEqual(frontier?.points.map(({ bytes }) => bytes), undominated.map(({ bytes }) => bytes), `instance ${seed}`);
    }
  });

  it('has a frontier with ascending bytes and descending loss, on which the supported points lie', () => {
    const groups = layout(80, 5);
    const { frontier, hull } = new Allocator(unshared(groups));
    assert.ok(frontier && frontier.points.length > 1000);
    frontier.points.forEach((point, i) => assert.ok(i === 0 || (point.bytes > (frontier.points[i - 1]?.bytes ?? 0) && point.loss < (frontier.points[i - 1]?.loss ?? 0))));
    for (const { bytes, loss } of hull.supported()) {
      assert.ok(near(frontier.at(bytes)?.loss ?? NaN, loss));
    }
  });

  it('gives the same optimum in both ways on 418 layers', () => {
    const groups = layout(418, 5);
    const { frontier, hull } = new Allocator(unshared(groups));
    const [low, high] = [frontier?.points[0]?.bytes ?? 0, frontier?.points.at(-1)?.bytes ?? 0];
    for (let i = 1; i < 20; i++) {
      const budget = Math.floor(low + ((high - low) * i) / 20);
      const found = solveCore(groups, hull, budget);
      assert.ok(found?.exact && near(found.loss, frontier?.at(budget)?.loss ?? NaN), `budget ${budget}`);
    }
  });

  it('finds the optimum of sizes without a common divisor, and says what it does not know', () => {
    const next = random(7);
    const groups = layout(418, 5).map((options) => options.map(({ bytes, loss }) => ({ bytes: bytes + Math.floor(next() * 1000), loss })));
    const allocator = new Allocator(unshared(groups));
    const { frontier, hull } = allocator;
    assert.equal(frontier, null);
    const budget = groups.reduce((sum, options) => sum + (options[2]?.bytes ?? 0), 0);
    const solved = allocator.solve(budget);
    assert.ok(solved && solved.exact && solved.bytes <= budget && solved.bound === solved.loss && solved.loss >= hull.bound(budget));
    const stopped = solveCore(groups, hull, budget, 3);
    assert.ok(stopped && !stopped.exact && stopped.bytes <= budget && stopped.bound < stopped.loss && stopped.bound <= solved.loss && stopped.loss >= solved.loss);
  });

  it('has no solution below the smallest options', () => {
    const groups: Groups = [[{ bytes: 3, loss: 1 }], [{ bytes: 4, loss: 1 }, { bytes: 9, loss: 0 }]];
    const allocator = new Allocator(unshared(groups));
    assert.deepEqual([allocator.solve(6), allocator.solve(7)?.loss, solveCore(groups, new Hull(groups), 6)], [null, 2, null]);
  });

  it('counts shared data once, and equals brute force over 1,000 instances that share', () => {
    for (let seed = 0; seed < 1000; seed++) {
      const next = random(seed + 5000);
      const prices = [3, 11, 40, 200].map((bytes, key) => [`key ${key}`, bytes] as const);
      const groups: SharingGroups = instance(seed).map((options) => options.map((option) => ({ ...option, shared: new Map(prices.filter(() => next() < 0.3)) })));
      const paid = new Set(next() < 0.3 ? ['key 3'] : []);
      const every = [...all(groups)].map((solution) => {
        const used = new Map(solution.choices.flatMap((choice, group) => [...groups[group]?.[choice]?.shared ?? []]));
        return { bytes: solution.bytes + [...used].reduce((sum, [key, bytes]) => sum + (paid.has(key) ? 0 : bytes), 0), loss: solution.loss };
      });
      const allocator = new Allocator(groups);
      const sizes = every.map(({ bytes }) => bytes).sort((a, b) => a - b);
      for (const share of [0, 0.1, 0.5, 0.9]) {
        const budget = (sizes[Math.floor(share * sizes.length)] ?? 0) - (next() < 0.5 ? 1 : 0);
        const least = every.reduce((low, { bytes, loss }) => (bytes <= budget ? Math.min(low, loss) : low), Infinity);
        const found = allocator.solve(budget, paid);
        assert.equal(found === null, least === Infinity, `instance ${seed}, budget ${budget}`);
        if (found) {
          assert.ok(found.bytes <= budget && found.exact && near(found.loss, least), `instance ${seed}, budget ${budget}: ${found.loss} in ${found.bytes}, brute force ${least}`);
          const again = [...all(groups)].findIndex(({ choices }) => choices.join() === found.choices.join());
          assert.equal(every[again]?.bytes, found.bytes);
        }
      }
    }
  });
});

const unshared = (groups: Groups): SharingGroups => groups.map((options) => options.map((option) => ({ ...option, shared: new Map<string, number>() })));

/** Layers of 1, 4 and 5 squares of 3072, 2 to 16 bits, errors of a Gaussian with importances of their own. */
function layout(layers: number, seed: number): Groups {
  const next = random(seed);
  return Array.from({ length: layers }, (_, i) => {
    const importance = Math.exp(1.2 * Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()));
    return [2, 3, 4, 6, 8].map((bits) => ({ bytes: ([1, 4, 5][i % 3] ?? 1) * ((3072 ** 2 * bits) / 8), loss: importance * 4 ** -bits * (1 + 0.3 * next()) }));
  });
}
