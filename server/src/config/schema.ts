/**
 * The config language as a JSON Schema: the one source of validation, completion, hover texts and docs/config.md.
 * `defaultSnippets` follows the convention of VS Code's JSON and YAML services. schemas/quantconfig.schema.json is this object, published.
 */
import { methods } from '../methods';
import { method } from './methodSchema';
import { thresholdKeys, thresholdList } from './thresholds';

export interface Schema {
  type?: string | string[];
  description?: string;
  enum?: (string | number | boolean)[];
  /** One text per enum value, for completion and hover. */
  enumDescriptions?: string[];
  const?: unknown;
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: boolean;
  items?: Schema;
  minItems?: number;
  maxItems?: number;
  minLength?: number;
  maxLength?: number;
  minProperties?: number;
  maxProperties?: number;
  minimum?: number;
  exclusiveMinimum?: number;
  maximum?: number;
  pattern?: string;
  /** What to say when `pattern` fails. */
  patternErrorMessage?: string;
  default?: unknown;
  examples?: unknown[];
  if?: Schema;
  then?: Schema;
  else?: Schema;
  defaultSnippets?: { label: string; description?: string; bodyText: string }[];
  $schema?: string;
  $id?: string;
  title?: string;
}

const schemes = ['W4A4', 'W4A16', 'W8A8', 'W4A8', 'W4A6', 'W3A3', 'W2A4', 'W8A16'];

const scheme: Schema = {
  type: 'string',
  pattern: '^W([1-8]|16)A([1-8]|16)$',
  patternErrorMessage: 'A scheme is W<bits>A<bits> with 1 to 8 bits, or 16 to leave that side alone: W4A4, W4A16, W8A8.',
  description: 'Bits of weights and activations, for example `W4A4`. 16 leaves that side as it is.',
  examples: schemes,
};

const keep: Schema = {
  type: 'string',
  enum: ['original', 'bf16', 'fp16', 'fp32'],
  enumDescriptions: ['As the checkpoint stores it.', 'bfloat16', 'float16', 'float32'],
  description: 'Do not quantize these layers; store them as this type.',
};

