/** `PipelineQuantizationConfig` of diffusers, which stands in Python alone: which components of a pipeline get which backend. */
import type { Range } from '../../../protocol';
import { nearest } from '../../nearest';
import { find } from '../../tree';
import { kept, problem } from '../dialect';
import type { Dialect, DialectFile, DialectProblem } from '../dialect';
import { named } from '../field';
import type { Field } from '../field';
import { Fields } from '../fields';
import { namesOf } from './sections';

/** Names of components in diffusers' pipelines. */
export const pipelineComponents = ['transformer', 'transformer_2', 'unet', 'vae', 'text_encoder', 'text_encoder_2', 'text_encoder_3', 'text_encoder_4', 'image_encoder', 'controlnet', 'prior', 'decoder', 'connectors', 'vision_language_encoder'];

/** Backends of both libraries whose classes take the same arguments, by diffusers 0.40 and transformers 5. */
const both = ['bitsandbytes_4bit', 'bitsandbytes_8bit', 'auto-round'];
/** Of both, with other arguments: diffusers has `weights_dtype`, transformers `weights`; transformers' TorchAoConfig takes two more. */
const different = ['quanto', 'torchao'];
const diffusersAlone = ['gguf', 'modelopt', 'nunchaku_lite', 'sdnq'];

const root: Field = {
  type: 'map', doc: 'Quantizes components while a pipeline loads: either `quant_mapping`, or `quant_backend` with `quant_kwargs`.', source: 'diffusers 0.40, `PipelineQuantizationConfig`',
  fields: {
    quant_backend: { type: 'text', values: named(...both), open: true, doc: 'One backend for all components. It must exist in diffusers and transformers, with the same arguments in both.' },
    quant_kwargs: { type: 'map', doc: 'Arguments of the backend\'s config class. Not empty.' },
    components_to_quantize: { type: 'any', values: named(...pipelineComponents), open: true, doc: 'Which components; without it all of them.' },
    quant_mapping: { type: 'map', values: named(...pipelineComponents), each: { type: 'any', doc: 'A config: for the transformer of a class of diffusers, for text encoders of one of transformers.' }, doc: 'A config for each component.' },
  },
};

export const pipelineConfig: Dialect = {
  root: () => root,
  id: 'diffusers-pipeline', title: 'PipelineQuantizationConfig of diffusers',
  file: 'a call of `PipelineQuantizationConfig` in Python',
  ofComponents: true,
  rule: 'Components go by their names in `model_index.json`.', unmatched: 'Passed over with a warning.',
  codes: ['pipeline/', 'python/'],
  detect: ({ python, root: node }) => python?.name === 'PipelineQuantizationConfig' && !find(node, 'quant_method'),
  parse(file) {
    const problems: DialectProblem[] = [];
    if (file.root?.kind === 'map') {
      const fields = new Fields(file.root, 'PipelineQuantizationConfig', problems, file.document, root);
      fields.check('error', 'It is a TypeError.');
      checkForm(fields, file.part?.at ?? file.root.range);
      checkClasses(fields, file);
      namedComponents(file).filter(({ name }) => !pipelineComponents.includes(name)).forEach(({ name, range }) => {
        const close = nearest(name, pipelineComponents);
        if (close) {
          fields.report('pipeline/component', 'warning', range, `No pipeline has a component "${name}": diffusers passes over it with a warning, and nothing is quantized. Did you mean "${close}"?`, close);
        }
      });
    }
    return { entries: [], otherwise: kept, unmatched: 'ignored', problems };
  },
};

