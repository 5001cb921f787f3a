import assert from 'node:assert/strict';
import type { CaptureResult, Finding, Half } from '../../../server/src/protocol';
import { captureHeat, captureKey, captureMetric, captureRows, CAPTURE_METRICS, channelKind, filterLayers, findingCell, tailText } from '../../../webview/src/model/capture';
import type { CaptureRow } from '../../../webview/src/model/capture';
import { captureNumbers } from '../../fixtures/captures';
import { farthestQuantile, nearestQuantile, quantileText } from '../../../webview/src/model/quantiles';
import { sorted } from '../../../webview/src/parts/sortedTable';

function row(layer: string, half: Half, step: number, absMax: number, more: Partial<CaptureRow> = {}): CaptureRow {
  return { ...captureNumbers(layer, half, step, { absMax }), timeRange: 2, outliers: [], captured: 4, ...more };
}

const rows = [
  row('blocks.10.q', 'conditional', 3, 1), row('blocks.10.q', 'unconditional', 3, 2), row('blocks.2.q', 'conditional', 3, 5), row('blocks.2.q', 'unconditional', 3, 1),
  row('blocks.2.ff', 'conditional', 3, 2), row('blocks.2.ff', 'unconditional', 19, 9),
];
const absMax = captureMetric('absMax');

