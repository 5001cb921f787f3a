import assert from 'node:assert/strict';
import { layersNamed } from '../../../fixtures/checkpoints';
import { config, describeTraps, evaluated } from './support';

const text = (layers: Record<string, [weights: string, activations: string]>): string => JSON.stringify(Object.fromEntries(Object.entries(layers).map(([name, [weights, activations]]) => [name, { weights, activations }])), null, 1);

describe('map of optimum-quanto', () => {
  const layers = layersNamed('a.b', 'a.c', 'd');
  describeTraps('qmap/', 'optimum-quanto', [
    ['qmap/type', text({ 'a.b': ['int8', 'none'] }), '"int8"', text({ 'a.b': ['qint8', 'none'] })],
    ['qmap/diffusers', text({ 'a.b': ['qint8', 'none'] }), '"a.b"', config({ quant_method: 'quanto' })],
    ['dialect/matches-nothing', text({ a: ['qint8', 'none'] }), '"a"', text({ 'a.b': ['qint8', 'none'] })],
  ], layers, 'quanto_qmap.json');

  it('goes by whole names', () => {
    const { decisions } = evaluated('optimum-quanto', text({ 'a.b': ['qint4', 'none'], d: ['qfloat8', 'qfloat8'] }), layers, 'quanto_qmap.json');
    assert.deepEqual(decisions.map(({ layer, treatment }) => [layer.name, treatment.label, treatment.weightBits, treatment.activationBits]), [['a.b', 'qint4 weights', 4, 16], ['a.c', 'kept', 16, 16], ['d', 'qfloat8 weights, qfloat8 activations', 8, 8]]);
  });
});