export const schema: Schema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  $id: 'quantscope:quantconfig-1',
  title: 'QuantScope quantization config',
  description: 'Which layers of a diffusion transformer are quantized, how, and under which size budget.',
  type: 'object',
  additionalProperties: false,
  required: ['version', 'checkpoint'],
  properties: {
    version: { type: 'integer', enum: [1], description: 'Version of the config language.', default: 1 },
    checkpoint: {
      type: 'string', maxLength: 4096, pattern: '\\S', patternErrorMessage: '"checkpoint" needs the path of a model: a folder, a .safetensors file or a .safetensors.index.json.',
      description: 'The model: a diffusers folder, a `.safetensors` file or a `.safetensors.index.json`, relative to this file.',
      examples: ['./FLUX.1-dev', './model.safetensors'],
    },
    defaults: {
      type: 'object', additionalProperties: false,
      description: 'What every layer gets that no rule takes, and what a rule leaves out.',
      properties: { method, scheme, keep },
      defaultSnippets: [{ label: 'defaults', bodyText: 'defaults: { method: ${1|' + [...methods.keys()].join(',') + '|}, scheme: ${2:W4A4} }' }],
    },
    rules: {
      type: 'array', maxItems: 4096,
      description: 'Rules from top to bottom; for each layer the last rule that matches decides. What that rule leaves out comes from `defaults`.',
      items: {
        type: 'object', additionalProperties: false, required: ['layers'],
        properties: {
          name: { type: 'string', minLength: 1, maxLength: 200, description: 'A name for reports and hints.' },
          layers: {
            type: ['array', 'string'], minItems: 1, maxItems: 4096, maxLength: 65536,
            items: { type: 'string', minLength: 1, maxLength: 65536 },
            description: 'Layer patterns: `*` matches within one dotted segment, `**` across segments, anchored at both ends; `!pattern` excludes.',
            examples: ['**.ff.**', '**.norm*.linear', 'proj_out'],
          },
          scheme, method, keep,
        },
        defaultSnippets: [
          { label: 'rule: scheme', description: 'Quantize the matched layers with other bits', bodyText: '- layers: ["${1:**}"]\n  scheme: ${2:W8A8}' },
          { label: 'rule: keep', description: 'Leave the matched layers in high precision', bodyText: '- layers: ["${1:proj_out}"]\n  keep: ${2|original,bf16,fp16,fp32|}' },
          { label: 'rule: weight-only', description: 'INT4 weights with group 64, activations untouched', bodyText: '- layers: ["${1:**.norm*.linear}"]\n  scheme: W4A16\n  method: { name: rtn, weights: { group: 64 } }' },
        ],
      },
    },
    loras: {
      type: 'array', minItems: 1, maxItems: 32,
      description: 'LoRA adapters that are to work on this model once it is quantized. They are checked, never fused: whether each layer they change is there, and whether the change is large enough beside the step of its quantizer ' +
        'to outlive being fused into the weights.',
      items: {
        type: 'object', additionalProperties: false, required: ['path'],
        properties: {
          path: { type: 'string', minLength: 1, maxLength: 4096, pattern: '\\S', patternErrorMessage: '"path" needs the .safetensors file of an adapter.', description: 'The `.safetensors` file, relative to this file: as diffusers, PEFT or Kohya write it.', examples: ['./style.safetensors'] },
          scale: { type: 'number', minimum: -100, maximum: 100, default: 1, description: 'Strength: ΔW is scale · alpha / rank · B · A.', examples: [0.8] },
        },
        defaultSnippets: [{ label: 'adapter', bodyText: '- path: ${1:./adapter.safetensors}\n  scale: ${2:1}' }],
      },
    },
    budget: {
      type: 'object', additionalProperties: false, minProperties: 1, maxProperties: 1,
      description: 'A hard bound: `size` on the bytes of the whole quantized checkpoint, or `bits` on the average bits of the linear weights, side data included.',
      properties: {
        size: {
          type: ['string', 'integer'], minimum: 1, pattern: '^[0-9]+(\\.[0-9]+)?\\s*(B|kB|KB|MB|GB|KiB|MiB|GiB)$',
          patternErrorMessage: 'A size is a number with a unit: 6.9GB, 700 MB, 1.5GiB.',
          description: 'Largest size of the quantized checkpoint, for example `6.9GB` (1 GB = 10⁹ bytes, 1 GiB = 2³⁰ bytes).', examples: ['6.9GB', '700MB'],
        },
        bits: { type: 'number', exclusiveMinimum: 0, maximum: 32, description: 'Largest average bits per linear weight, side data included.', examples: [4.5] },
      },
    },
    calibration: {
      type: 'object', additionalProperties: false,
      description: 'Sampling runs of the full-precision model that smoothing, fitted rotations, GPTQ and static ranges learn from. Gathered when a method first needs them, and kept. Everything has a default.',
      properties: {
        trajectories: { type: 'integer', minimum: 1, maximum: 256, default: 4, description: 'Sampling runs, each with a seed of its own; over all classes evenly, or over the prompts of the preview in turn.' },
        steps: { type: 'integer', minimum: 1, maximum: 1000, default: 8, description: 'Sampling steps of each run. Every step is captured, both halves of guidance.' },
        rows: { type: 'integer', minimum: 1, maximum: 65536, default: 256, description: 'Rows of each layer input that are kept as a sample, over all steps and runs.' },
        seed: { type: 'integer', minimum: 0, maximum: 4294967295, default: 1000, description: 'Seed of the first run. Keep it away from the seeds of previews: a config must not be tuned to the picture it is judged by.' },
      },
    },
    findings: {
      type: 'object', additionalProperties: false,
      description: 'From when on a number is worth a word: thresholds of the findings in reports, captures and on the command line. A finding needs more than its threshold. Everything has a default.',
      properties: Object.fromEntries(thresholdKeys.map((key) => [key, { type: 'number', ...thresholdList[key], description: `${thresholdList[key].description} Default ${thresholdList[key].default}.` }])),
    },
    preview: {
      type: 'object', additionalProperties: false,
      description: 'How `QuantScope: Preview Quantized Model` runs. Everything has a default.',
      properties: {
        classes: {
          type: 'array', minItems: 1, maxItems: 64, items: { type: 'integer', minimum: 0, maximum: 1000000 },
          description: 'Class labels of a class-conditional model (DiT); one picture each.', examples: [[207]],
        },
        prompts: {
          type: 'array', minItems: 1, maxItems: 64, items: { type: 'string', minLength: 1, maxLength: 4096 },
          description: 'Prompts of a text-conditional model; one picture or video each. A text is looked up among the embedding files in `prompts/` beside this file; an entry that ends in `.safetensors` is the path of one, relative to this file. docs/prompts.md says how they are made.',
          examples: [['a red fox in the snow']],
        },
        width: { type: 'integer', minimum: 1, maximum: 4096, description: 'Width of the pictures in pixels, a multiple of patch × VAE factor (16 for most models). The default depends on the model.', examples: [512] },
        height: { type: 'integer', minimum: 1, maximum: 4096, description: 'Height of the pictures in pixels, a multiple of patch × VAE factor (16 for most models). The default depends on the model.', examples: [512] },
        frames: { type: 'integer', minimum: 1, maximum: 257, description: 'Pictures of a video: 4n + 1 for Wan, 8n + 1 for CogVideoX, 1 for image models.', examples: [1, 17] },
        decoder: {
          type: 'string', minLength: 1, maxLength: 4096, pattern: '\\S', default: 'vae', patternErrorMessage: '"decoder" is vae, or the path of a tiny decoder.',
          description: '`vae` for the decoder of the pipeline, or the path of a tiny decoder, relative to this file: an AutoencoderTiny folder (images) or a TAEHV file (videos). A tiny decoder is many times faster.',
          examples: ['vae', './taesd'],
        },
        steps: { type: 'integer', minimum: 1, maximum: 1000, description: 'Sampling steps. Default 20; 4 for FLUX.1-schnell, 8 for Z-Image-Turbo.' },
        seed: { type: 'integer', minimum: 0, maximum: 4294967295, default: 0, description: 'Seed of the starting noise, as for a CPU generator of torch.' },
        guidance: { type: 'number', minimum: 0, maximum: 100, description: 'Classifier-free guidance; 1 (0 for Z-Image) runs the conditional half alone and is twice as fast. FLUX.1-dev takes it as an input instead. The default depends on the model: DiT 4, PixArt 4.5, FLUX.1-dev 3.5, Z-Image 5 (Turbo 0), Wan 5, CogVideoX 6.' },
        mode: {
          type: 'string', enum: ['forced', 'free'], default: 'forced',
          enumDescriptions: ['The quantized model runs at stored points of the reference trajectory: cheap, and no divergence hides what quantization does.', 'The quantized model samples on its own from the same noise, as it will be used.'],
          description: 'What is compared with full precision.',
        },
        compareSteps: { type: 'integer', minimum: 1, maximum: 1000, default: 4, description: 'How many steps of the trajectory are compared, evenly spread, the last included. In forced mode only these are run.' },
      },
    },
  },
};
