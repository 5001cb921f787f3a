import assert from 'node:assert/strict';
import type { Allocation, LayerPlan, NamedPlan, ParetoPoint } from '../../../server/src/protocol';
import { labelOf, lossDomain, namedPlans, paretoMarks, readBudget, sizesShown } from '../../../webview/src/model/pareto';
import { diffLines, groupChanges } from '../../../webview/src/model/planDiff';
import { layer } from './fixtures';

const point = (bytes: number, objective: number): ParetoPoint => ({ bytes, averageBits: bytes / 100, objective });
const named = (name: string, bytes: number, objective: number): NamedPlan => ({ ...point(bytes, objective), name, description: `About ${name}.`, counts: {}, layers: {} });
const measured = { latentPsnrDb: null, notFinite: 0, behind: null };

function allocation(change: Partial<Allocation> = {}): Allocation {
  return {
    ...point(600, 2), budgetBytes: 620, loss: { kind: 'sensitivity', description: 'Sum.' }, plan: { layers: [], fixed: 0 }, options: [], current: point(500, 5), noCurrent: null,
    baselines: [named('uniform', 500, 5), named('random', 610, 9)], certificate: { optimal: true, bound: 2, gap: 0, method: 'Exact.' },
    pareto: [point(400, 10), point(500, 4), point(600, 2), point(900, 0.5), point(4000, 0)], finalists: [], recommended: null, verification: null, ...change,
  };
}

describe('webview: plans by size and loss', () => {
  it('joins plans at one place, keeps the others apart, and goes from small to large', () => {
    const marks = paretoMarks(allocation());
    assert.deepEqual(marks.map(({ kind, names, point: { bytes } }) => [bytes, kind, labelOf(names)]), [
      [400, 'curve', ''], [500, 'curve', ''], [500, 'current', 'your plan · uniform'], [600, 'recommended', 'recommended'], [610, 'baseline', 'random'], [900, 'curve', ''], [4000, 'curve', ''],
    ]);
    assert.equal(new Set(marks.map(({ id }) => id)).size, marks.length);
    assert.match(marks[2]?.description ?? '', /^your plan · uniform: 500 B, 5\.000 bits on average, loss 5, lower is better$/);
  });

  it('invents no point for a plan whose losses nobody knows', () => {
    assert.ok(namedPlans(allocation({ current: null, noCurrent: 'Its options were not measured.' })).every(({ kind }) => kind !== 'current'));
  });

  it('says which finalist is recommended, and shows a rule of thumb that was run once', () => {
    const finalists = [{ ...named('steps balanced', 600, 2), measured }, { ...named('uniform', 500, 5), measured }];
    const plans = namedPlans(allocation({ finalists, recommended: 'steps balanced' }));
    assert.deepEqual(plans.map(({ name, kind }) => [name, kind]), [['recommended', 'recommended'], ['your plan', 'current'], ['uniform', 'finalist'], ['random', 'baseline']]);
    assert.match(plans[0]?.about ?? '', /run end to end: steps balanced\. About steps balanced\./);
  });

  it('shows sizes well beyond the budget, and says that the curve goes on', () => {
    assert.deepEqual(sizesShown(allocation()), { low: 400, high: 620 + 1.5 * 220, more: true });
    assert.deepEqual(sizesShown(allocation({ pareto: [point(400, 10), point(700, 1)] })), { low: 400, high: 700, more: false });
  });

  it('has a logarithmic axis for every positive loss', () => {
    const [low, high] = lossDomain([point(1, 0), point(2, 1e-3), point(3, 10)]);
    assert.ok(low < 1e-3 && low > 1e-4 && high > 10);
    assert.ok(lossDomain([point(1, 0)])[0] > 0);
    const [least, most] = lossDomain([point(1, 2)]);
    assert.ok(least < 2 && most > 2);
  });

  it('reads a budget as people write it', () => {
    assert.deepEqual([' 1.6MB ', '4.5 bits', '1 bit', '', '  '].map(readBudget), [{ size: '1.6MB' }, { bits: '4.5' }, { bits: '1' }, null, null]);
  });
});

describe('webview: what a new plan changes', () => {
  const decided = (each: LayerPlan, rule: number, name: string, packedBytes: number): LayerPlan =>
    ({ ...each, packedBytes, decidedBy: { rule, name, range: { start: { line: 0, character: 0 }, end: { line: 0, character: 0 } } } });

  it('groups layers as the rules say it, the largest change first', () => {
    const [a, b, c] = [layer('a', 'q', null), layer('b', 'q', null), layer('c', 'q', null)];
    const groups = groupChanges([{ from: a, to: decided(layer('a', 'q', null, true), 0, 'kept', 64) }, { from: b, to: decided(b, -1, '', 20) }, { from: c, to: decided(layer('c', 'q', null, true), 0, 'kept', 64) }]);
    assert.deepEqual(groups, [
      { rule: 'rule "kept"', from: 'W4A16 orbitquant', to: 'keep bf16', layers: ['a', 'c'], bytes: 80 },
      { rule: 'defaults', from: 'W4A16 orbitquant', to: 'W4A16 orbitquant', layers: ['b'], bytes: -4 },
    ]);
  });

  it('writes edits as lines, with their place', () => {
    const range = { start: { line: 6, character: 0 }, end: { line: 7, character: 0 } };
    assert.deepEqual(diffLines([{ range, oldText: 'budget: 1\r\n', newText: 'budget: 2\r\n\r\nmore: 3\r\n' }, { range, oldText: '', newText: 'a' }]).map(({ kind, text }) => `${kind} ${text}`),
      ['place line 7', 'removed budget: 1', 'added budget: 2', 'added ', 'added more: 3', 'place line 7', 'added a']);
  });
});
