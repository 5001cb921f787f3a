/** `quantscope lint` on files of other tools, run as a user runs it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { temporaryFolders } from '../fixtures/folder';
import { safetensors } from '../fixtures/safetensors';

const program = resolve(__dirname, '../../bin/quantscope.js');

function lint(cwd: string, ...args: string[]): { code: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, 'lint', ...args], { cwd, encoding: 'utf8' });
  return { code: status, out: stdout, err: stderr };
}

describe('lint of other tools\' files', function () {
  this.timeout(120_000);
  const folder = temporaryFolders();
  const weights = safetensors(Object.fromEntries(['blocks.0.proj_out', 'blocks.1.proj_out', 'proj_out', 'norm_out.linear'].map((name) => [`${name}.weight`, { dtype: 'BF16', shape: [8, 4] }])));
  const config = (entries: string[], type: unknown = { default: { _type: 'Int8WeightOnlyConfig', _version: 1, _data: {} } }): string =>
    JSON.stringify({ quantization_config: { quant_method: 'torchao', quant_type: type, modules_to_not_convert: entries } }, null, 2);

  it('prints entries, problems and what is left, on the component\'s own weights', () => {
    const place = folder({ 'config.json': config(['proj_out', 'ff']), 'diffusion_pytorch_model.safetensors': weights });
    const { code, out, err } = lint(place, 'config.json', '--json');
    const found = JSON.parse(out) as { dialect: string; checkpoint: string; entries: { text: string; matchedLayers: number; matchedParamsPercent: number; range: object }[]; uncovered: { layers: number; names: string[] };
      problems: { code: string }[]; layers: { name: string; kind: string; weightBits: number; entry: string | null }[] };
    assert.equal(code, 0, err);
    assert.deepEqual([found.dialect, found.entries.map(({ text, matchedLayers, matchedParamsPercent }) => [text, matchedLayers, matchedParamsPercent])], ['diffusers-torchao', [['proj_out', 3, 75], ['ff', 0, 0]]]);
    assert.deepEqual(found.entries[0]?.range, { start: { line: 11, character: 6 }, end: { line: 11, character: 16 } });
    assert.deepEqual([found.uncovered.layers, found.uncovered.names], [1, ['norm_out.linear']]);
    assert.deepEqual(found.layers.map(({ name, kind, entry }) => [name, kind, entry]), [['blocks.0.proj_out', 'keep', 'proj_out'], ['blocks.1.proj_out', 'keep', 'proj_out'], ['norm_out.linear', 'quantize', null], ['proj_out', 'keep', 'proj_out']]);
    assert.deepEqual(found.problems.map((problem) => problem.code), ['torchao/not-quantized', 'dialect/takes-more', 'dialect/matches-nothing']);
    assert.match(err, /config\.json:12:7: warning dialect\/takes-more: /);
  });

  it('prints every config of a Python file with its line, and imports the one that is named', () => {
    const script = 'from diffusers import BitsAndBytesConfig as B, TorchAoConfig, FluxTransformer2DModel as M\nfrom torchao.quantization import Int8WeightOnlyConfig\nq = B(load_in_8bit=True, llm_int8_skip_modules=["proj_out"])\n' +
      'a = TorchAoConfig(Int8WeightOnlyConfig(), ["norm_out"])\nm = M.from_pretrained("flux", quantization_config=q)\n';
    const place = folder({ 'run.py': script, 'flux/config.json': '{}', 'flux/diffusion_pytorch_model.safetensors': weights, 'plain.py': 'print(1)\n' });
    const { code, out, err } = lint(place, 'run.py');
    assert.equal(code, 0, err);
    assert.match(out, /^line 3: bitsandbytes in diffusers[^]*proj_out +kept +3 +75\.00[^]*line 4: torchao in diffusers[^]*norm_out +kept +1 +25\.00/);
    const { dialect, configs } = JSON.parse(lint(place, 'run.py', '--json').out) as { dialect: string; configs: { line: number; dialect: string; uncovered: { layers: number } }[] };
    assert.deepEqual([dialect, configs.map(({ line, dialect: id, uncovered }) => [line, id, uncovered.layers])], ['python', [[3, 'diffusers-bitsandbytes', 1], [4, 'diffusers-torchao', 3]]]);
    assert.deepEqual([lint(place, 'plain.py').code, lint(place, 'plain.py', '--skip-unknown').code], [2, 0]);
    assert.match(lint(place, 'plain.py').err, /plain\.py: it makes no quantization config that is known here\./);
    const imported = (...more: string[]): [code: number | null, text: string] => { const { status, stdout, stderr } = spawnSync(process.execPath, [program, 'import', 'run.py', ...more], { cwd: place, encoding: 'utf8' }); return [status, stdout + stderr]; };
    assert.match(imported().join(), /^2,.*run\.py: holds several configs: line 3 \(bitsandbytes in diffusers\), line 4 \(torchao in diffusers\)\. Name a line with --line\./s);
    assert.match(imported('--line', '4').join(), /^0,# Imported from run\.py \(torchao in diffusers\)\.[^]*norm_out/);
    assert.match(imported('--line', '0').join(), /^2,.*--line is a number from 1 on, not "0"/s);
  });

  it('ends with 1 at an error, and prints SARIF', () => {
    const place = folder({ 'config.json': config([], 'int8wo') });
    const { code, out, err } = lint(place, 'config.json', '--sarif');
    const { version, runs: [run] } = JSON.parse(out) as { version: string; runs: { results: { ruleId: string; locations: { physicalLocation: { artifactLocation: { uri: string } } }[] }[] }[] };
    assert.deepEqual([code, version, run?.results.map(({ ruleId }) => ruleId), run?.results[0]?.locations[0]?.physicalLocation.artifactLocation.uri], [1, '2.1.0', ['dialect/checkpoint', 'torchao/string-type'], 'config.json'], err);
  });

  it('reads ComfyUI\'s metadata from the header or from tensors', () => {
    const note = (value: unknown): { dtype: 'U8'; shape: number[]; data: Uint8Array } => { const data = Buffer.from(JSON.stringify(value)); return { dtype: 'U8', shape: [data.length], data }; };
    const weight = { dtype: 'F8_E4M3' as const, shape: [8, 4] };
    const place = folder({
      'header.safetensors': safetensors({ 'a.weight': weight }, { _quantization_metadata: '{"format_version": "1.0", "layers": {"model.diffusion_model.a": {"format": "float8_e4m3fn"}}}' }),
      'tensors.safetensors': safetensors({ 'a.weight': weight, 'a.comfy_quant': note({ format: 'float8_e4m3fn' }) }),
    });
    const [header, tensors] = ['header', 'tensors'].map((name) => lint(place, `${name}.safetensors`, '--json'));
    const codes = ({ out }: { out: string } = { out: '' }): unknown => (JSON.parse(out) as { dialect: string; problems: { code: string }[] }).problems.map(({ code }) => code);
    assert.deepEqual([header?.code, codes(header), tensors?.code, codes(tensors)], [1, ['comfy/prefix'], 0, []], `${header?.err}${tensors?.err}`);
  });

  it('reads the older form of nunchaku by either of its files', () => {
    const blocks = safetensors({ 'a.qweight': { dtype: 'I8', shape: [64, 64] }, 'a.wscales': { dtype: 'BF16', shape: [2, 64] }, 'a.lora_down': { dtype: 'BF16', shape: [128, 16] } });
    const place = folder({ 'transformer_blocks.safetensors': blocks, 'unquantized_layers.safetensors': weights, 'alone/transformer_blocks.safetensors': blocks });
    for (const name of ['transformer_blocks', 'unquantized_layers']) {
      const { code, out, err } = lint(place, `${name}.safetensors`, '--json');
      const found = JSON.parse(out) as { dialect: string; uncovered: { treatment: { label: string } }; problems: { code: string }[] };
      assert.deepEqual([code, found.dialect, found.uncovered.treatment.label, found.problems.map((problem) => problem.code)], [0, 'nunchaku', 'SVDQuant int4, rank 16', ['svdq/older-folder', 'svdq/gpu']], err);
    }
    assert.match(lint(place, 'alone/transformer_blocks.safetensors').err, /holds no quantization metadata/);
  });

  it('says what lies beside a file', () => {
    const place = folder({ 'transformer/config.json': config([]), 'transformer/diffusion_pytorch_model.bin': 'x', 'original/model.safetensors': weights });
    const { code, err } = lint(place, 'transformer/config.json', '--checkpoint', 'original');
    assert.equal(code, 0, err);
    assert.match(err, /config\.json:\d+:\d+: warning torchao\/pickle: "diffusion_pytorch_model\.bin" is a Python pickle/);
  });

  it('says why a file is nothing it reads', () => {
    const place = folder({ 'notes.txt': 'hello' });
    const { code, err } = lint(place, 'notes.txt');
    assert.equal(code, 2);
    assert.match(err, /notes\.txt: no tool known here reads a file like this\./);
  });
});
