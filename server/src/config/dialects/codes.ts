/** Every finding about files of other tools, with its meaning and what to do. Codes are stable; docs/problems.md is written from this table. */
export const dialectCodes = {
  'dialect/json': { meaning: 'The text is not valid JSON, or too large. What follows the marked place is not read.', remedy: 'Look at the marked place: usually a missing comma, quote or bracket.' },
  'dialect/duplicate-key': { meaning: 'The same key stands twice in one JSON object. Python keeps the last without a word.', remedy: 'Keep one of the two.' },
  'dialect/type': { meaning: 'A value is of another type than the tool takes.', remedy: 'Write it as the message says.' },
  'dialect/value': { meaning: 'The tool refuses this value.', remedy: 'Take one that the message lists.' },
  'dialect/missing-key': { meaning: 'The tool needs a key that is missing.', remedy: 'Add it.' },
  'dialect/unknown-key': { meaning: 'The tool has no such field.', remedy: 'Correct or remove it; the message says what the tool does about it.' },
  'dialect/unknown-method': { meaning: 'No loader knows this `quant_method`.', remedy: 'Take one of those that the message lists.' },
  'dialect/pattern': { meaning: 'The tool cannot read this pattern.', remedy: 'Correct it at the place that the message names.' },
  'dialect/pattern-not-read': { meaning: 'The tool reads this pattern, QuantScope does not, so its layers are not counted.', remedy: 'Write it without what the message names to see what it takes.' },
  'dialect/matches-nothing': {
    meaning: 'An entry takes no layer of the checkpoint. Most tools pass over it without a word.',
    remedy: 'The message says how the tool compares names, and what was probably meant.',
  },
  'dialect/takes-more': {
    meaning: 'An entry names a module, and the tool\'s rule takes layers outside of that module too, such as every `single_transformer_blocks.*.proj_out` for `proj_out`.',
    remedy: 'Write a longer path where the tool allows it, or accept it knowingly.',
  },
  'dialect/unanchored-index': {
    meaning: 'An entry ends in a block number, and the tool\'s rule takes other blocks too: `transformer_blocks.1` also `single_transformer_blocks.1`, and with some tools 10 to 19.',
    remedy: 'Write what stands before and behind the number, as far as the tool\'s rule allows.',
  },
  'dialect/shadowed': { meaning: 'Other entries decide every layer that this one takes.', remedy: 'Remove it, narrow the others, or move it: the message names the entry that decides.' },
  'dialect/repeated': { meaning: 'The same entry stands twice.', remedy: 'Remove one.' },
  'dialect/no-checkpoint': { meaning: 'No checkpoint was found, so nothing says what the entries take.', remedy: 'Name one: `--checkpoint folder`, best the unquantized original.' },
  'dialect/checkpoint': { meaning: 'The checkpoint cannot be opened.', remedy: 'The message says why; name another with `--checkpoint`.' },
  'dialect/packed-checkpoint': { meaning: 'Weights of the checkpoint are packed already, so the layer list is incomplete.', remedy: 'Name the unquantized original: `--checkpoint folder`.' },

  'bitsandbytes/both-widths': { meaning: '`load_in_4bit` and `load_in_8bit` are both true, which is a ValueError.', remedy: 'Keep one.' },
  'bitsandbytes/no-width': { meaning: 'Neither `load_in_4bit` nor `load_in_8bit` is true: diffusers then knows no quantizer for it.', remedy: 'Set one.' },
  'bitsandbytes/threshold': { meaning: '`llm_int8_threshold` must be a float; 6 is an integer and raises a TypeError.', remedy: 'Write 6.0.' },
  'bitsandbytes/quant-type': { meaning: 'Any text passes as `bnb_4bit_quant_type`, but only `fp4` and `nf4` mean something.', remedy: 'Write `nf4` or `fp4`.' },
  'bitsandbytes/default-fp4': { meaning: 'Without `bnb_4bit_quant_type` weights become FP4, which is usually worse than NF4.', remedy: 'Write `"bnb_4bit_quant_type": "nf4"`, or `"fp4"` if that is meant.' },
  'bitsandbytes/compute-dtype': { meaning: 'Without `bnb_4bit_compute_dtype` everything is computed in float32, slower for bfloat16 inputs.', remedy: 'Write `"bnb_4bit_compute_dtype": "bfloat16"`.' },
  'bitsandbytes/compute-dtype-key': { meaning: '`compute_dtype` is no field of bitsandbytes; it is passed over with a warning, and float32 stays.', remedy: 'Write `bnb_4bit_compute_dtype`.' },
  'bitsandbytes/int8-skip': { meaning: '8-bit weights beside a skip list are a known failure of some versions (`\'Parameter\' object has no attribute \'SCB\'`, or the list is not honoured).', remedy: 'Check the loaded model\'s layer types; see bitsandbytes issue 1634.' },

  'torchao/string-type': { meaning: '`quant_type` is a text such as "int8wo". Current diffusers wants a config object; texts are a TypeError.', remedy: 'Write `{"default": {"_type": "Int8WeightOnlyConfig", "_data": {}}}`.' },
  'torchao/default-key': { meaning: '`quant_type` must hold exactly one key, `default`.', remedy: 'Put the config object under `default`; several configs need FqnToConfig as that one object.' },
  'torchao/grammar': { meaning: 'A torchao object needs `_type` (a bare class name) and `_data`.', remedy: 'Write both.' },
  'torchao/unknown-type': { meaning: 'The class is not one of torchao\'s known configs. It must live in one of the modules that torchao allows.', remedy: 'Check its spelling.' },
  'torchao/intx-dtype': { meaning: '`IntxWeightOnlyConfig` has no field `dtype`: a TypeError on current torchao.', remedy: 'Write `weight_dtype`.' },
  'torchao/safetensors': { meaning: 'The weights beside the file are torchao tensors in safetensors, which torchao before 0.16 cannot read.', remedy: 'Load them with torchao 0.16 or later and a diffusers with pull request 13719.' },

  'quanto/deprecated': { meaning: 'diffusers\' quanto backend is deprecated and goes with version 1.0.0.', remedy: 'Use torchao or bitsandbytes for new models.' },
  'quanto/dotted': { meaning: 'quanto compares the last segment of a name only, so a dotted path or the name of a container never takes a layer; layers inside are quantized.', remedy: 'Write the last segment, such as `to_out` or `2`, and mind what else has that name.' },

  'modelopt/quant-type': { meaning: 'An unknown weight type becomes FP8 with no more than a line in the log.', remedy: 'Write FP8, INT8, INT4, NF4 or NVFP4.' },
  'modelopt/activation-type': { meaning: 'An unknown activation type is dropped: activations stay unquantized, although the log speaks of INT8.', remedy: 'Write FP8, INT8, INT4, NF4 or NVFP4 behind the underscore.' },
  'modelopt/weight-only': { meaning: '`quant_type` names an activation type, but `weight_only` is true, its default: activations stay unquantized.', remedy: 'Write `"weight_only": false`.' },
  'modelopt/list-config': { meaning: 'With ModelOpt 0.44 or later diffusers\' own config raises `TypeError: \'list\' object is not a mapping`.', remedy: 'Pin ModelOpt below 0.44, use a diffusers with pull request 14536, or give `modelopt_config`.' },
  'modelopt/builtin-skips': { meaning: 'ModelOpt\'s own exclusion list keeps layers that the file does not name; `*proj_out.*` is in it.', remedy: 'Count them in: they stay in high precision.' },

  'gguf/not-saved': { meaning: 'A GGUF config is never saved in config.json and not read from there.', remedy: 'Pass `GGUFQuantizationConfig` to `from_single_file`; files with diffusers names need `config=` and `subfolder=` too.' },
  'gguf/compute-dtype': { meaning: 'Without `compute_dtype` everything is computed in float32.', remedy: 'Write `"compute_dtype": "bfloat16"`.' },
  'gguf/skip-list': { meaning: 'diffusers takes no skip list for GGUF.', remedy: 'Choose types when the file is made, with llama-quantize or stable-diffusion.cpp.' },

  'autoround/backend': { meaning: 'AutoRound has no such backend.', remedy: 'Take one that the message lists.' },
  'autoround/spelling': { meaning: 'diffusers spells the method with a hyphen.', remedy: 'Write `auto-round`.' },
  'autoround/exporter-list': { meaning: 'Lists of layers belong to AutoRound\'s exporter; the loader has none.', remedy: 'Export again with the list, or remove it here.' },
  'autoround/group': { meaning: 'The group size does not divide the inputs of some layers.', remedy: 'Take a size that does, or -1 for whole rows.' },

  'nunchaku/section': { meaning: 'Neither `svdq_w4a4` nor `awq_w4a16` is there.', remedy: 'Add one with its targets.' },
  'nunchaku/precision': { meaning: 'SVDQuant takes int4 or nvfp4, AWQ int4 only.', remedy: 'Write one of them.' },
  'nunchaku/group-size': { meaning: 'SVDQuant needs groups of 64 for int4 and of 16 for nvfp4.', remedy: 'Write that size.' },
  'nunchaku/rank': { meaning: 'The rank is no whole number from 0 on.', remedy: 'Write one, such as 32.' },
  'nunchaku/targets': { meaning: 'The list of targets is empty.', remedy: 'Name the layers, each by its full path.' },
  'nunchaku/target-twice': { meaning: 'A layer is a target twice.', remedy: 'Keep one.' },
  'nunchaku/fused': { meaning: 'A target looks like a fused projection; the checkpoint\'s keys must be those of the diffusers model.', remedy: 'Name `to_q`, `to_k` and `to_v`, and convert the checkpoint accordingly.' },
  'nunchaku/gpu': { meaning: 'The precision does not run on every GPU.', remedy: 'Check the capability of the GPU that the model is for.' },
  'nunchaku/width': { meaning: 'The groups do not divide a target\'s inputs.', remedy: 'Leave such layers out.' },

  'sdnq/dtype': { meaning: 'SDNQ has no such dtype.', remedy: 'Write int8, uint4, float8_e4m3fn or another that SDNQ lists.' },
  'sdnq/codebook': { meaning: 'Codebooks go with unsigned integers only.', remedy: 'Write uint4 and its like, or leave `use_codebook` out.' },
  'sdnq/builtin-skips': { meaning: 'SDNQ adds a list of layers to keep for each model class.', remedy: 'Count them in, or write `"add_skip_keys": false`.' },
  'sdnq/hadamard': { meaning: 'The Hadamard group does not divide the inputs of some layers and is halved there until it does.', remedy: 'Nothing, if smaller rotations are fine; 128 fits every block layer of the models that QuantScope runs.' },
} as const;

export type DialectCode = keyof typeof dialectCodes;
