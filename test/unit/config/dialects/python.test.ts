/** Configs in Python are what the same config in a file is: same entries, same findings at their places in the source. */
import assert from 'node:assert/strict';
import { couldBePython, readDialects } from '../../../../server/src/config/dialects';
import { evaluate } from '../../../../server/src/config/dialects/evaluate';
import { parseOf } from '../../../../server/src/config/dialects/load';
import { publishedCheckpoint } from '../../../fixtures/checkpoints';
import { codes, documentOf, evaluated } from './support';

const flux = publishedCheckpoint('FLUX.1-dev');
const imports = 'import torch\nfrom diffusers import *\nfrom sdnq import SDNQConfig\nfrom torchao.quantization import Int4WeightOnlyConfig, Int8WeightOnlyConfig, IntxWeightOnlyConfig, PerGroup, MappingType, FqnToConfig\n' +
  'from llmcompressor.modifiers.quantization import QuantizationModifier\nimport modelopt.torch.quantization as mtq\n';

interface Read { id: string; line: number; entries: [text: string, layers: number, source: string][]; problems: string[]; otherwise: string; open: boolean }

function read(text: string): Read[] {
  const document = documentOf(text, 'run.py');
  return readDialects('run.py', document).map(({ dialect, file }) => {
    const parsed = parseOf(dialect, file);
    const { entries, problems } = evaluate(parsed, flux);
    const written = entries.filter(({ builtin }) => builtin === null);
    return {
      id: dialect.id, line: file.part?.at.start.line ?? -1, otherwise: parsed.otherwise.label, open: file.python?.open ?? false,
      entries: written.map((entry) => [entry.text, entry.matchedLayers, document.getText(entry.range)]), problems: codes(text, [...parsed.problems, ...problems, ...parsed.trapsBeside?.({ files: [], packages: new Map() }) ?? []]),
    };
  });
}

