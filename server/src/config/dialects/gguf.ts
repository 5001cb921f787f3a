import { quantized } from './dialect';
import type { FieldTable } from './field';
import { backend, fp32Modules, skipList } from './quantizationConfig';

/** Equal to any dotted segment: the walk does not go into a module of that name. */
function takes(entry: string, layer: string): boolean {
  return layer.split('.').includes(entry);
}

const fields: FieldTable = {
  compute_dtype: { type: 'text', default: 'float32', open: true, values: { bfloat16: 'for a model that runs in bfloat16', float16: '', float32: '' }, doc: 'What the unpacked weights are multiplied in.' },
  modules_to_not_convert: { type: 'any', silent: true, doc: 'Not taken: what is packed in the file is unpacked as it is.' },
  pre_quantized: { type: 'flag', silent: true, doc: 'Written by diffusers; always true.' },
};

/** Which weights are packed, and how, is in the GGUF file; the config only says what to compute in. */
export const gguf = backend({
  fields, source: 'diffusers 0.40, `GGUFQuantizationConfig`',
  id: 'diffusers-gguf', title: 'GGUF in diffusers', methods: ['gguf'], codes: ['gguf/'],
  rule: 'There is no list to write; what a model class keeps in float32 is compared with every dotted segment of a name.',
  unmatched: 'There are no entries.',
}, (fields) => {
  fields.report('gguf/not-saved', 'info', fields.keyRange('quant_method'),
    'diffusers does not save this and reads it nowhere: pass GGUFQuantizationConfig to from_single_file, for files with diffusers names together with config= and subfolder=.');
  if (fields.has('compute_dtype')) {
    fields.text('compute_dtype');
  } else {
    fields.report('gguf/compute-dtype', 'warning', fields.keyRange('quant_method'), 'Without compute_dtype everything is computed in float32. Write "bfloat16" for a model that runs in bfloat16.');
  }
  if (fields.has('modules_to_not_convert')) {
    fields.report('gguf/skip-list', 'warning', fields.keyRange('modules_to_not_convert'), 'diffusers takes no such list for GGUF: what is packed in the file is unpacked as it is. It has no effect.');
  }
  fields.check('warning', 'It is a TypeError.');
  return { entries: skipList([], takes), otherwise: quantized('as the GGUF file stores it', null, 16), unmatched: 'ignored', builtin: fp32Modules(fields, takes) };
});
