import { weightTraps } from './bitsandbytesTensors';
import { kept, quantized } from './dialect';
import { named } from './field';
import type { FieldTable } from './field';
import type { Fields } from './fields';
import { modules } from './offers';
import { backend, byName, fp32Modules, skipList, tooOld } from './quantizationConfig';
import { equivalent, float, float32Scales, int } from './recipes';
import type { Equivalent } from './recipes';

/** In the order in which an export prefers them. Blocks of 64 run over the whole weight, row after row. */
const bitsandbytesFormats: Readonly<Record<'nf4' | 'fp4' | 'int8', Equivalent>> = {
  nf4: equivalent(float('fp4', 64), undefined, ['its 16 levels are quantiles of a normal distribution, those of fp4 are E2M1', float32Scales]),
  fp4: equivalent(float('fp4', 64), undefined, ['its smallest level is 1/192 of the largest, E2M1\'s is 1/12', float32Scales]),
  int8: equivalent(int(8, 'row', { scale: 'fp32' }), int(8, 'row', { scale: 'fp32' }), ['inputs above llm_int8_threshold are multiplied in 16 bits']),
};

/** A layer is kept when its last segment is the entry, when the entry and a dot stand anywhere in its path, or when the path is the entry. No anchors, no wildcards. */
export function takes(entry: string, layer: string): boolean {
  // A list may hold hundreds of names: most are told apart without making another text.
  return layer.includes(entry) && (layer.slice(layer.lastIndexOf('.') + 1) === entry || layer.includes(`${entry}.`) || layer === entry);
}

const fields: FieldTable = {
  load_in_4bit: { type: 'flag', default: false, doc: 'Replaces linear layers by `Linear4bit`: weights in blocks of 64 with one scale each. Excludes `load_in_8bit`.' },
  load_in_8bit: { type: 'flag', default: false, doc: 'Replaces linear layers by `Linear8bitLt` (LLM.int8()): weights and activations in int8, channels of large activations apart. Excludes `load_in_4bit`.' },
  bnb_4bit_quant_type: { type: 'text', default: 'fp4', values: { nf4: '16 levels at the quantiles of a normal distribution; usually the better', fp4: '4-bit floats' }, refusal: ['bitsandbytes/quant-type', 'warning'], doc: 'The 16 levels of 4-bit weights. Any text passes, but only these two mean something.' },
  bnb_4bit_compute_dtype: { type: 'text', default: 'float32', open: true, values: { bfloat16: 'for a model that runs in bfloat16', float16: '', float32: 'slow for 16-bit inputs' }, doc: 'What the unpacked weights are multiplied in.' },
  bnb_4bit_use_double_quant: { type: 'flag', default: false, doc: 'Quantizes the scales of 4-bit weights to 8 bits too: about 0.4 bits per weight less.' },
  bnb_4bit_quant_storage: { type: 'text', default: 'uint8', values: named('uint8', 'int8', 'float16', 'bfloat16', 'float32', 'float64'), doc: 'The dtype in whose tensors the packed 4-bit codes are kept. FSDP wants that of the other weights.' },
  llm_int8_skip_modules: { type: 'names', names: byName(takes, modules), doc: 'Layers to keep, for 4 bits as for 8. A list, never a text alone.' },
  llm_int8_threshold: { type: 'number', values: { '6.0': 'the default' }, open: true, doc: 'Activations above it are multiplied in 16 bits (8-bit only). A float: `6` alone is a TypeError.' },
  llm_int8_enable_fp32_cpu_offload: { type: 'flag', default: false, doc: 'Layers that a `device_map` puts on the CPU stay in float32 there instead of stopping with an error.' },
  llm_int8_has_fp16_weight: { type: 'flag', default: false, doc: 'Keeps 16-bit weights beside the int8 ones, for fine-tuning.' },
  _load_in_4bit: { type: 'flag', silent: true, doc: 'A copy of `load_in_4bit` that diffusers writes when it saves.' },
  _load_in_8bit: { type: 'flag', silent: true, doc: 'A copy of `load_in_8bit` that diffusers writes when it saves.' },
  compute_dtype: { type: 'any', silent: true, doc: 'No field of bitsandbytes: `bnb_4bit_compute_dtype` is meant.' },
};

