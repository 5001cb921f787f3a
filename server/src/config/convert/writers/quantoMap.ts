import { quantoMap } from '../../dialects/quantoMap';
import { entryOf, json, nearest, requireNumbers } from './writer';
import type { Writer } from './writer';

const weights = ['qint8', 'qint4', 'qint2', 'qfloat8'];
const activations = ['none', 'qint8', 'qfloat8'];

/** Every layer by its whole name. */
export const quantoMapWriter: Writer = {
  id: quantoMap.id, dialect: quantoMap, says: 'int8, int4, int2 or float8 weights and inputs as they are, int8 or float8, for each layer by name', fileName: 'quanto_qmap.json',
  write({ quantized }) {
    requireNumbers(quantized, quantoMap.title);
    const candidates = weights.flatMap((type) => activations.map((inputs) => ({ weights: type, activations: inputs })));
    return json(Object.fromEntries(quantized.flatMap((of) => {
      const setting = nearest(candidates.map((each) => ({ setting: each, recipe: entryOf(quantoMap, json({ a: each })).recipe })), of, quantoMap.title);
      return of.layers.map(({ name }) => [name, setting]);
    })));
  },
};
