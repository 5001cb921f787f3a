import { problem, quantized } from './dialect';
import type { DialectProblem } from './dialect';
import { named } from './field';
import type { FieldTable } from './field';
import type { Fields } from './fields';
import { leaves } from './offers';
import { certain } from '../../python/packages/allowed';
import type { Packages } from '../../python/packages/allowed';
import { backend, byName, fp32Modules, skipList, tooOld } from './quantizationConfig';
import { equivalent, float, int, uint } from './recipes';
import type { Equivalent } from './recipes';

/** optimum-quanto's weights: one scale per output channel, groups of 128 below 8 bits (smaller where 128 does not divide the inputs). */
export const quantoFormats: Readonly<Record<string, Equivalent>> = { int8: equivalent(int(8)), int4: equivalent(uint(4, 128)), int2: equivalent(uint(2, 128)), float8: equivalent(float('fp8', 'row')) };

/** Only the last segment of a name is compared. A container's name skips the container, which is no layer; its children are converted before it is looked at. */
export function takes(entry: string, layer: string): boolean {
  return layer.slice(layer.lastIndexOf('.') + 1) === entry;
}

const fields: FieldTable = {
  weights_dtype: { type: 'text', default: 'int8', values: named('float8', 'int8', 'int4', 'int2'), doc: 'What weights become. Activations stay as they are.' },
  modules_to_not_convert: { type: 'names', names: byName(takes, leaves), doc: 'Layers to keep, by the last segment of their names.' },
};

export const quanto = backend({
  fields, source: 'diffusers 0.40, `QuantoConfig`', since: '0.33',
  id: 'diffusers-quanto', title: 'quanto in diffusers', methods: ['quanto'], codes: ['quanto/'],
  rule: 'A layer is kept when the last segment of its name is the entry; dotted paths and names of containers take nothing.',
  unmatched: 'Passed over without a word.',
}, (fields) => {
  const weights = fields.text('weights_dtype') ?? 'int8';
  fields.check('warning', 'diffusers passes over it without a word.');
  const names = fields.names('modules_to_not_convert', true);
  for (const { value, range } of names.filter((name) => name.value.includes('.'))) {
    const leaf = value.slice(value.lastIndexOf('.') + 1);
    fields.report('quanto/dotted', 'warning', range, `quanto compares the last segment of a name only: "${value}" never takes anything, and its layers are quantized. "${leaf}" would take every layer of that name.`);
  }
  return {
    entries: skipList(names, takes, () => 'quanto compares the last segment of a layer\'s name only, so paths and names of containers never take anything.'),
    otherwise: quantized(`${weights} weights`, Number(/\d+$/.exec(weights)?.[0] ?? 8), 16, quantoFormats[weights]), unmatched: 'ignored', builtin: fp32Modules(fields, takes),
    trapsBeside: ({ packages }) => [...deprecated(fields, packages), ...tooOld('quanto/old', fields.keyRange('quant_method'), packages, 'optimum-quanto', '0.2.6')],
  };
});

/** diffusers says so from 0.38 on. */
function deprecated(fields: Fields, packages: Packages): DialectProblem[] {
  const gone = certain(packages, 'diffusers', { from: '1.0.0' });
  const announced = 'diffusers\' quanto backend is deprecated, and its removal is announced for version 1.0.0';
  return certain(packages, 'diffusers', { before: '0.38' }) ? [] : [problem('quanto/deprecated', gone ? 'warning' : 'hint', fields.keyRange('quant_method'), gone ? `${announced}; here stands ${gone}. Use torchao or bitsandbytes.` : `${announced}.`)];
}
