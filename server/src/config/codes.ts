import type { Problem } from '../protocol';

/** Every finding about a config and its plan, with its meaning and what to do. Codes are stable; docs/problems.md is written from this table. */
export const configCodes = {
  'config/empty': { meaning: 'The file holds no values.', remedy: 'Start with `version: 1` and `checkpoint: <path>`, or run "QuantScope: New Quantization Config".' },
  'config/too-large': {
    meaning: 'The file is larger than any config needs to be, or unfolds to too many values or patterns.',
    remedy: 'Use patterns such as `transformer_blocks.*.ff.**` instead of listing layers; write out aliases that repeat aliases.',
  },
  'config/too-deep': { meaning: 'Values are nested deeper than any config.', remedy: 'Remove the surplus brackets, dashes or indentation.' },
  'config/yaml': { meaning: 'The text is not valid YAML.', remedy: 'Look at the marked place: usually a missing bracket, quote or space behind a colon.' },
  'config/tab': { meaning: 'A tab stands in the indentation, which YAML forbids.', remedy: 'Indent with spaces.' },
  'config/alias': { meaning: 'An alias refers to itself.', remedy: 'Write the values out.' },
  'config/duplicate-key': { meaning: 'The same key stands twice in one mapping. The first counts.', remedy: 'Keep one of the two.' },
  'config/unquoted-pattern': { meaning: 'A pattern starts with `*` or `!`, which YAML reads as an alias or a tag.', remedy: 'Put it in quotes; the quick fix does.' },
  'config/unknown-key': { meaning: 'The language has no such key here.', remedy: 'Take one of the keys that the message lists.' },
  'config/unknown-value': { meaning: 'The value is not one of those allowed.', remedy: 'Take one of the values that the message lists.' },
  'config/missing-key': { meaning: 'A required key is missing.', remedy: 'Add it.' },
  'config/type': { meaning: 'The value is of another type than the key needs.', remedy: 'Write it as the message says; text that looks like a number needs quotes.' },
  'config/value': { meaning: 'The value is outside of what the key allows.', remedy: 'Change it as the message says.' },
  'config/keep-and-quantize': { meaning: '`keep` says not to quantize, and `scheme` or `method` beside it the opposite.', remedy: 'Remove one of the two.' },
  'config/unsaved': { meaning: 'A relative checkpoint path starts from the folder of the config, and this config has none yet.', remedy: 'Save the config, or write an absolute path.' },
  'plan/refused': { meaning: 'Method, scheme and overrides make no quantizer that fits the layers.', remedy: 'Change what the message names. Until then the layers stay unquantized.' },
  'plan/pattern-matches-nothing': {
    meaning: 'A pattern matches no layer of the checkpoint.',
    remedy: 'Both ends of a pattern are anchored, and `*` stays within one dotted segment: often `**.` in front is missing. The quick fix offers what was probably meant.',
  },
  'plan/never-quantized': {
    meaning: 'A pattern names norms, biases, tables or other tensors that are no linear weights. They always stay as they are stored.',
    remedy: 'Remove the pattern. Tools that do quantize such tensors lose much by it: 105 norms in 4 bits cost one model 12 dB and saved 0.77 MiB.',
  },
  'plan/shadowed-rule': { meaning: 'Later rules decide every layer that this rule matches, so it has no effect.', remedy: 'Move it down, narrow the later rules, or remove it.' },
  'plan/uncovered': { meaning: 'Neither a rule nor `defaults` says anything about some layers; they stay as they are.', remedy: 'Add `defaults`, or a rule.' },
  'plan/fragile-low-bits': {
    meaning: 'Modulation, embedder or final layers get fewer bits than the method\'s own policy gives them: less than 8-bit activations, or weights in 4 bits or less (modulation: less than 4, or without a scale per group of 128 inputs or less).',
    remedy: 'Add the rule that the quick fix offers. Modulation scales and shifts whole blocks at every step (all the grain of Qwen-Image in 4 bits came from it), embedders and final layers are the way in and out ' +
      '(keeping `proj_out` alone took the LPIPS of LongCat in FP8 from 0.077 to 0.019); together they are few bytes.',
  },
  'plan/copies-differ': {
    meaning: 'The checkpoint stores one layer several times (DiT has a copy of its time step embedder in every block), and the copies get different recipes.',
    remedy: 'Let one rule take all copies: runtimes compute the embedder once, from any of them.',
  },
  'plan/preview-cannot-run': {
    meaning: 'A preview would refuse these settings: a size that patches and the VAE do not divide, a number of frames that the VAE does not make, a class, prompt or decoder that is not there, or a folder that is no pipeline.',
    remedy: 'Take a value that the quick fix offers. Nothing else than previews, captures and calibration depends on them.',
  },
  'plan/lora-matches-nothing': {
    meaning: 'An adapter changes layers that the checkpoint does not have, or holds nothing that is known as an adapter.',
    remedy: 'Check that it was trained for this model and in these names: diffusers and PEFT (`transformer.….lora_A.weight`) or Kohya (`lora_unet_….lora_down.weight`) with the layer names of the checkpoint.',
  },
  'plan/lora-below-step': {
    meaning: 'What an adapter changes in a layer is less than half a step of its quantizer. Fused into quantized weights it is rounded away; fused before quantizing it drowns in the rounding error.',
    remedy: 'Run the adapter beside the quantized weights, give its layers more bits, or keep them; the quick fixes add the rule.',
  },
  'plan/over-budget': { meaning: 'The plan is larger than the budget, side data included.', remedy: 'Use fewer bits for large layers, keep fewer of them, or raise the budget.' },
} as const;

export type ConfigCode = keyof typeof configCodes;

/** A Problem whose code is in the table. */
export interface ConfigProblem extends Problem { code: ConfigCode }
