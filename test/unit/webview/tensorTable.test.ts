import assert from 'node:assert/strict';
import { compareNames, countDtypes, filterTensors, sortTensors } from '../../../webview/src/model/tensorTable';
import { moveCursor, scrollFor, visibleRows } from '../../../webview/src/model/window';
import { tensor } from './fixtures';

const tensors = [
  tensor('blocks.10.attn.to_q.weight', [128, 128], 'BF16', 0), tensor('blocks.2.attn.to_q.weight', [128, 512], 'BF16', 10),
  tensor('blocks.2.attn.to_q.bias', [128], 'F32', 20), tensor('proj_out.weight', [12, 128], 'BF16', 30),
];
const names = (query: string): string[] => filterTensors(tensors, query).map(({ name }) => name);

describe('webview: tensor table', () => {
  it('looks for every word in name, type and shape', () => {
    assert.deepEqual(names('to_q 128X512'), ['blocks.2.attn.to_q.weight']);
    assert.deepEqual(names('f32'), ['blocks.2.attn.to_q.bias']);
    assert.deepEqual(names('  '), tensors.map(({ name }) => name));
    assert.deepEqual(names('nothing'), []);
  });

  it('leaves out words with a minus', () => {
    assert.deepEqual(names('blocks.2 -bias'), ['blocks.2.attn.to_q.weight']);
    assert.deepEqual(names('proj -'), ['proj_out.weight']);
  });

  it('takes a star for any characters, without backtracking', () => {
    assert.deepEqual(names('blocks*bias'), ['blocks.2.attn.to_q.bias']);
    assert.equal(filterTensors([tensor('a'.repeat(50_000))], `${'a*'.repeat(5_000)}z`).length, 0);
  });

  it('counts numbers in names as numbers', () => {
    assert.ok(compareNames('blocks.2.x', 'blocks.10.x') < 0);
    assert.deepEqual(sortTensors(tensors, { column: 'name', descending: false }).map(({ offset }) => offset), [20, 10, 0, 30]);
  });

  it('sorts shapes by their number of values, both ways', () => {
    assert.deepEqual(sortTensors(tensors, { column: 'shape', descending: false }).map(({ offset }) => offset), [20, 30, 0, 10]);
    assert.deepEqual(sortTensors(tensors, { column: 'shape', descending: true }).map(({ offset }) => offset), [10, 0, 30, 20]);
  });

  it('counts types, most frequent first', () => {
    assert.deepEqual(countDtypes(tensors), [['BF16', 3], ['F32', 1]]);
  });
});

describe('webview: rows in view', () => {
  it('draws what is in view and a margin', () => {
    assert.deepEqual(visibleRows(2200, 220, 22, 10_000, 5), { first: 95, last: 115 });
    assert.deepEqual(visibleRows(0, 220, 22, 3), { first: 0, last: 3 });
    assert.deepEqual(visibleRows(5000, 220, 22, 0), { first: 0, last: 0 });
  });

  it('moves the cursor inside of the list', () => {
    assert.deepEqual(['ArrowDown', 'ArrowUp', 'PageDown', 'PageUp', 'Home', 'End'].map((key) => moveCursor(key, 4, 20, 10)), [5, 3, 14, 0, 0, 19]);
    assert.equal(moveCursor('ArrowDown', -1, 20, 10), 0);
    assert.equal(moveCursor('End', -1, 0, 10), -1);
    assert.equal(moveCursor('x', 4, 20, 10), undefined);
  });

  it('scrolls no farther than needed', () => {
    assert.equal(scrollFor(5, 0, 220, 22), 0);
    assert.equal(scrollFor(10, 0, 220, 22), 22);
    assert.equal(scrollFor(2, 100, 220, 22), 44);
  });
});