/** What `_validate_init_args` refuses. */
function checkForm(fields: Fields, at: Range): void {
  const backend = fields.scalar('quant_backend');
  const mapping = fields.value('quant_mapping');
  const isEmpty = (key: string): boolean => { const value = fields.value(key); return value === undefined || (value.kind === 'map' ? value.entries.length === 0 : value.kind === 'scalar' && value.value === null && fields.source(key) === 'None'); };
  if (typeof backend === 'string' && mapping?.kind === 'map') {
    fields.report('pipeline/both', 'error', fields.keyRange('quant_mapping'), 'quant_backend and quant_mapping exclude each other: a ValueError. Keep quant_mapping to give components configs of their own, quant_backend for one config for all.');
  } else if (!fields.has('quant_backend') && isEmpty('quant_mapping')) {
    fields.report('pipeline/neither', 'error', at, 'Neither quant_backend nor quant_mapping says how to quantize: a ValueError. Give one of them.');
  } else if (isEmpty('quant_mapping') && isEmpty('quant_kwargs')) {
    fields.report('pipeline/kwargs', 'error', fields.has('quant_kwargs') ? fields.range('quant_kwargs') : at, 'quant_kwargs is empty: a ValueError, also for a backend whose defaults would do. Name at least one argument.');
  }
  if (typeof backend === 'string' && different.includes(backend)) {
    fields.report('pipeline/signatures', 'error', fields.range('quant_backend'),
      `The config classes of "${backend}" in diffusers and in transformers take different arguments: a ValueError. Write quant_mapping={"transformer": …} with the class of diffusers, and the one of transformers for text encoders.`);
  } else if (typeof backend === 'string' && !both.includes(backend)) {
    const close = nearest(backend, both) ?? (backend === 'bitsandbytes' ? 'bitsandbytes_4bit' : undefined);
    fields.report('pipeline/backend', 'error', fields.range('quant_backend'), diffusersAlone.includes(backend) ?
      `transformers does not have "${backend}": a ValueError. Write quant_mapping={"transformer": …} with the class of diffusers.` :
      `"${backend}" is no backend of diffusers and transformers: ${[...both, ...different].join(', ')}.${close ? ` Did you mean "${close}"?` : ''}`, close);
  }
}

/** A text encoder is a model of transformers, the others are models of diffusers; each reads configs of its own library. */
function checkClasses(fields: Fields, { python }: DialectFile): void {
  const mapping = fields.value('quant_mapping');
  for (const { key, value } of mapping?.kind === 'map' ? mapping.entries : []) {
    const [, library, name] = /^(diffusers|transformers)\b.*?(\w+)$/.exec(python?.classes.get(value) ?? '') ?? [];
    const wanted = /^text_encoder|^image_encoder|^vision_language/.test(key) ? 'transformers' : pipelineComponents.includes(key) ? 'diffusers' : library;
    if (library && wanted !== library && name) {
      fields.report('pipeline/library', 'warning', value.range, `"${key}" is a model of ${wanted ?? ''}, which reads configs of ${wanted ?? ''} alone; this ${name} is the one of ${library}. Import it as: from ${wanted ?? ''} import ${name} as ${wanted === 'transformers' ? 'Transformers' : 'Diffusers'}${name}.`);
    }
  }
}

/** Where components are named. */
export function namedComponents({ root: node }: Pick<DialectFile, 'root'>): { name: string; range: Range }[] {
  const [list, mapping] = [find(node, 'components_to_quantize')?.value, find(node, 'quant_mapping')?.value];
  const listed = (list?.kind === 'list' ? list.items : list ? [list] : []).flatMap((item) => namesOf(item).map((name) => ({ name, range: item.range })));
  return [...listed, ...mapping?.kind === 'map' ? mapping.entries.map(({ key, keyRange }) => ({ name: key, range: keyRange })) : []];
}

/** Components that a pipeline does not have. @param own of its model_index.json */
export function missingComponents(file: DialectFile, own: readonly string[], folder: string): DialectProblem[] {
  return namedComponents(file).filter(({ name }) => !own.includes(name) && (pipelineComponents.includes(name) || !nearest(name, pipelineComponents))).map(({ name, range }) =>
    problem('pipeline/component', 'warning', range, `The pipeline in ${folder} has no component "${name}" (it has ${own.join(', ')}): diffusers passes over it with a warning, and nothing is quantized by it.`));
}