describe('quantization configs in Python', () => {
  /** The call, and the same as a file. */
  const same: [call: string, id: string, json: string, name?: string][] = [
    ['BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf5", bnb_4bit_compute_dtype=torch.bfloat16, llm_int8_skip_modules=["proj_out", "norm_ot"])', 'diffusers-bitsandbytes',
      '{"load_in_4bit": true, "bnb_4bit_quant_type": "nf5", "bnb_4bit_compute_dtype": "bfloat16", "llm_int8_skip_modules": ["proj_out", "norm_ot"]}'],
    ['BitsAndBytesConfig(True, False, 6)', 'diffusers-bitsandbytes', '{"load_in_8bit": true, "load_in_4bit": false, "llm_int8_threshold": 6}'],
    ['TorchAoConfig(Int4WeightOnlyConfig(100), ["transformer_blocks.1"])', 'diffusers-torchao', '{"quant_method": "torchao", "quant_type": {"default": {"_type": "Int4WeightOnlyConfig", "_data": {"group_size": 100}}}, "modules_to_not_convert": ["transformer_blocks.1"]}'],
    ['TorchAoConfig(IntxWeightOnlyConfig(dtype=torch.uint4, granularity=PerGroup(32), mapping_type=MappingType.ASYMMETRIC))', 'diffusers-torchao',
      '{"quant_method": "torchao", "quant_type": {"default": {"_type": "IntxWeightOnlyConfig", "_data": {"dtype": {"_type": "torch.dtype", "_data": "uint4"}, "granularity": {"_type": "PerGroup", "_data": {"group_size": 32}}, "mapping_type": {"_type": "MappingType", "_data": "ASYMMETRIC"}}}}}'],
    ['TorchAoConfig("int8wo")', 'diffusers-torchao', '{"quant_method": "torchao", "quant_type": "int8wo"}'],
    ['QuantoConfig(weights_dtype="int8", modules_to_not_convert=["proj_out", "ff.net"])', 'diffusers-quanto', '{"quant_method": "quanto", "weights_dtype": "int8", "modules_to_not_convert": ["proj_out", "ff.net"]}'],
    ['NVIDIAModelOptConfig("FP9", modules_to_not_convert=["norm"])', 'diffusers-modelopt', '{"quant_method": "modelopt", "quant_type": "FP9", "modules_to_not_convert": ["norm"]}'],
    ['SDNQConfig(weights_dtype="uint4", group_size=32, modules_dtype_dict={"int8": ["x_embedder"]})', 'diffusers-sdnq', '{"quant_method": "sdnq", "weights_dtype": "uint4", "group_size": 32, "modules_dtype_dict": {"int8": ["x_embedder"]}}'],
    ['FqnToConfig({"re:.*ff.*": Int8WeightOnlyConfig(), "proj_out": None})', 'torchao-fqn', '{"_type": "FqnToConfig", "_data": {"fqn_to_config": {"re:.*ff.*": {"_type": "Int8WeightOnlyConfig", "_data": {}}, "proj_out": null}}}', 'fqn.json'],
    ['QuantizationModifier(targets=["Linear"], scheme="W4A16", ignore=["re:.*norm.*", "proj"])', 'llm-compressor', 'QuantizationModifier: {targets: [Linear], scheme: W4A16, ignore: ["re:.*norm.*", proj]}', 'recipe.yaml'],
    ['mtq.quantize(model, {"quant_cfg": [{"quantizer_name": "*", "enable": False}, {"quantizer_name": "*ff*weight_quantizer", "cfg": {"num_bits": (2, 1), "block_sizes": {-1: 16}}}], "algorithm": "max"}, loop)', 'modelopt',
      '{"quant_cfg": [{"quantizer_name": "*", "enable": false}, {"quantizer_name": "*ff*weight_quantizer", "cfg": {"num_bits": [2, 1], "block_sizes": {"-1": 16}}}], "algorithm": "max"}', 'recipe.json'],
  ];
  for (const [call, id, json, name] of same) {
    it(call, () => {
      const found = read(`${imports}q = ${call}\n`);
      const { entries, all } = evaluated(id, json, flux, name);
      const bare = (problems: readonly string[]): string[] => problems.map((each) => each.replace(/ \[.*/s, '')).sort();
      assert.deepEqual(found.map((each) => [each.id, each.line]), [[id, imports.split('\n').length - 1]]);
      assert.deepEqual(found[0]?.entries.map(([text, layers]) => [text, layers]), entries.filter(({ builtin }) => builtin === null).map(({ text, matchedLayers }) => [text, matchedLayers]));
      assert.deepEqual(bare(found[0]?.problems ?? []), bare(codes(json, all)));
    });
  }

  it('names, sums, spreads and copies lead to the literals, whose places count', () => {
    const text = `from diffusers import BitsAndBytesConfig as B\nLATE = ["proj_out"]\ncommon = dict(load_in_4bit=True, bnb_4bit_quant_type='nf4')\ndef make():\n    skip = list(LATE) + ['norm_out', *("x_" "embedder",)]\n    return B(**common, bnb_4bit_compute_dtype="bfloat16", llm_int8_skip_modules=skip)\n`;
    assert.deepEqual(read(text), [{
      id: 'diffusers-bitsandbytes', line: 5, otherwise: 'nf4', open: false, problems: [`warning dialect/takes-more ["proj_out"]`],
      entries: [['proj_out', 39, '"proj_out"'], ['norm_out', 1, '\'norm_out\''], ['x_embedder', 1, '"x_" "embedder"']],
    }]);
  });

  it('what only a run knows is not found missing', () => {
    const open = (argument: string): Read | undefined => read(`from diffusers import BitsAndBytesConfig\nq = BitsAndBytesConfig(${argument}, llm_int8_skip_modules=["norm_out", f"x_{name}"])`)[0];
    for (const argument of ['load_in_4bit=args.four', 'load_in_4bit=is_small(model)', 'load_in_4bit=self.four(1)[0]', '**options', 'load_in_4bit=four if x else True', '*both']) {
      const found = open(argument);
      assert.deepEqual([found?.open, found?.entries, found?.problems], [true, [['norm_out', 1, '"norm_out"']], []], argument);
    }
    for (const change of ['SKIP.append("x_embedder")', 'SKIP[0] = name', 'SKIP.extend(more)', 'for name in names:\n    SKIP.append(name)']) {
      const [found] = read(`from diffusers import BitsAndBytesConfig\nSKIP = ["norm_out"]\n${change}\nq = BitsAndBytesConfig(llm_int8_skip_modules=SKIP)`);
      assert.deepEqual([found?.open, found?.entries, found?.problems], [true, [['norm_out', 1, '"norm_out"']], []], change);
    }
    assert.deepEqual(read('from diffusers import BitsAndBytesConfig\nq = BitsAndBytesConfig()')[0]?.problems, ['error bitsandbytes/no-width [BitsAndBytesConfig]']);
  });

  it('classes of other packages, text encoders and files without a config are none', () => {
    for (const text of ['from transformers import BitsAndBytesConfig\nBitsAndBytesConfig(load_in_4bit=True)', 'BitsAndBytesConfig(load_in_4bit=True)', 'from mine import TorchAoConfig\nTorchAoConfig("int8wo")', 'import mtq\nmtq.quantize(m, {"quant_cfg": []})',
      'import modelopt.torch.quantization as mtq\nmtq.quantize(model, mtq.FP8_DEFAULT_CFG, loop)', '# from diffusers import BitsAndBytesConfig\n"BitsAndBytesConfig()"']) {
      assert.deepEqual(read(text), [], text);
    }
    assert.deepEqual(['import torch\n', 'class BitsAndBytesConfigs: pass', 'x = BitsAndBytesConfig()'].map(couldBePython), [false, false, true]);
  });

  it('the short form of a pipeline is a config of its backend, too', () => {
    const found = read('from diffusers import PipelineQuantizationConfig\nPipelineQuantizationConfig(quant_backend="bitsandbytes_4bit", quant_kwargs={"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": "bfloat16", "llm_int8_skip_modules": ["norm_out"]})');
    assert.deepEqual(found.map(({ id, entries, problems }) => [id, entries.length, problems]), [['diffusers-pipeline', 0, []], ['diffusers-bitsandbytes', 1, []]]);
  });
});
