import assert from 'node:assert/strict';
import type { LayerReport } from '../../../server/src/protocol';
import { deviation, joinLayers, recipeLabel, summarize } from '../../../webview/src/model/layers';
import type { LayerRow } from '../../../webview/src/model/layers';
import { nextCell } from '../../../webview/src/model/heat';
import { buildMatrix, roleHeat } from '../../../webview/src/model/matrix';
import { badness, metricById, METRICS, rank } from '../../../webview/src/model/metrics';
import { domain, intensity, ratioTicks } from '../../../webview/src/model/scale';
import { layer, plan, report } from './fixtures';

function rowsOf(reports: LayerReport[], failures: [string, string][] = []): LayerRow[] {
  const layers = [
    layer('blocks.0.q', 'q', 'blocks.0'), layer('blocks.0.up', 'ffn-up', 'blocks.0'), layer('blocks.10.q', 'q', 'blocks.10'),
    layer('blocks.2.q', 'q', 'blocks.2'), layer('proj', 'final', null, true),
  ];
  return joinLayers(plan(layers), new Map(reports.map((entry) => [entry.name, entry])), new Map(failures));
}
const names = (rows: readonly LayerRow[]): string[] => rows.map((row) => row.plan.name);
const ratio = metricById('ratio');

describe('webview: layers and metrics', () => {
  it('divides the measured error by the expected one', () => {
    assert.equal(deviation(report('x', 1.5)), 1.5);
    assert.equal(deviation(report('x', null)), null);
  });

  it('joins plan, reports and failures', () => {
    const rows = rowsOf([report('blocks.0.q', 2)], [['blocks.0.up', 'file too short']]);
    assert.deepEqual(rows.map((row) => row.ratio), [2, null, null, null, null]);
    assert.equal(rows[1]?.failure, 'file too short');
  });

  it('sums up what is quantized, by parameters', () => {
    const rows = rowsOf([report('blocks.0.q', 2)]);
    const { layers, quantized, quantizedShare, measured } = summarize(plan(rows.map((row) => row.plan)), rows);
    assert.deepEqual({ layers, quantized, quantizedShare, measured }, { layers: 5, quantized: 4, quantizedShare: 0.8, measured: 1 });
  });

  it('names a recipe', () => {
    assert.deepEqual([layer('a', 'q', null), layer('b', 'q', null, true)].map(recipeLabel), ['W4A16 orbitquant', 'keep bf16']);
  });

  it('ranks by distance from the expected error on both sides, unmeasured layers last in model order', () => {
    const rows = rowsOf([report('blocks.0.q', 1.1), report('blocks.10.q', 0.5), report('blocks.2.q', 1.7)]);
    assert.deepEqual(names(rank(rows, ratio)), ['blocks.10.q', 'blocks.2.q', 'blocks.0.q', 'blocks.0.up', 'proj']);
  });

  it('puts the LOWEST SQNR first: higher is better', () => {
    const rows = rowsOf([report('blocks.0.q', 1, { sqnrDb: 30 }), report('blocks.10.q', 1, { sqnrDb: 9 }), report('blocks.2.q', 1, { sqnrDb: 20 })]);
    assert.deepEqual(names(rank(rows, metricById('sqnr'))).slice(0, 3), ['blocks.10.q', 'blocks.2.q', 'blocks.0.q']);
  });

  it('puts the largest KS distance first: lower is better', () => {
    const rows = rowsOf([report('blocks.0.q', 1, { ks: 0.1 }), report('blocks.10.q', 1, { ks: 0.4 })]);
    assert.deepEqual(names(rank(rows, metricById('ks'))).slice(0, 2), ['blocks.10.q', 'blocks.0.q']);
  });

  it('says of every metric which direction is good', () => {
    for (const metric of METRICS) {
      assert.equal(badness(metric, 2) > badness(metric, 1.5), metric.worse !== 'lower', metric.id);
      assert.match(metric.hint, /better|worse|tails|bits/i);
    }
  });
});

