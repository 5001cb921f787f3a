/** What AutoRound's exporter does otherwise for diffusion models, and what of its results diffusers loads. Read in auto-round (2026-08), `DiffusionMixin`, and diffusers 0.40, `AutoRoundQuantizer`. */
import type { Checkpoint, Range } from '../../../protocol';
import { rangeOf } from '../../tree';
import type { Scheme } from './schemes';
import { problem } from '../dialect';
import type { DialectFile, DialectProblem } from '../dialect';
import type { Fields } from '../fields';
import { textOf } from '../python/loads';
import type { Subject } from '../python/subject';

/** Only its own keywords, or what diffusers loads, say before a checkpoint is known that the model is a diffusion model. @returns what is known now, and what a checkpoint adds */
export function diffusionTraps(fields: Fields, file: DialectFile, scheme: Scheme): { known: DialectProblem[]; withModel(checkpoint: Checkpoint): DialectProblem[] } {
  const subject = file.python?.subject;
  const found = [...batch(fields), ...subject ? [...bare(subject), ...formats(fields, file, subject, scheme)] : []];
  const isDiffusion = subject?.kind === 'pipeline' || subject?.load?.owner.startsWith('diffusers.') === true || ['num_inference_steps', 'guidance_scale', 'generator_seed'].some((key) => fields.has(key));
  return { known: isDiffusion ? found : [], withModel: ({ architecture }) => (isDiffusion || !/Transformer\w*Model$/.test(architecture) ? [] : found) };
}

function bare({ kind, load, component, range }: Subject): DialectProblem[] {
  return kind === 'model' && !load?.owner.startsWith('transformers.') && !/encoder/.test(component ?? '') ? [problem('autoround-export/model', 'error', range,
    'AutoRound takes a model alone for a language model: without a tokenizer it is a ValueError. Hand over the pipeline, or its folder; the transformer of it is quantized.')] : [];
}

function batch(fields: Fields): DialectProblem[] {
  const size = fields.scalar('batch_size');
  return typeof size === 'number' && size !== 1 && fields.scalar('iters') !== 0 ? [problem('autoround-export/batch-size', 'hint', fields.range('batch_size'),
    `For diffusion models AutoRound sets batch_size to 1, and gradient_accumulate_steps to ${size} times what it is.`)] : [];
}

/** Where the result is saved, with what format. Without one it is `auto_round`. */
function formats(fields: Fields, { document }: DialectFile, { methods }: Subject, scheme: Scheme): DialectProblem[] {
  return methods.filter(({ name }) => name === 'quantize_and_save' || name === 'save_quantized').flatMap(({ call, source }) => {
    const given = source.argumentsOf(call);
    const value = (given.find(({ name }) => name?.text === 'format') ?? given.filter(({ name, spread }) => !name && spread === '')[1])?.value;
    const text = value ? textOf(value, source, document) : fields.has('format') ? fields.text('format') : 'auto_round';
    const place = value ?? call.firstChild ?? call;
    return text === undefined ? [] : text.toLowerCase().replaceAll(' ', '').split(',').flatMap((format) => about(format, rangeOf(document, place.from, place.to), scheme));
  });
}

function about(format: string, range: Range, scheme: Scheme): DialectProblem[] {
  const { data_type: type, bits = 4, act_bits: actBits = 16, ggml } = scheme;
  if (format === 'fake') {
    return [problem('autoround-export/format', 'hint', range, 'fake saves the rounded weights in their former type: the files are as large as before, and activations are not quantized when they are loaded.')];
  }
  if (/^auto_round(?:$|:(?:auto_gptq|gptqmodel|auto_awq)$)/.test(format) && ggml === undefined) {
    return type === 'int' && actBits >= 16 && [2, 3, 4, 8].includes(bits) ? [] : [problem('autoround-export/format', 'warning', range,
      'AutoRound itself says of diffusion models that only fake is supported, and diffusers documents auto_round for 4-bit integer weights with activations as they are: whether this scheme loads is not promised. Take W4A16, or fake to judge the pictures.')];
  }
  return format === 'svdquant_nunchaku' ? [] : [problem('autoround-export/format', 'warning', range,
    `diffusers does not load what "${ggml !== undefined && format === 'auto_round' ? 'auto_round", which a GGUF scheme turns into GGUF, ' : `${format}" `}saves: its config names a method that diffusers does not have, or is meant for language models. Save in auto_round with a scheme such as W4A16.`)];
}