describe('webview: captured activations', () => {
  it('puts the layer with the highest value first, whichever step or half it is of', () => {
    assert.deepEqual(captureHeat(rows, absMax, 20, 10).rows, ['blocks.2.ff', 'blocks.2.q', 'blocks.10.q']);
    assert.deepEqual(captureHeat(rows, absMax, 20, 1).rows, ['blocks.2.ff']);
    assert.deepEqual(captureHeat(rows, captureMetric('rho'), 20, 10).rows, ['blocks.2.ff', 'blocks.2.q', 'blocks.10.q'], 'equal ones by name');
  });

  it('keeps the halves apart, each with the steps it has, counted from 1', () => {
    const { columns, groups, cells } = captureHeat(rows, absMax, 20, 10);
    assert.deepEqual(columns, ['4', '4', '20']);
    assert.deepEqual(groups, [{ title: 'conditional, step', first: 0 }, { title: 'unconditional, step', first: 1 }]);
    assert.deepEqual(cells.map(({ row: y, column, value }) => [y, column, value]), [[0, 0, 2], [0, 2, 9], [1, 0, 5], [1, 1, 1], [2, 0, 1], [2, 1, 2]]);
    assert.equal(cells[1]?.description, 'blocks.2.ff, unconditional, step 20 of 20, t = 980. Largest magnitude: 9');
    assert.equal(new Set(cells.map(({ names }) => names[0])).size, cells.length);
    assert.deepEqual(captureHeat([row('a', 'conditional', 0, 1)], absMax, 1, 10).groups, [{ title: 'conditional, step', first: 0 }]);
  });

  it('says so where there is no value', () => {
    const { cells } = captureHeat([row('a', 'conditional', 0, 1, { channelRange: null })], captureMetric('channelRange'), 1, 10);
    assert.deepEqual([cells[0]?.value, cells[0]?.description.endsWith('no value')], [null, true]);
  });

  it('has every number with its own title and hint', () => {
    const values = CAPTURE_METRICS.map(({ value }) => value(row('a', 'conditional', 0, 7, {
      channelRange: 3, nonFinite: 11, rho: 13, topEnergy: { channel: 1, share: 0.25 }, timeRange: 5, salienceCorrelation: -0.5,
      tails: { before: { beyond3: 0, beyond4: 0.02 }, after: { beyond3: 0, beyond4: 0.01 }, expected: { beyond3: 0, beyond4: 0 } }, before: { ks: 0.1, wasserstein1: 0.2, excessKurtosis: 0.3, maxAbs: 1 }, after: { ks: 0.4, wasserstein1: 0.5, excessKurtosis: 0.6, maxAbs: 1 },
    })));
    assert.deepEqual(values, [7, 3, 0.25, 5, 0.1, 0.4, 0.2, 0.5, 0.3, 0.6, 0.02, 0.01, -0.5, 13, 11]);
    assert.equal(new Set(CAPTURE_METRICS.flatMap(({ id, title, short }) => [id, title, short])).size, 3 * CAPTURE_METRICS.length);
  });

  it('filters by every word of the query', () => {
    assert.deepEqual(filterLayers(rows, '2 FF').map(captureKey), ['blocks.2.ff conditional 3', 'blocks.2.ff unconditional 19']);
    assert.equal(filterLayers(rows, '').length, rows.length);
    assert.deepEqual(filterLayers(rows, 'nothing'), []);
  });

  it('joins each cell with what its layer does over the steps', () => {
    const outliers: CaptureRow['outliers'] = [{ channel: 7, kind: 'salient', ratio: 200, energy: 0.9, steps: [3, 19], persistent: true }, { channel: 2, kind: 'mild', ratio: 20, energy: 0.1, steps: [19], persistent: false }];
    const joined = captureRows({ layers: rows, overTime: [{ layer: 'blocks.2.ff', half: 'unconditional', steps: [3, 19], timeRange: 9, outliers, salienceCorrelation: null }] } as unknown as CaptureResult);
    assert.deepEqual(joined.map(({ timeRange }) => timeRange), [null, null, null, null, null, 9]);
    const [found] = joined.slice(-1) as [CaptureRow];
    assert.deepEqual([7, 2, 3].map((channel) => channelKind(found, channel)), ['salient, every step', 'mild, 1 of 2 steps', '']);
    assert.equal(tailText({ before: { beyond3: 0.5, beyond4: 0 }, after: { beyond3: 0.0024, beyond4: 0 }, expected: { beyond3: 0.0024, beyond4: 0 } }, 'beyond3'), '50.00 % → 0.24 % (marginal 0.24 %)');
  });

  it('finds the cell of a finding: its half and first step, or the layer for weights', () => {
    const of = (layer: string, where: Finding['where']): string | undefined => {
      const cell = findingCell(rows, { layer, code: 'activation/rotation', text: '', where, value: 1, threshold: 0 });
      return cell && captureKey(cell);
    };
    assert.equal(of('blocks.2.ff', { half: 'unconditional', steps: [3, 19] }), 'blocks.2.ff unconditional 19');
    assert.equal(of('blocks.2.q', null), 'blocks.2.q conditional 3');
    assert.equal(of('gone', null), undefined);
  });

  it('reads Q–Q points', () => {
    const points = [{ expected: -2, measured: -3.5 }, { expected: 0.1, measured: 0.125 }, { expected: 1, measured: 2 }];
    assert.deepEqual([nearestQuantile(points, 0), nearestQuantile(points, -9), nearestQuantile([], 0), farthestQuantile(points)], [1, 0, -1, 3.5]);
    assert.equal(quantileText({ expected: -2, measured: -3.5 }), 'measured −3.500 where the marginal has −2 standard deviations');
  });

  it('is laid out empty without a row', () => {
    assert.deepEqual(captureHeat([], absMax, 20, 10).cells, []);
  });
});

describe('webview: sorted tables', () => {
  const column = { id: 'v', title: 'V', width: 1, text: String, value: (value: number | null) => value };
  const names = { id: 'n', title: 'N', width: 1, text: String, value: (value: string) => value };

  it('sorts numbers both ways, and leaves rows without one at the end', () => {
    assert.deepEqual(sorted([3, null, 10, 2], [column], { column: 'v', descending: true }), [10, 3, 2, null]);
    assert.deepEqual(sorted([3, null, 10, 2], [column], { column: 'v', descending: false }), [2, 3, 10, null]);
  });

  it('sorts names as people count', () => {
    assert.deepEqual(sorted(['b.10', 'b.9'], [names], { column: 'n', descending: false }), ['b.9', 'b.10']);
  });
});
