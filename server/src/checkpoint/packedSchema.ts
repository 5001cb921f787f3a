/** What a metadata entry of a packed checkpoint may say. Files come from anywhere: whatever this lets through, plans, hovers and the engine can work with. */
import Ajv from 'ajv';
import type { PackedEntry } from './packed';

const ajv = new Ajv({ strict: false, discriminator: true });
const text = { type: 'string', maxLength: 64 };
const flag = { type: 'boolean' };

export const isPackedEntry = ajv.compile<PackedEntry>(entrySchema());

/** Of the last entry that was refused. */
export function whatIsWrong(): string { return ajv.errorsText(isPackedEntry.errors, { dataVar: 'entry' }); }

function entrySchema(): object {
  const seed = integer(0, Number.MAX_SAFE_INTEGER);
  const bits = integer(1, 8);
  const group = { anyOf: [integer(1, 2 ** 24), { enum: ['row', 'tensor'] }] };
  const scale = oneOf('fp16', 'bf16', 'fp32');
  const share = { type: 'number', minimum: 0, maximum: 1 };
  const number = { type: 'number' };
  const shaped = [
    kind('int', { bits, symmetric: flag, group, scale }, { clip: { anyOf: [{ const: 'mse' }, share] }, range: { const: 'static' }, shift: number }),
    kind('codebook', { bits, norm: scale }), kind('midrise', { bits, norm: scale }),
    kind('twin-log', { bits, form: oneOf('corrected', 'released') }), kind('float', { format: oneOf('fp4', 'nvfp4', 'mxfp4', 'fp8', 'mxfp8'), group }),
  ];
  const recipe = object({
    method: text,
    smooth: nullable(choice(kind('absmax'), kind('smoothquant', { alpha: number, beta: number }), kind('search', { steps: integer(1, 1e6) }), kind('csb'))),
    permute: nullable(choice(kind('random', { seed }), kind('zigzag', { block: integer(1, 2 ** 24) }))),
    rotate: nullable(choice(
      kind('rpbh', { seed }), kind('hadamard', { seed }), kind('random', { seed }), kind('pca', { perHead: flag, seed }),
      kind('outlier-aware', { block: integer(1, 2 ** 24), steps: integer(1, 1e6), order: oneOf('zigzag', 'round-robin'), seed }),
      kind('adaptive', { threshold: number, signal: oneOf('rms', 'peak-to-rms'), seed }),
    )),
    tail: nullable(object({ fraction: share, dtype: { const: 'bf16' } })),
    lowRank: nullable(object({ rank: integer(1, 2 ** 24), iterations: integer(1, 1e6), dtype: { const: 'bf16' } })),
    weights: choice(...shaped),
    activations: choice(...shaped, kind('keep', { dtype: oneOf('original', 'bf16', 'fp16', 'fp32') })),
    solver: choice(kind('rtn'), kind('gptq', { damping: number, actOrder: flag, staticGroups: flag }), kind('adaround', { iterations: integer(1, 1e9) })),
  });
  const tensor = text;
  return object({
    shape: { type: 'array', minItems: 2, maxItems: 2, items: integer(1, 2 ** 24) },
    dtype: oneOf('F64', 'F32', 'F16', 'BF16', 'F8_E4M3', 'F8_E5M2'),
    recipe,
    transforms: { type: 'array', maxItems: 16, items: choice(kind('scale', { tensor }), kind('permute', { tensor }), kind('blocks', { tensor }), kind('rpbh', { seed }), kind('hadamard', { seed }), kind('random', { seed })) },
    tail: integer(0, 2 ** 24),
    activationRange: nullable(object({ low: number, high: number })),
    sides: { type: 'array', maxItems: 8, items: text },
    lowRank: flag,
    relativeMse: { type: 'number', minimum: 0 },
  });
}

function object(required: Record<string, object>, optional: Record<string, object> = {}): object {
  return { type: 'object', required: Object.keys(required), properties: { ...required, ...optional } };
}

function kind(name: string, required: Record<string, object> = {}, optional?: Record<string, object>): object {
  return object({ kind: { const: name }, ...required }, optional);
}

function choice(...kinds: object[]): object { return { type: 'object', discriminator: { propertyName: 'kind' }, required: ['kind'], oneOf: kinds }; }
function nullable(schema: object): object { return { anyOf: [{ type: 'null' }, schema] }; }
function integer(minimum: number, maximum: number): object { return { type: 'integer', minimum, maximum }; }
function oneOf(...values: string[]): object { return { enum: values }; }
