/** `hf_quant_config.json`, which ModelOpt's export writes beside a checkpoint. */
import type { Checkpoint, Layer } from '../../protocol';
import { ownText, remembering } from '../remembered';
import { find } from '../tree';
import { kept, problem, quantized } from './dialect';
import type { Dialect, DialectEntry, DialectProblem, Treatment } from './dialect';
import { named } from './field';
import type { Field, NameRule } from './field';
import { Fields } from './fields';
import { halfTraps } from './halves';
import { globs, names } from './offers';
import { keepOriginal } from '../../methods/method';
import { matcher } from './modelopt';
import { blocksOf2d, staticFloat } from './quantizationArgs';
import { equivalent, float, int } from './recipes';
import type { Equivalent } from './recipes';
import { widthTraps } from './sizes';

/** Bits of weights and activations. */
const algorithms: Readonly<Record<string, readonly [weights: number, activations: number]>> = {
  FP8: [8, 8], FP8_PER_CHANNEL_PER_TOKEN: [8, 8], NVFP4: [4, 4], NVFP4_SVD: [4, 4], NVFP4_AWQ: [4, 4], W4A16_AWQ: [4, 16], W4A16_NVFP4: [4, 16], W4A8_AWQ: [4, 8], W8A16: [8, 16], W8A8_SQ_PER_CHANNEL: [8, 8],
  MXFP8: [8, 8], FP8_PB_WO: [8, 16], W4A8_NVFP4_FP8: [4, 8], W4A8_MXFP4_FP8: [4, 8],
  // Those that ModelOpt has no name for are written as they are called inside.
  fp8_pb_wo: [8, 16], fp8_pb_real: [8, 8], mxfp4: [4, 16],
};
const mixed = 'MIXED_PRECISION';

const algorithmField: Field = { type: 'text', values: named(...Object.keys(algorithms)), refusal: ['hfquant/algorithm', 'error'], doc: 'What is quantized to what.' };
const excludeRule: NameRule = { doc: '`fnmatch` on the names of layers.', takes: (entry) => { const matches = matcher(entry); return ({ name }) => matches(name); }, offers: globs('') };
const layerRule: NameRule = { doc: 'A key is the whole name of a layer.', takes: (entry) => ({ name }) => name === entry, offers: names };
const groupSize: Field = { type: 'number', examples: [16, 32, 128], doc: 'Inputs that share a scale; NVFP4 has 16.' };
const section: Field = {
  type: 'map', doc: 'What the export did.', source: 'ModelOpt, unified export (2026-08)',
  fields: {
    quant_algo: { ...algorithmField, values: { ...algorithmField.values, [mixed]: 'by layer, in `quantized_layers`' } }, kv_cache_quant_algo: { type: 'any', examples: [null, 'FP8'], doc: 'For keys and values that are kept.' }, group_size: groupSize,
    exclude_modules: { type: 'names', names: excludeRule, doc: 'Layers that stay as they are.' },
    quantized_layers: { type: 'map', names: layerRule, doc: 'Layers with an algorithm of their own.', each: { type: 'map', doc: 'How this layer is quantized.', fields: { quant_algo: algorithmField, group_size: groupSize } } },
    has_zero_point: { type: 'flag', doc: 'Of AWQ.' }, pre_quant_scale: { type: 'flag', doc: 'Of AWQ.' },
  },
};
const rootField: Field = { type: 'map', doc: 'What ModelOpt\'s export writes beside a checkpoint.', fields: { producer: { type: 'map', doc: 'Which ModelOpt.', fields: { name: { type: 'text', doc: 'Its name.' }, version: { type: 'text', doc: 'Its version.' } } }, quantization: section } };

