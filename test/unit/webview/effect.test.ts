import assert from 'node:assert/strict';
import type { Score, Sensitivity } from '../../../server/src/protocol';
import type { RankingState } from '../../../webview/src/messages';
import { controlsInWords, controlsSummary, effectBars, effectHeat, outdated, rankingText, rowFor, worstFirst } from '../../../webview/src/model/effect';
import { layer, plan } from './fixtures';

function score(name: string, value: number | null, steps: (number | null)[] = [], layers = [name]): Score {
  return { name, layers, score: value, direction: 'lower is better', estimate: steps.length === 0, perStep: steps.map((error, step) => ({ step: 2 * step, timestep: 900 - step, relativeMse: error, latentRelativeMse: error, latentPsnrDb: null })) };
}
const sensitivity = (change: Partial<Sensitivity> = {}): Sensitivity => ({
  by: 'layer', layers: [], items: ['class 3'], additivity: { sumOfParts: 0.3, whole: 0.3, ratio: 1 }, controls: { zeroSwap: { runs: 12, differing: 0 }, noise: [{ name: 'a', weights: 0.02, noise: 0.01, ratio: 2 }] }, ...change,
});
const ranking = (change: Partial<RankingState>): RankingState => ({ phase: 'running', message: '', percent: 0, by: 'layer', planHash: 'h', scores: [], measured: 0, total: 0, result: null, ...change });

describe('webview: effect on the final output', () => {
  it('puts the worst first, and what is not finite before everything', () => {
    assert.deepEqual(worstFirst([score('a', 0.1), score('b', null), score('c', 0.2)]).map(({ name }) => name), ['b', 'c', 'a']);
  });

  it('tells estimates from measured numbers in text, shape and words', () => {
    const [a, b, c] = effectBars([score('a', null, [null]), score('b', 0.2), score('c', 0.1, [0.1], ['x', 'y'])]);
    assert.deepEqual([a?.text, a?.value, a?.side], ['not finite', 0.2, 'worse']);
    assert.deepEqual([b?.text, b?.estimate, /an estimate, lower is better$/.test(b?.description ?? '')], ['≈ 0.2000', true, true]);
    assert.deepEqual([c?.text, c?.estimate, c?.description], ['0.1000', false, 'c, 2 layers. Effect on the final output: 0.1000, measured, lower is better']);
  });

  it('maps rows by step, with what is negligible and what is not finite in the range of colours', () => {
    const heat = effectHeat([score('a', 1, [1, 1e-9]), score('b', null, [null, 0.5]), score('c', 0.1)], 'layer');
    assert.deepEqual([heat.rows, heat.columns], [['a', 'b'], ['1', '3']]);
    assert.deepEqual(heat.cells.map(({ value, shade, text }) => [value, shade, text]), [[1, 1, undefined], [1e-9, 1e-4, undefined], [null, 1, 'NaN'], [0.5, 0.5, undefined]]);
    assert.deepEqual(heat.cells.map(({ names }) => names), [['a 0', 'a'], ['a 2'], ['b 0', 'b'], ['b 2']]);
    assert.deepEqual(effectHeat([score('c', 0.1)], 'layer').cells, []);
  });

  it('finds the row of a layer among blocks', () => {
    const blocks = [score('blocks.0', 1, [1], ['blocks.0.q', 'blocks.0.k'])];
    assert.deepEqual([rowFor(blocks, 'blocks.0.k')?.name, rowFor(blocks, 'blocks.0')?.name, rowFor(blocks, 'proj'), rowFor(blocks, null)], ['blocks.0', 'blocks.0', undefined, undefined]);
  });

  it('says how far the ranking is', () => {
    const scores = [score('a', 1)];
    assert.match(rankingText(ranking({})), /^Preparing/);
    assert.match(rankingText(ranking({ scores, total: 42 })), /^Estimates of 42 layers from one time step .*; measured numbers take their place\.$/);
    assert.equal(rankingText(ranking({ scores, total: 6, phase: 'cancelled', by: 'block' })), 'Estimates of 6 blocks from one time step (≈, dashed).');
    assert.match(rankingText(ranking({ scores, total: 42, measured: 7 })), /^7 of 42 layers measured; ≈/);
    assert.equal(rankingText(ranking({ scores, total: 42, measured: 42 })), '42 layers measured; controls follow.');
    assert.equal(rankingText(ranking({ scores, total: 42, measured: 42, phase: 'finished', result: { planHash: 'h', sensitivity: sensitivity() } })), '42 layers measured on class 3.');
  });

  it('knows when the config has gone on', () => {
    const now = plan([layer('a', 'q', null)]);
    assert.deepEqual([outdated('h', now), outdated('other', now), outdated('', now), outdated('other', null)], [false, true, false, false]);
  });

  const words = (change: Partial<Sensitivity>): string => controlsInWords(sensitivity(change)).map(({ severity, text }) => `${severity}: ${text}`).join('\n');

  it('says in words what the controls say', () => {
    assert.match(words({}), /^info: Zero swap: with nothing swapped, all 12 reruns gave the stored output bit for bit\.\ninfo: Additivity: .*Single effects add up\.\ninfo: Matched noise, a: .*\(× 2\.00\)\. Its error falls where it hurts/);
    assert.match(words({ controls: { zeroSwap: { runs: 12, differing: 3 }, noise: [] } }), /error: Zero swap: 3 values differ .*cannot be trusted/);
    assert.match(words({ additivity: { sumOfParts: 0.1, whole: 0.3, ratio: 0.33 } }), /warning: .*reinforce each other/);
    assert.match(words({ additivity: { sumOfParts: 0.9, whole: 0.3, ratio: 3 } }), /warning: .*overlap/);
    assert.match(words({ additivity: { sumOfParts: null, whole: null, ratio: null } }), /warning: Additivity cannot be told/);
    const noise = (ratio: number | null) => ({ zeroSwap: { runs: 1, differing: 0 }, noise: [{ name: 'a', weights: 1, noise: 1, ratio }] });
    assert.match(words({ controls: noise(0.5) }), /less than its size says/);
    assert.match(words({ controls: noise(1.1) }), /as much as its size says/);
    assert.match(words({ controls: noise(null) }), /of the same size 1\.$/);
  });

  it('sums the controls up in a line', () => {
    assert.equal(controlsSummary(sensitivity()), 'zero swap exact · sum of parts / whole 1.00 · error / matched noise × 2.00 to × 2.00');
    assert.equal(controlsSummary(sensitivity({ additivity: null, controls: { zeroSwap: { runs: 1, differing: 1 }, noise: [] } })), 'zero swap differs');
  });
});