describe('webview: scales', () => {
  it('never zooms a ratio closer than ten percent', () => {
    const [low, high] = domain([1.001, 0.999], ratio);
    assert.ok(low <= 1 / 1.1 && high >= 1.1);
    assert.ok(domain([5], ratio)[1] > 5);
  });

  it('keeps a linear domain from collapsing, and ignores what is not finite', () => {
    const ks = metricById('ks');
    assert.deepEqual(domain([], ks), [0, 1]);
    assert.deepEqual(domain([0.3, NaN, Infinity], ks), [0, 0.3]);
  });

  it('ticks ratios at round places around 1', () => {
    assert.deepEqual(ratioTicks(0.9, 1.1, 5), [0.9, 0.95, 1, 1.05, 1.1]);
    assert.deepEqual(ratioTicks(0.5, 120, 4), [1, 5, 20, 100]);
    for (const [low, high] of [[0.97, 1.3], [0.01, 1e4], [1, 2]] as const) {
      const ticks = ratioTicks(low, high, 6);
      assert.ok(ticks.includes(1) && ticks.length <= 6 && ticks.length >= 2, ticks.join());
      assert.deepEqual(ticks, [...ticks].sort((a, b) => a - b));
    }
  });

  it('colours by signed distance from the baseline', () => {
    assert.equal(intensity(1, [0.5, 2], ratio), 0);
    assert.equal(intensity(2, [0.5, 2], ratio), 1);
    assert.equal(intensity(0.5, [0.5, 2], ratio), -1);
    assert.ok(intensity(1.2, [0.9, 4], ratio) > 0 && intensity(0.95, [0.9, 4], ratio) < 0);
  });
});

describe('webview: role × block', () => {
  const matrix = buildMatrix(rowsOf([report('blocks.0.q', 1.2)]), ratio);

  it('orders blocks by number and puts what is outside last', () => {
    assert.deepEqual(matrix.blocks, ['blocks.0', 'blocks.2', 'blocks.10', '']);
    assert.deepEqual(matrix.titles, ['0', '2', '10', '']);
    assert.deepEqual(matrix.roles, ['q', 'ffn-up', 'final']);
  });

  it('has a cell for each layer and no other', () => {
    assert.deepEqual(matrix.cells.map(({ row, column }) => [row, column]), [[0, 0], [0, 1], [0, 2], [1, 0], [2, 3]]);
  });

  it('lets the worst layer stand for a cell', () => {
    const two = [layer('blocks.0.a', 'ffn-up', 'blocks.0'), layer('blocks.0.b', 'ffn-up', 'blocks.0')];
    const reports = new Map([['blocks.0.a', report('blocks.0.a', 1.01)], ['blocks.0.b', report('blocks.0.b', 3)]]);
    const [cell] = buildMatrix(joinLayers(plan(two), reports, new Map()), ratio).cells;
    assert.equal(cell?.layer.plan.name, 'blocks.0.b');
    assert.equal(cell?.layers.length, 2);
  });

  it('shows FLUX\'s double blocks before its single blocks', () => {
    const layers = [layer('a', 'single-in', 'single_transformer_blocks.0'), layer('b', 'q', 'transformer_blocks.1')];
    assert.deepEqual(buildMatrix(joinLayers(plan(layers), new Map(), new Map()), ratio).blocks, ['transformer_blocks.1', 'single_transformer_blocks.0']);
  });

  it('draws every cell with its block, its worst layer and whatever else it stands for', () => {
    const two = [layer('blocks.0.a', 'ffn-up', 'blocks.0'), layer('blocks.0.b', 'ffn-up', 'blocks.0'), layer('head', 'final', null)];
    const { rows, columns, groups, cells } = roleHeat(joinLayers(plan(two), new Map([['blocks.0.b', report('blocks.0.b', 3)]]), new Map()), ratio);
    assert.deepEqual([rows, columns, groups], [['ffn-up', 'final'], ['0', ''], [{ title: 'blocks', first: 0 }]]);
    assert.deepEqual(cells.map(({ names }) => names), [['blocks.0.b', 'blocks.0.a'], ['head']]);
    assert.equal(cells[0]?.description, 'ffn-up, blocks.0: Error against expected ×3.00 (blocks.0.b, worst of 2 layers)');
    assert.equal(cells[1]?.description, 'final, outside of every block: Error against expected no value (head)');
  });

  it('moves along rows and columns over gaps, and stays at the edge', () => {
    const first = matrix.cells[0];
    assert.ok(first !== undefined);
    const right = nextCell(matrix, first, 'ArrowRight');
    assert.deepEqual([right.row, right.column], [0, 1]);
    assert.deepEqual(nextCell(matrix, first, 'ArrowDown').role, 'ffn-up');
    assert.equal(nextCell(matrix, first, 'ArrowLeft'), first);
    assert.equal(nextCell(matrix, first, 'x'), first);
  });
});
