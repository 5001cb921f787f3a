import assert from 'node:assert/strict';
import { structureOf } from '../../../server/src/language/structure';
import { maxSymbols, subsequenceScore, workspaceSymbols } from '../../../server/src/language/workspaceSymbol';
import { modelOf } from './models';

const a = modelOf('version: 1\ndefaults: { method: &int4 { name: rtn } }\nrules:\n  - { name: attention, layers: x, method: *int4 }\n  - { layers: y }\n  - { name: " ", layers: z }\n', { uri: 'file:///p/a.quant.yaml' });
const b = modelOf('rules:\n  - layers: ["q\n  - { name: "mod\\nulation", layers: x }\n', { uri: 'file:///p/b.quant.yaml' });

function names(query: string): string[] {
  const found = workspaceSymbols([structureOf(a), structureOf(b)], query);
  return found.map(({ name, location, containerName }) => `${containerName ?? ''} ${name} ${location.uri.slice(-12)}:${location.range.start.line}`);
}

describe('workspace symbols', () => {
  it('are sections, named rules and anchors of every config', () => {
    assert.deepEqual(names('').sort(), ['anchor &int4 a.quant.yaml:1', 'rule attention a.quant.yaml:3', 'rule mod\\u000aulation b.quant.yaml:2', 'section defaults a.quant.yaml:1', 'section rules a.quant.yaml:2', 'section rules b.quant.yaml:0', 'section version a.quant.yaml:0']);
  });

  it('are found by letters in their order, the nearest first', () => {
    assert.deepEqual(names('ION'), ['section version a.quant.yaml:0', 'rule attention a.quant.yaml:3', 'rule mod\\u000aulation b.quant.yaml:2']);
    assert.deepEqual(names('at n'), ['rule attention a.quant.yaml:3', 'rule mod\\u000aulation b.quant.yaml:2']);
    assert.deepEqual(names('i4'), ['anchor &int4 a.quant.yaml:1']);
    assert.deepEqual(names('xyz'), []);
  });

  it('rank whole words before letters that lie apart', () => {
    const query = 'norm';
    const ranked = ['n-o-r-m', 'norm', 'my norm', 'north pole m'].map((name) => ({ name, score: subsequenceScore(name, query) ?? Infinity })).sort((x, y) => x.score - y.score);
    assert.deepEqual(ranked.map(({ name }) => name).slice(0, 2), ['norm', 'my norm']);
    assert.equal(subsequenceScore('mron', query), undefined);
  });

  it('are no more than somebody reads', () => {
    const many = modelOf(`rules:\n${Array.from({ length: 600 }, (_, i) => `  - { name: r${i}, layers: a }\n`).join('')}`);
    assert.equal(workspaceSymbols([structureOf(many)], 'r').length, maxSymbols);
  });
});
