import { nearest } from '../nearest';
import { kept, problem, replaceBy } from './dialect';
import type { Dialect, DialectFile } from './dialect';
import { inConfig, methodField, quantizationConfig, quantMethod } from './quantizationConfig';
import { find } from '../tree';

const methods = ['bitsandbytes', 'gguf', 'quanto', 'torchao', 'modelopt', 'auto-round', 'nunchaku_lite', 'sdnq'];

/** A `quantization_config` whose method no loader of diffusers knows. Asked last. Checkpoints of our own are no mistake. */
export const unknownBackend: Dialect = {
  id: 'diffusers-unknown', title: 'quantization_config of diffusers',
  file: '`quantization_config` in `config.json` with another `quant_method`, or none',
  rule: 'None: nothing loads it.',
  unmatched: 'There are no entries.',
  codes: [],
  root: (file) => inConfig(file, {
    type: 'map', doc: 'How a component is quantized. `quant_method` says by which tool.',
    fields: { quant_method: methodField, load_in_4bit: { type: 'flag', doc: '4-bit weights by bitsandbytes.' }, load_in_8bit: { type: 'flag', doc: 'LLM.int8() by bitsandbytes.' } },
  }),
  detect: (file) => quantizationConfig(file) !== undefined && quantMethod(file) !== 'quantscope' && !isTransformers(file),
  parse(file) {
    const node = quantizationConfig(file);
    const method = quantMethod(file);
    const entry = find(node, 'quant_method');
    const range = entry?.value.range ?? file.root?.range ?? { start: { line: 0, character: 0 }, end: { line: 0, character: 0 } };
    const close = nearest(method ?? '', methods);
    return {
      entries: [], otherwise: kept, unmatched: 'ignored',
      problems: [...file.problems, problem('dialect/unknown-method', 'error', range, `${method === undefined ? 'quant_method is missing' : `diffusers has no quantizer "${method}"`}: ${methods.join(', ')}.`,
        entry && close ? replaceBy(range, close) : undefined)],
    };
  },
};

/** A model of transformers, which loads with other methods too (gptq, awq, fp8 …). */
function isTransformers({ root }: DialectFile): boolean {
  return find(root, '_class_name') === undefined && (find(root, 'architectures') ?? find(root, 'model_type')) !== undefined;
}