export const bitsandbytes = backend({
  fields, source: 'diffusers 0.40, `BitsAndBytesConfig`', since: '0.31',
  id: 'diffusers-bitsandbytes', title: 'bitsandbytes in diffusers', methods: ['bitsandbytes', 'bitsandbytes_4bit', 'bitsandbytes_8bit'], codes: ['bitsandbytes/'],
  file: '`quantization_config` in a component\'s `config.json` with `load_in_4bit` or `load_in_8bit` true, or `quant_method` `bitsandbytes`',
  rule: 'A layer is kept when the last segment of its name is the entry, when the entry followed by a dot stands anywhere in its path, or when the path is the entry; nothing is anchored, and there are no wildcards.',
  unmatched: 'Passed over without a word.',
}, (fields) => {
  checkWidths(fields);
  check(fields);
  const four = fields.flag('load_in_4bit') === true;
  const type = fields.text('bnb_4bit_quant_type') ?? 'fp4';
  // Either flag alone means LLM.int8() or 4 bit; activations are only quantized (to 8 bit, outliers apart) by the first.
  const otherwise = four ? quantized(type, 4, 16, bitsandbytesFormats[type === 'nf4' ? 'nf4' : 'fp4']) :
    fields.flag('load_in_8bit') === true ? quantized('LLM.int8(): int8 weights and activations', 8, 8, bitsandbytesFormats.int8) : kept;
  const entries = skipList(fields.names('llm_int8_skip_modules', false), takes, (entry) => (entry.includes('.') ?
    'A path counts only with a dot behind it (a module that contains layers) or as the whole name of a layer; the end of a path does not. Write the last segment alone, or the whole path.' : undefined));
  const builtin = fp32Modules(fields, takes);
  return {
    entries, otherwise, unmatched: 'ignored', builtin,
    trapsBeside: ({ component, packages }) => [...tooOld('bitsandbytes/old', fields.keyRange(four ? 'load_in_4bit' : 'load_in_8bit'), packages, 'bitsandbytes', '0.43.3'),
      ...component && otherwise.kind === 'quantize' ? weightTraps(fields, four ? 'load_in_4bit' : 'load_in_8bit', component, [...entries, ...builtin(component)]) : []],
  };
});

function checkWidths(fields: Fields): void {
  const [four, eight] = [fields.flag('load_in_4bit') === true, fields.flag('load_in_8bit') === true];
  if (four && eight) {
    fields.report('bitsandbytes/both-widths', 'error', fields.range('load_in_8bit'), 'load_in_4bit and load_in_8bit are both true, which is a ValueError. Keep one.');
  } else if (!four && !eight) {
    fields.report('bitsandbytes/no-width', 'error', fields.keyRange('quant_method'), 'Neither load_in_4bit nor load_in_8bit is true, so diffusers finds no quantizer ("Unknown quantization type"). Set one.');
  }
  if (four && !fields.has('bnb_4bit_quant_type')) {
    fields.report('bitsandbytes/default-fp4', 'info', fields.keyRange('load_in_4bit'), 'Without bnb_4bit_quant_type weights become FP4. Write "nf4" unless that is meant.');
  }
  if (four && !fields.has('bnb_4bit_compute_dtype')) {
    fields.report('bitsandbytes/compute-dtype', 'warning', fields.keyRange('load_in_4bit'), 'Without bnb_4bit_compute_dtype everything is computed in float32. Write "bfloat16" for a model that runs in bfloat16.');
  }
  if (eight && fields.names('llm_int8_skip_modules', false).length > 0) {
    fields.report('bitsandbytes/int8-skip', 'info', fields.keyRange('llm_int8_skip_modules'),
      '8-bit weights beside a skip list fail with some versions ("\'Parameter\' object has no attribute \'SCB\'") or quantize what the list names. Look at the loaded model\'s layer types.');
  }
}

function check(fields: Fields): void {
  const threshold = fields.scalar('llm_int8_threshold');
  // The tree has lost how a number was written; the text has not.
  if (fields.has('llm_int8_threshold') && typeof fields.number('llm_int8_threshold') === 'number' && Number.isInteger(threshold) && fields.source('llm_int8_threshold').match(/^-?\d+$/)) {
    fields.report('bitsandbytes/threshold', 'error', fields.range('llm_int8_threshold'), `llm_int8_threshold must be a float: write ${String(threshold)}.0.`);
  }
  if (fields.has('compute_dtype')) {
    fields.report('bitsandbytes/compute-dtype-key', 'warning', fields.keyRange('compute_dtype'), 'compute_dtype is passed over, and float32 stays. Write bnb_4bit_compute_dtype.',
      fields.has('bnb_4bit_compute_dtype') ? undefined : 'bnb_4bit_compute_dtype');
  }
  fields.check('warning', 'diffusers passes over it with a warning.');
}
