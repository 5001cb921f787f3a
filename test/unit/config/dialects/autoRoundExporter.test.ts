/** AutoRound's exporter in Python. Which layers get how many bits was checked against `resolve_layer_config` of auto-round (2026-08). */
import assert from 'node:assert/strict';
import { presets } from '../../../../server/src/config/dialects/autoRound/schemes';
import { checkpointOf, layersNamed } from '../../../fixtures/checkpoints';
import { describeTraps, evaluated } from './support';

const id = 'auto-round-exporter';
const head = 'from auto_round import AutoRound\nfrom auto_round.schemes import QuantizationScheme\nfrom diffusers import FluxPipeline, FluxTransformer2DModel\npipe = FluxPipeline.from_pretrained("flux")\nmodel = FluxTransformer2DModel.from_pretrained("flux", subfolder="transformer")\n';
const round = (more: string, save = ''): string => `${head}ar = AutoRound(pipe${more})\n${save}\n`;
const saved = (format: string, more = ''): string => round(more, `ar.quantize_and_save("out"${format})`);
const inner = ['attn.to_q', 'ff.net.0', 'ff.net.2'];
const blocks = [...Array(12).keys()].map((i) => `transformer_blocks.${i}`).concat('single_transformer_blocks.0', 'single_transformer_blocks.1');
const all = blocks.flatMap((block) => inner.map((name) => `${block}.${name}`));
const layers = checkpointOf(Object.fromEntries([...all.map((name) => [name, 256, 256] as const), ['x_embedder', 256, 64] as const, ['norm_out.linear', 256, 256] as const, ['proj_out', 64, 256] as const]
  .map(([name, outputs, inputs]) => [`${name}.weight`, { dtype: 'BF16' as const, shape: [outputs, inputs] }])), { _class_name: 'FluxTransformer2DModel' });
const narrow = checkpointOf({ 'transformer_blocks.0.up.weight': { dtype: 'BF16', shape: [64, 264] }, 'transformer_blocks.1.up.weight': { dtype: 'BF16', shape: [64, 264] } });
const unnamed = layersNamed('transformer_blocks.0.up');

