/** `hf_quant_config.json`, which ModelOpt's export writes beside a checkpoint. */
import { find } from '../tree';
import { kept, problem, quantized } from './dialect';
import type { Dialect, DialectEntry, DialectProblem, Treatment } from './dialect';
import { Fields } from './fields';
import { matcher } from './modelopt';

/** Bits of weights and activations. */
const algorithms: Readonly<Record<string, readonly [weights: number, activations: number]>> = {
  FP8: [8, 8], FP8_PER_CHANNEL_PER_TOKEN: [8, 8], NVFP4: [4, 4], NVFP4_SVD: [4, 4], NVFP4_AWQ: [4, 4], W4A16_AWQ: [4, 16], W4A16_NVFP4: [4, 16], W4A8_AWQ: [4, 8], W8A16: [8, 16], W8A8_SQ_PER_CHANNEL: [8, 8],
  MXFP8: [8, 8], W4A8_NVFP4_FP8: [4, 8], W4A8_MXFP4_FP8: [4, 8],
};
const mixed = 'MIXED_PRECISION';

export const hfQuantConfig: Dialect = {
  id: 'modelopt-hf', title: 'hf_quant_config.json of ModelOpt',
  file: 'JSON with `quantization.quant_algo`',
  rule: '`exclude_modules` is compared by `fnmatch` with names of layers; `quantized_layers` holds whole names.',
  unmatched: 'Passed over without a word.',
  codes: ['hfquant/'],
  detect: ({ root }) => find(find(root, 'quantization')?.value, 'quant_algo') !== undefined,
  parse(file) {
    const problems: DialectProblem[] = [];
    const node = find(file.root, 'quantization')?.value;
    const fields = node?.kind === 'map' ? new Fields(node, 'quantization', problems, file.document) : undefined;
    if (!fields) {
      return { entries: [], otherwise: kept, unmatched: 'ignored', problems: file.problems };
    }
    fields.report('hfquant/deprecated', 'hint', fields.keyRange('quant_algo'), 'ModelOpt announces the end of this file: the same stands in quantization_config of config.json.');
    const algorithm = fields.text('quant_algo', [...Object.keys(algorithms), mixed], 'hfquant/algorithm');
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
      const inner = layers?.map(key)?.text('quant_algo', Object.keys(algorithms), 'hfquant/algorithm');
      return { text: key, range: keyRange, treatment: treatment(inner, group), isPath: true, takes: ({ name }) => name === key };
    });
    return { entries: [...excluded, ...named], otherwise: algorithm === mixed ? kept : treatment(algorithm, group), unmatched: 'ignored', problems: [...file.problems, ...problems] };
  },
};

function treatment(algorithm: string | undefined, group: number | undefined): Treatment {
  const [weights, activations] = algorithms[algorithm ?? ''] ?? [null, null];
  return quantized(`${algorithm ?? 'unknown'}${group === undefined ? '' : ` per group ${group}`}`, weights, activations);
}