export const hfQuantConfig: Dialect = {
  root: () => rootField,
  id: 'modelopt-hf', title: 'hf_quant_config.json of ModelOpt',
  file: 'JSON with `quantization.quant_algo`',
  rule: '`exclude_modules` holds whole names and globs such as `block*` and `block.*`, compared by `fnmatch`, as ModelOpt writes them; vLLM takes an entry also where it stands anywhere in a name, TensorRT-LLM since 2026 also where it names something the layer is in. `quantized_layers` holds whole names.',
  unmatched: 'Passed over without a word.',
  codes: ['hfquant/'],
  detect: ({ root }) => find(find(root, 'quantization')?.value, 'quant_algo') !== undefined,
  parse(file) {
    const problems: DialectProblem[] = [];
    const node = find(file.root, 'quantization')?.value;
    const fields = node?.kind === 'map' ? new Fields(node, 'quantization', problems, file.document, section) : undefined;
    if (!fields) {
      return { entries: [], otherwise: kept, unmatched: 'ignored', problems: file.problems };
    }
    fields.report('hfquant/deprecated', 'hint', fields.keyRange('quant_algo'), 'ModelOpt announces the end of this file: the same stands in quantization_config of config.json.');
    const algorithm = fields.text('quant_algo');
    const group = fields.number('group_size');
    const layers = fields.map('quantized_layers');
    if (algorithm === mixed && !layers) {
      fields.report('hfquant/mixed', 'error', fields.range('quant_algo'), 'MIXED_PRECISION needs quantized_layers, which says what each layer is.');
    }
    if (algorithm?.includes('NVFP4') && group !== undefined && group !== 16) {
      problems.push(problem('hfquant/group-size', 'error', fields.range('group_size'), 'NVFP4 has blocks of 16.'));
    }
    const excluded = fields.names('exclude_modules', false).map(({ value, range }): DialectEntry => {
      const takes = matcher(value);
      return { text: value, range, treatment: kept, isPath: !/[*?[]/.test(value), takes: ({ name }) => takes(name), elsewhere: value === 'lm_head' };
    });
    const named = (layers?.node.entries ?? []).map(({ key, keyRange }): DialectEntry => {
      const inner = layers?.map(key)?.text('quant_algo');
      return { text: key, range: keyRange, treatment: treatment(inner, group), isPath: true, only: key, takes: ({ name }) => name === key };
    });
    return {
      entries: [...excluded, ...named], otherwise: algorithm === mixed ? kept : treatment(algorithm, group), unmatched: 'ignored', problems: [...file.problems, ...problems],
      traps: (checkpoint) => [...excluded.flatMap((entry) => loadersDiffer(entry, checkpoint)),
        ...group === undefined ? [] : widthTraps('hfquant/group-width', fields.range('group_size'), group, checkpoint.layers.filter((layer) => !excluded.some((entry) => entry.takes(layer))), checkpoint, 'exclude them, or take another size.', 'warning')],
      trapsInside: ({ component, checkpoint }) => halfTraps({ first: 'low', tool: 'ModelOpt', layerOf: ({ name }) => /^(.+)\.weight$/.exec(name)?.[1] }, component, checkpoint, fields.range('quant_algo')),
    };
  },
};

const awq = { near: ['its channel scales are found by AWQ\'s search'], parts: { smooth: { kind: 'search', steps: 20 } } } as const;
const svd = { ...awq, parts: { ...awq.parts, lowRank: { rank: 32, iterations: 1, dtype: 'bf16' } } } as const;
const fp8Input = float('fp8', 'tensor');

/** @param group as the file says */
function recipeOf(algorithm: string, group: number): Equivalent | undefined {
  switch (algorithm) {
    case 'FP8': return equivalent(float('fp8', 'tensor'), fp8Input, [staticFloat]);
    case 'FP8_PER_CHANNEL_PER_TOKEN': return equivalent(float('fp8', 'row'), float('fp8', 'row'));
    case 'NVFP4': return equivalent(float('nvfp4'), float('nvfp4'));
    case 'NVFP4_SVD': return equivalent(float('nvfp4'), float('nvfp4'), [...svd.near, 'the rank of its branch is not in the file'], svd.parts);
    case 'NVFP4_AWQ': return equivalent(float('nvfp4'), float('nvfp4'), awq.near, awq.parts);
    case 'W4A16_AWQ': return equivalent(int(4, group), keepOriginal, awq.near, awq.parts);
    case 'W4A16_NVFP4': return equivalent(float('nvfp4'));
    case 'W4A8_AWQ': return equivalent(int(4, group), fp8Input, [...awq.near, staticFloat], awq.parts);
    case 'W8A16': return equivalent(int(8));
    case 'W8A8_SQ_PER_CHANNEL': return equivalent(int(8), int(8, 'tensor', { range: 'static' }), [], { smooth: { kind: 'smoothquant', alpha: 1, beta: 0 } });
    case 'FP8_PB_WO': case 'fp8_pb_wo': return equivalent(float('fp8', 128), keepOriginal, [blocksOf2d]);
    case 'fp8_pb_real': return equivalent(float('fp8', 128), float('fp8', 128), [blocksOf2d]);
    case 'mxfp4': return equivalent(float('mxfp4'));
    case 'MXFP8': return equivalent(float('mxfp8'), float('mxfp8'));
    case 'W4A8_NVFP4_FP8': return equivalent(float('nvfp4'), fp8Input, [staticFloat]);
    case 'W4A8_MXFP4_FP8': return equivalent(float('mxfp4'), fp8Input, [staticFloat]);
    default: return undefined;
  }
}

/** A file says the same of many layers. */
const treatments = new Map<string, Treatment>();

function treatment(algorithm: string | undefined, group: number | undefined): Treatment {
  const key = ownText(`${algorithm ?? ''} ${group ?? ''}`);
  const known = treatments.get(key) ?? treatmentOf(algorithm && ownText(algorithm), group);
  if (treatments.size >= 256) {
    treatments.clear(); // each half-typed word is one
  }
  treatments.set(key, known);
  return known;
}

function treatmentOf(algorithm: string | undefined, group: number | undefined): Treatment {
  const [weights, activations] = algorithms[algorithm ?? ''] ?? [null, null];
  return quantized(`${algorithm ?? 'unknown'}${group === undefined ? '' : ` per group ${group}`}`, weights, activations, recipeOf(algorithm ?? '', group ?? 128));
}

/** Layers that each loader takes for an entry. */
interface Readings { glob: number; tensorrt: number; vllm: number }
const readingsOf = remembering((text, { layers }: Checkpoint): Readings => {
  const matches = matcher(text);
  const takes = ({ name }: Layer): boolean => matches(name);
  const ancestors = (name: string): string[] => name.split('.').map((_, i, parts) => parts.slice(0, i + 1).join('.'));
  return {
    glob: layers.filter(takes).length,
    vllm: layers.filter((layer) => takes(layer) || layer.name.includes(text)).length,
    tensorrt: layers.filter(({ name }) => ancestors(name).some((each) => matches(each) || (text.endsWith('.*') && each === text.slice(0, -2)))).length,
  };
});

/** The same list is read in three ways. Quiet where all agree. */
function loadersDiffer({ text, range }: DialectEntry, checkpoint: Checkpoint): DialectProblem[] {
  const { glob, vllm, tensorrt } = readingsOf(text, checkpoint);
  return vllm === glob && tensorrt === glob ? [] : [problem('hfquant/loaders-differ', 'warning', range,
    `Loaders read "${text}" differently: ${glob} layers as a glob for whole names (ModelOpt, TensorRT-LLM until 2025), ${tensorrt} with what is inside (TensorRT-LLM since 2026), ${vllm} where it stands anywhere (vLLM). A glob such as "${text.replace(/[.*]+$/, '')}.*" for a container says the same to all.`)];
}