describe('AutoRound\'s exporter', () => {
  describeTraps('autoround-export/', id, [
    ['autoround-export/scheme', round(', scheme="W4A6"'), '"W4A6"', round(', scheme="w4a16"')], ['autoround-export/scheme', round(', layer_config={"to_q": "FP8"}'), '"FP8"', round(', layer_config={"to_q": "bf16"}')], ['autoround-export/scheme', round(', layer_config={"to_q": {"scheme": "W9", "bits": 8}}'), '"W9"', round(', scheme="GGUF:Q4_K_M"')],
    ['autoround-export/bits', round(', bits=4, data_type="mx_fp8"'), '4', round(', bits=8, data_type="mx_fp8"')], ['autoround-export/bits', round(', scheme={"bits": 4, "data_type": "int8"}'), '4', round(', scheme={"bits": 4, "data_type": "int"}')], ['autoround-export/bits', round(', act_bits=4, act_data_type="fp8"'), '4', round(', act_data_type="fp8"')],
    ['autoround-export/overridden', round(', scheme="GGUF:Q4_K_M", bits=2'), 'bits', round(', scheme="W4A16", bits=2')],
    ['autoround-export/activations', round(', scheme="MXFP4", layer_config={"to_q": {"bits": 16}}'), '16', round(', scheme="MXFP4", layer_config={"to_q": {"bits": 16, "act_bits": 16}}')], ['autoround-export/activations', round(', scheme="INT8", layer_config={"to_q": {"bits": 16}}'), '16', round(', layer_config={"to_q": {"bits": 16}}')],
    ['autoround-export/width', round(''), 'AutoRound', round(''), layers, narrow], ['autoround-export/width', round(', scheme="MXFP4"'), 'AutoRound', round(', scheme="INT8"'), narrow, narrow],
    ['autoround-export/comma', round(', ignore_layers="to_q,"'), '"to_q,"', round(', ignore_layers="to_q, proj_out"')], ['autoround-export/fp-layers', round(', fp_layers="proj_out"'), 'fp_layers', round(', ignore_layers="proj_out"')],
    ['autoround-export/model', `${head}AutoRound(model, iters=0)`, 'model', round(', iters=0')], ['autoround-export/model', `${head}AutoRound(pipe.transformer)`, 'pipe.transformer', `${head}AutoRound("flux")`],
    ['autoround-export/batch-size', round(', batch_size=4'), '4', round(', batch_size=1')], ['autoround-export/batch-size', `${head}AutoRound("flux", batch_size=8, num_inference_steps=3)`, '8', round(', batch_size=4, iters=0'), layers, unnamed],
    ['autoround-export/batch-size', `${head}AutoRound("flux", batch_size=8)`, '8', `${head}AutoRound("some-language-model", batch_size=8)`, unnamed],
    ['autoround-export/format', saved(', format="auto_gptq"'), '"auto_gptq"', saved(', format="auto_round"')], ['autoround-export/format', saved(', "llm_compressor"'), '"llm_compressor"', saved(', "auto_round"')], ['autoround-export/format', saved('', ', scheme="MXFP8"'), 'ar.quantize_and_save', saved('', ', scheme="W8A16"')],
    ['autoround-export/format', saved(', format="auto_round,fake"'), '"auto_round,fake"', saved(', format="svdquant_nunchaku"', ', scheme="MXFP4"')], ['autoround-export/format', saved('', ', scheme="GGUF:Q4_K_M"'), 'ar.quantize_and_save', saved(', format=chosen')],
    ['autoround-export/format', `${head}AutoRound(pipe, scheme="W6A16").save_quantized("out")`, 'AutoRound(pipe, scheme="W6A16").save_quantized', `${head}AutoRound(pipe, scheme="W6A16")\nother.save_quantized("out")`], ['autoround-export/format', saved('', ', format="gguf:q4_k_m"'), 'ar.quantize_and_save', saved('', ', format="auto_round"')],
    ['dialect/missing-key', round(', scheme={"bits": 4}'), '{', round(', scheme=QuantizationScheme(bits=4)')], ['dialect/unknown-key', round(', layer_config={"to_q": {"bit": 8}}'), '"bit"', round(', layer_config={"to_q": {"bits": 8}}')], ['dialect/unknown-key', round(', ignore_layer="to_q"'), 'ignore_layer', round(', iters=0, disable_opt_rtn=True')],
    ['dialect/type', round(', ignore_layers=["to_q"]'), '["to_q"]', round(', ignore_layers="to_q"')], ['dialect/pattern', round(', layer_config={"(to_q": {"bits": 8}}'), '"(to_q"', round(', layer_config={"(to_q)": {"bits": 8}}')],
    ['dialect/unanchored-index', round(', layer_config={"transformer_blocks.1": {"bits": 8}}'), '"transformer_blocks.1"', round(', layer_config={"^transformer_blocks.1.": {"bits": 8}}')], ['dialect/takes-more', round(', layer_config={"norm_out": "W8A16", "transformer_blocks": "W8A16"}'), '"transformer_blocks"', round(', layer_config={"norm_out": "W8A16"}')],
    ['dialect/matches-nothing', round(', ignore_layers="to_q, ff.net.2"'), 'ff.net.2', round(', ignore_layers="to_q, ff.net"')], ['dialect/matches-nothing', round(', layer_config={"transformer_blocks\\\\.1\\\\.": {"bits": 8}}'), '"transformer_blocks\\\\.1\\\\."', round(', layer_config={"transformer_blocks.1.": {"bits": 8}}')],
    ['dialect/matches-nothing', round(', layer_config={"blocks.+to_q": "W8A16"}'), '"blocks.+to_q"', round(', layer_config={"blocks.*to_q": "W8A16"}')], ['dialect/shadowed', round(', layer_config={"proj": "W8A16"}, ignore_layers="proj_out"'), 'proj_out', round(', layer_config={"proj_out": "W8A16"}, ignore_layers="to_q"')],
  ], layers, 'run.py');

  /** Layers by `weights/activations` in bits. */
  const decided: [more: string, bits: Record<string, number>][] = [
    ['', { '4/16': 42, '16/16': 3 }], [', layer_config={"proj_out": {"bits": 8}}', { '4/16': 42, '16/16': 2, '8/16': 1 }], [', layer_config={"transformer_blocks.1": {"bits": 8}}', { '4/16': 30, '8/16': 12, '16/16': 3 }],
    [', layer_config={"transformer_blocks.*to_q": {"bits": 8}}', { '8/16': 14, '4/16': 28, '16/16': 3 }], [', layer_config={"transformer_blocks.\\\\d+.ff.net.[02]": {"bits": 8}}', { '4/16': 14, '8/16': 28, '16/16': 3 }], [', layer_config={"^x_embedder": {"bits": 8}, "^transformer_blocks.0.": {"bits": 2}}', { '2/16': 3, '4/16': 39, '8/16': 1, '16/16': 2 }],
    [', layer_config={"transformer_blocks.0.attn.to_q": {"bits": 8}, "to_q": {"bits": 2}}', { '2/16': 14, '4/16': 28, '16/16': 3 }], [', layer_config={"to_q": {"bits": 2}, "transformer_blocks.0.attn.to_q": {"bits": 8}}', { '2/16': 14, '4/16': 28, '16/16': 3 }],
    [', layer_config={"transformer_blocks.0.attn.to_q": {"bits": 8}}, ignore_layers="to_q"', { '16/16': 17, '4/16': 28 }], [', layer_config={"proj": {"bits": 8}}, ignore_layers="proj_out"', { '4/16': 42, '16/16': 2, '8/16': 1 }], [', layer_config={"proj_out": {"bits": 8}}, ignore_layers="proj_out"', { '4/16': 42, '16/16': 3 }],
    [', ignore_layers="transformer_blocks.1"', { '4/16': 36, '16/16': 9 }], [', ignore_layers="ff.net.2"', { '4/16': 42, '16/16': 3 }], [', ignore_layers="norm_out, to_q"', { '16/16': 17, '4/16': 28 }], [', ignore_layers="blocks.[0-3].ff"', { '4/16': 30, '16/16': 15 }],
    [', scheme="MXFP4", layer_config={"to_q": {"bits": 16}}', { '16/4': 14, '4/4': 28, '16/16': 3 }], [', scheme="MXFP4", layer_config={"to_q": "BF16"}', { '16/16': 17, '4/4': 28 }], [', scheme="NVFP4", layer_config={"to_q": "bf16", "proj_out": {"scheme": "mxfp8", "bits": 4}}', { '16/16': 16, '4/4': 28, '4/8': 1 }],
    [', to_quant_block_names="^transformer"', { '4/16': 36, '16/16': 9 }], [', to_quant_block_names="transformer_blocks.1"', { '4/16': 12, '16/16': 33 }], [', to_quant_block_names=[["transformer_blocks.1"]]', { '4/16': 3, '16/16': 42 }], [', bits=2, group_size=32', { '2/16': 42, '16/16': 3 }],
    [', layer_config={"to_q": {"bits": 4, "data_type": "mx_fp8"}}', { '4/16': 42, '16/16': 3 }], [', layer_config={"to_q": {"data_type": "mx_fp8"}}', { '8/16': 14, '4/16': 28, '16/16': 3 }], [', layer_config={"norm_out|proj_out": {"bits": 8}}', { '4/16': 42, '8/16': 2, '16/16': 1 }],
    [', scheme=AutoScheme(avg_bits=3, options="W4A16,BF16")', { 'null/null': 45 }],
  ];
  for (const [more, expected] of decided) {
    it(`AutoRound(pipe${more})`, () => {
      const { decisions } = evaluated(id, round(more), layers, 'run.py');
      const found: Record<string, number> = {};
      for (const { treatment: { weightBits, activationBits } } of decisions) {
        const bits = `${weightBits}/${activationBits}`;
        found[bits] = (found[bits] ?? 0) + 1;
      }
      assert.deepEqual(found, expected);
    });
  }

  it('presets have recipes, as far as there is a counterpart', () => {
    const of = (name: string): { label: string | undefined; recipe: unknown } => { const first = evaluated(id, round(`, scheme="${name}", iters=0, disable_opt_rtn=True`), layers, 'run.py').decisions.find(({ layer }) => layer.block !== null); return { label: first?.treatment.label, recipe: first?.treatment.recipe }; };
    assert.deepEqual(Object.keys(presets).filter((name) => of(name).recipe === undefined), ['MXFP6', 'MXINT4', 'NVFP4_E5M3', 'BF16', 'W4A16_MIXED', 'GGUF:Q2_K_MIXED']);
    assert.deepEqual(['W2A16G32', 'FP8_STATIC', 'FPW8A16', 'GGUF:Q4_K_M', 'MXFP8_RCEIL'].map((name) => of(name).label), ['int2 weights per group 32', 'fp8 weights per row, fp8 activations', 'fp8 weights per tensor', 'q4_K', 'mx_fp8 weights per group 32, mx_fp8 activations']);
  });

  it('places: each name of a text with commas, unless it is put together', () => {
    const entries = (text: string): string[] => evaluated(id, text, layers, 'run.py').entries.map(({ range, text: name }) => `${name} ${range.start.character}–${range.end.character}`);
    assert.deepEqual(entries('from auto_round import AutoRound\nAutoRound(m, ignore_layers="to_q,  proj_out")'), ['to_q 28–32', 'proj_out 35–43']);
    assert.deepEqual(entries('from auto_round import AutoRound\nAutoRound(m, ignore_layers="to_q," "proj_out")'), ['to_q 27–45', 'proj_out 27–45']);
  });
});
