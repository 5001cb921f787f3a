import assert from 'node:assert/strict';
import { seedsFrom, summarize } from '../../../../server/src/analysis/evidence/comparison';
import { judge, parseGates } from '../../../../server/src/analysis/evidence/gates';
import { comparison, previewResult, seedRun } from '../../../fixtures/evidence';

describe('comparison over seeds', () => {
  it('takes the seeds after the config\'s own, without those of calibration runs', () => {
    assert.deepEqual(seedsFrom(0, 3, {}), [0, 1, 2]);
    assert.deepEqual(seedsFrom(998, 4, {}), [998, 999, 1004, 1005]);
    assert.deepEqual(seedsFrom(9, 3, { seed: 10, trajectories: 2 }), [9, 12, 13]);
  });

  it('gives one value per seed, the mean of its items, and names the worst of all', () => {
    const { metrics, perStep, seeds } = comparison();
    assert.deepEqual(seeds, [5, 6]);
    assert.deepEqual([metrics?.psnrDb.n, metrics?.psnrDb.mean, metrics?.psnrDb.min, metrics?.psnrDb.max], [2, 23, 21, 25]);
    assert.deepEqual(metrics?.psnrDb.worst, { seed: 5, item: 0, value: 20, finite: true });
    assert.deepEqual(perStep.map(({ step, timestep, metrics: { psnrDb, outputRelativeMse } }) => [step, timestep, psnrDb.mean, outputRelativeMse.mean]), [[3, 800, 23, 0.01], [7, 400, 33, 0.02]]);
  });

  it('leaves equal items out of a seed\'s mean; with none left the seed is equal', () => {
    const { metrics } = comparison([seedRun(1, [null, 30]), seedRun(2, [null, null])]);
    assert.deepEqual([metrics?.psnrDb.n, metrics?.psnrDb.mean, metrics?.psnrDb.equal, metrics?.psnrDb.worst?.value], [1, 30, 1, 30]);
    assert.equal(comparison([seedRun(1, [null])]).metrics?.psnrDb.worst?.value, null);
  });

  it('a quantized model that breaks is not averaged away', () => {
    const { metrics } = comparison([seedRun(1, [20, NaN]), seedRun(2, [20, 20])]);
    assert.deepEqual([metrics?.psnrDb.n, metrics?.psnrDb.notFinite, metrics?.psnrDb.worst], [1, 1, { seed: 1, item: 1, value: null, finite: false }]);
  });

  for (const [what, reference, words] of [['not finite', { finite: false, uniform: false }, /NaN or infinite values \(seed 6\)/], ['uniform', { finite: true, uniform: true }, /one flat value \(seed 6\)/]] as const) {
    it(`refuses when one reference is ${what}: no number, no picture`, () => {
      const found = summarize(previewResult(), [seedRun(5, [20, 22]), seedRun(6, [99, 99], reference)]);
      assert.match(found.refused ?? '', words);
      assert.deepEqual([found.metrics, found.perStep, found.pictures, found.runs.flatMap(({ items }) => items)], [null, [], [], []]);
      assert.deepEqual(judge(parseGates('psnrDb>=10'), found).map(({ passed }) => passed), [false]);
    });
  }
});

describe('gates', () => {
  it('hold the mean over the seeds against their bound', () => {
    const judged = judge(parseGates('psnrDb>=23, ssim>=0.81'), comparison());
    assert.deepEqual(judged.map(({ metric, atLeast, passed, why }) => [metric, atLeast, passed, why]), [['psnrDb', 23, true, 'mean of 2 seeds'], ['ssim', 0.81, false, 'mean of 2 seeds']]);
  });

  it('equality passes, a broken run or no comparison does not', () => {
    assert.equal(judge(parseGates('psnrDb>=99'), comparison([seedRun(1, [null])]))[0]?.passed, true);
    assert.match(judge(parseGates('psnrDb>=1'), comparison([seedRun(1, [NaN]), seedRun(2, [30])]))[0]?.why ?? '', /not finite/);
    assert.deepEqual(judge(parseGates('psnrDb>=1'), null)[0], { metric: 'psnrDb', atLeast: 1, value: null, passed: false, why: 'nothing was compared' });
  });

  for (const text of ['lpips>=0.1', 'ssim>0.9', 'ssim>=', 'ssim>=1.2.3', '']) {
    it(`refuses ${JSON.stringify(text)} with what can be written`, () => assert.throws(() => parseGates(text), /is no gate.*ssim>=0\.9,psnrDb>=25.*latentCosine/));
  }
});
