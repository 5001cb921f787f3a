/** What goes wrong between a config in Python and what it is handed to: every trap with a text that falls into it, and one that does not. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { URI } from 'vscode-uri';
import { CheckpointStore } from '../../../../server/src/checkpoint';
import { dialectCodes } from '../../../../server/src/config/dialects/codes';
import { chosenOf, loadDialects } from '../../../../server/src/config/dialects/load';
import { temporaryFolders } from '../../../fixtures/folder';
import { safetensors } from '../../../fixtures/safetensors';

const weights = safetensors({ 'proj_out.weight': { dtype: 'BF16', shape: [8, 4] }, 'blocks.0.to_q.weight': { dtype: 'BF16', shape: [8, 4] } });
const quantized = JSON.stringify({ quantization_config: { quant_method: 'bitsandbytes', load_in_8bit: true } });
const model = { 'flux/model_index.json': JSON.stringify({ _class_name: 'FluxPipeline', transformer: ['diffusers', 'X'], text_encoder: ['transformers', 'Y'], requires_safety: false }), 'flux/transformer/config.json': '{}', 'flux/transformer/model.safetensors': weights };
const packed = { ...model, 'flux/transformer/config.json': quantized };
const rounded = { ...model, 'flux/transformer/config.json': JSON.stringify({ quantization_config: { quant_method: 'auto-round', bits: 4 } }) };
const head = 'import torch\nfrom diffusers import FluxPipeline, FluxTransformer2DModel, BitsAndBytesConfig, TorchAoConfig, QuantoConfig\nfrom diffusers.quantizers import PipelineQuantizationConfig\n' +
  'from transformers import BitsAndBytesConfig as Theirs, T5EncoderModel\nfrom torchao.quantization import Float8WeightOnlyConfig, PerBlock\n';
const eight = 'BitsAndBytesConfig(load_in_8bit=True)';
const load = (more: string, config = eight): string => `FluxTransformer2DModel.from_pretrained("flux", subfolder="transformer", quantization_config=${config}${more})`;
const pipe = (config: string): string => `FluxPipeline.from_pretrained("flux", quantization_config=${config})`;
const short = (more: string, backend = 'bitsandbytes_8bit'): string => `PipelineQuantizationConfig(quant_backend="${backend}"${more})`;
const kwargs = ', quant_kwargs={"load_in_8bit": True}';

type Trap = [code: string, bad: string, marked: string, good: string, badFiles?: Record<string, string | Uint8Array>, goodFiles?: Record<string, string | Uint8Array>];

const traps: Trap[] = [
  ['python/ignored', load(''), `quantization_config=${eight}`, load(''), packed, model],
  ['python/ignored', `q = ${eight}\nFluxTransformer2DModel.from_pretrained("flux/transformer", quantization_config=q)`, 'quantization_config=q', load(''), packed, rounded],
  ['python/ignored', pipe(short(kwargs)), `quantization_config=${short(kwargs)}`, pipe(`PipelineQuantizationConfig(quant_mapping={"text_encoder": Theirs(load_in_8bit=True)})`), packed, packed],
  ['python/pipeline-wants', pipe(eight), `quantization_config=${eight}`, pipe(short(kwargs))],
  ['python/model-wants', load('', short(kwargs)), `quantization_config=${short(kwargs)}`, load('')],
  ['pipeline/both', short(`${kwargs}, quant_mapping={"transformer": ${eight}}`), 'quant_mapping', short(kwargs)],
  ['pipeline/neither', 'PipelineQuantizationConfig(components_to_quantize="transformer")', 'PipelineQuantizationConfig', `PipelineQuantizationConfig(quant_mapping={"transformer": ${eight}})`],
  ['pipeline/neither', 'PipelineQuantizationConfig()', 'PipelineQuantizationConfig', 'PipelineQuantizationConfig(**options)'],
  ['pipeline/kwargs', short(', quant_kwargs={}'), '{}', short(kwargs)], ['pipeline/kwargs', short(''), 'PipelineQuantizationConfig', short(', quant_kwargs=options')],
  ['pipeline/signatures', short(', quant_kwargs={"weights_dtype": "int8"}', 'quanto'), '"quanto"', short(kwargs)],
  ['pipeline/backend', short(kwargs, 'bitsandbytes'), '"bitsandbytes"', short(kwargs, 'bitsandbytes_4bit')], ['pipeline/backend', short(kwargs, 'gguf'), '"gguf"', short(', quant_kwargs={"bits": 4}', 'auto-round')],
  ['pipeline/component', `PipelineQuantizationConfig(quant_mapping={"tarnsformer": ${eight}})`, '"tarnsformer"', `PipelineQuantizationConfig(quant_mapping={"transformer": ${eight}})`],
  ['pipeline/component', pipe(short(`${kwargs}, components_to_quantize=["transformer", "vae"]`)), '"vae"', pipe(short(`${kwargs}, components_to_quantize=["transformer", "text_encoder"]`))],
  ['pipeline/component', pipe(short(`${kwargs}, components_to_quantize="requires_safety"`)), '"requires_safety"', pipe(short(`${kwargs}, components_to_quantize="transformer"`))],
  ['pipeline/library', `PipelineQuantizationConfig(quant_mapping={"text_encoder": ${eight}})`, eight, 'PipelineQuantizationConfig(quant_mapping={"text_encoder": Theirs(load_in_8bit=True)})'],
  ['pipeline/library', 'q = Theirs(load_in_8bit=True)\nPipelineQuantizationConfig(quant_mapping={"transformer": q})', 'Theirs(load_in_8bit=True)', `PipelineQuantizationConfig(quant_mapping={"transformer": ${eight}})`],
  ['python/no-gpu', load(', device_map="cpu"'), '"cpu"', load(', device_map="cuda"')],
  ['python/offload', load(', device_map={"blocks": 0, "proj_out": "cpu"}'), '"cpu"', load(', device_map={"proj_out": "cpu"}', 'BitsAndBytesConfig(load_in_8bit=True, llm_int8_enable_fp32_cpu_offload=True)')],
  ['python/offload', load(', device_map={"proj_out": "disk"}'), '"disk"', load(', device_map={"proj_out": "disk"}', 'BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=["proj_out"])')],
  ['python/tuple', 'TorchAoConfig(Float8WeightOnlyConfig(granularity=PerBlock((1, 128))))', '(1, 128)', 'TorchAoConfig(Float8WeightOnlyConfig(granularity=PerBlock([1, 128])))'],
];

describe('traps of Python', () => {
  const folder = temporaryFolders();

  async function lint(text: string, files: Record<string, string | Uint8Array>): Promise<{ document: TextDocument; loaded: Awaited<ReturnType<typeof loadDialects>> }> {
    const path = join(folder(files), 'scripts/run.py');
    const document = TextDocument.create(URI.file(path).toString(), 'python', 1, head + text);
    return { document, loaded: await loadDialects(document, path, new CheckpointStore()) };
  }
  async function marked(code: string, text: string, files: Record<string, string | Uint8Array>): Promise<string[]> {
    const { document, loaded } = await lint(text, files);
    assert.ok(loaded.length > 0, text);
    return loaded.flatMap(({ problems }) => problems).filter((problem) => problem.code === code).map(({ range }) => document.getText(range));
  }

  for (const [code, bad, at, good, badFiles = model, goodFiles = model] of traps) {
    it(`${code}: ${bad}`, async () => {
      assert.deepEqual(await marked(code, bad, badFiles), [at]);
      assert.deepEqual(await marked(code, good, goodFiles), []);
    });
  }

  it('every code of Python has one', () => {
    assert.deepEqual(Object.keys(dialectCodes).filter((code) => /^(?:python|pipeline)\//.test(code) && !traps.some(([trap]) => trap === code)), []);
  });

  it('layers are counted on the model that the file loads, not for text encoders, and the file is found from folders above', async () => {
    const { loaded } = await lint(`q = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=["proj_out"])\nother = TorchAoConfig(Float8WeightOnlyConfig(), ["to_q"])\n${load('', 'q')}\nT5EncoderModel.from_pretrained("flux", subfolder="text_encoder", quantization_config=${eight})`, { ...model, 'scripts/x': '' });
    assert.deepEqual(loaded.map(({ dialect, entries, checkpoint }) => [dialect.id, entries.map(({ matchedLayers }) => matchedLayers), checkpoint?.layers.length]), [['diffusers-bitsandbytes', [1], 2], ['diffusers-torchao', [1], 2], ['diffusers-bitsandbytes', [], undefined]]);
    assert.deepEqual(loaded[2]?.problems.map(({ code }) => code), []);
    assert.equal(chosenOf(loaded), 'holds several configs: line 6 (bitsandbytes in diffusers), line 7 (torchao in diffusers)');
    assert.deepEqual([5, 6, 7].map((line) => { const found = chosenOf(loaded, line); return typeof found === 'string' ? 'several' : found.dialect.id; }), ['diffusers-bitsandbytes', 'diffusers-torchao', 'several']);
  });

  it('layers are counted on the model that a call is handed, by whatever name', async () => {
    const quanto = 'from optimum.quanto import quantize, freeze, qint8\nfrom auto_round import AutoRound\n';
    const counted = async (text: string): Promise<(number | undefined)[]> => (await lint(quanto + text, model)).loaded.map(({ checkpoint }) => checkpoint?.layers.length);
    for (const text of ['pipe = FluxPipeline.from_pretrained("flux")\nt = pipe.transformer\nquantize(t, qint8)', 't = FluxTransformer2DModel.from_pretrained("flux", subfolder="transformer")\nquantize(model=t, weights=qint8)', 'AutoRound("flux")', 'NAME = "flux"\npipe = FluxPipeline.from_pretrained(NAME)\nAutoRound(pipe, scheme="W8A16")']) {
      assert.deepEqual(await counted(text), [2], text);
    }
    for (const text of ['pipe = FluxPipeline.from_pretrained("flux")\nquantize(pipe.text_encoder, qint8)', 'text_encoder = load()\nquantize(text_encoder, qint8)', 't = T5EncoderModel.from_pretrained("flux")\nquantize(t, qint8)', 'quantize(made_elsewhere(), qint8)', 't = t.inner\nquantize(t, qint8)', 'a = b\nb = a\nquantize(b, qint8)\nfreeze(a)']) {
      assert.deepEqual(await counted(text), [undefined], text);
    }
  });

  it('functions of the same name from elsewhere are none', async () => {
    for (const text of ['quantize(t, 8)', 'from mine import quantize, AutoRound\nquantize(t, 8)\nAutoRound(t)', 'import torchao.quantization as q\nq.quantize(t)', 'from optimum.intel import quantize\nquantize(t)', 'from auto_round import AutoRoundConfig\nAutoRoundConfig(4)']) {
      assert.deepEqual((await lint(text, model)).loaded, [], text);
    }
    assert.deepEqual((await lint('from optimum import quanto\nquanto.quantize(t, weights=quanto.qint4)', model)).loaded.map(({ parsed }) => parsed.otherwise.label), ['qint4 weights']);
  });

  it('quick fixes are Python', async () => {
    const { document, loaded } = await lint('TorchAoConfig(Float8WeightOnlyConfig(granularity=PerBlock((1, 128,))), modules_to_not_convert=["proj_ot"])\nQuantoConfig(weights_dtyp="int8")\nFluxTransformer2DModel.from_pretrained("flux", subfolder="transformer", quantization_config=x)', model);
    const fixes = loaded.flatMap(({ problems }) => problems).flatMap(({ data }) => data?.fixes ?? []).flatMap(({ edits }) => edits.map(({ range, text }) => [document.getText(range), text]));
    assert.deepEqual(fixes, [['(1, 128,)', '[1, 128]'], ['"proj_ot"', '"proj_out"'], ['weights_dtyp', 'weights_dtype']]);
  });

  it('folders that cannot be read, broken and huge JSON say nothing', async () => {
    for (const files of [{}, { ...model, 'flux/model_index.json': '{' }, { ...model, 'flux/model_index.json': '[]' }, { ...model, 'flux/model_index.json': `{"x": "${' '.repeat(5 << 20)}"}` }]) {
      assert.deepEqual(await marked('pipeline/component', pipe(short(`${kwargs}, components_to_quantize=["vae"]`)), files), []);
    }
  });
});
