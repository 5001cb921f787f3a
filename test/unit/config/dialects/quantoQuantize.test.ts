/** `quantize` of optimum-quanto in Python: which layers its patterns take, and what else it wants of the file. Layers are those that optimum-quanto 0.2 replaces. */
import assert from 'node:assert/strict';
import { checkpointOf, layersNamed } from '../../../fixtures/checkpoints';
import { describeTraps, evaluated } from './support';

const id = 'optimum-quanto-quantize';
const head = 'from diffusers import FluxPipeline, FluxTransformer2DModel\nfrom optimum.quanto import Calibration, QuantizedDiffusersModel, freeze, qint4, qint8, quantize\npipe = FluxPipeline.from_pretrained("flux")\n';
const frozen = (call: string, model = 'pipe.transformer'): string => `${head}quantize(${call})\nfreeze(${model})\n`;
const calibrated = (call: string): string => `${frozen(call)}with Calibration(): pipe("a cat")\n`;
const inner = ['attn.to_q', 'ff.net.0', 'ff.net.2'];
const blocks = [...Array(12).keys()].map((i) => `transformer_blocks.${i}`).concat('single_transformer_blocks.0', 'single_transformer_blocks.1');
const layers = layersNamed(...blocks.flatMap((block) => inner.map((name) => `${block}.${name}`)), 'x_embedder', 'norm_out.linear', 'proj_out');
const wide = (inputs: number): ReturnType<typeof checkpointOf> => checkpointOf({ 'blocks.0.up.weight': { dtype: 'BF16', shape: [64, inputs] } });

describe('optimum-quanto in Python', () => {
  describeTraps('optimum-quanto/', id, [
    ['optimum-quanto/no-weights', frozen('pipe.transformer'), 'quantize', frozen('pipe.transformer, qint8')], ['optimum-quanto/no-weights', calibrated('pipe.transformer, None, activations=qint8'), 'quantize', frozen('pipe.transformer, **options')],
    ['optimum-quanto/pipeline', frozen('pipe, qint8', 'pipe'), 'pipe', frozen('pipe.transformer, qint8')],
    ['optimum-quanto/freeze', `${head}quantize(pipe.transformer, qint8)`, 'quantize', frozen('pipe.transformer, qint8')], ['optimum-quanto/freeze', frozen('pipe.transformer, qint8', 'pipe.text_encoder'), 'quantize', `${head}for m in (pipe.transformer, pipe.vae):\n  quantize(m, qint8)\n  freeze(m)`],
    ['optimum-quanto/freeze', `${head}def prepare(model):\n  quantize(model, qint8)`, 'quantize', `${head}t = pipe.transformer\nquantize(pipe.transformer, qint8)\nfreeze(t)`], ['optimum-quanto/freeze', `${head}quantize(pipe.transformer, qint8)`, 'quantize', `${head}QuantizedDiffusersModel.quantize(pipe.transformer, weights=qint8)`],
    ['optimum-quanto/calibration', frozen('pipe.transformer, qint8, qint8'), 'qint8', calibrated('pipe.transformer, qint8, qint8')],
    ['optimum-quanto/group-width', frozen('pipe.transformer, qint4'), 'qint4', frozen('pipe.transformer, qint8'), wide(1176), wide(1176)], ['optimum-quanto/group-width', frozen('pipe.transformer, "qint2"'), '"qint2"', frozen('pipe.transformer, qint4'), wide(2240), wide(200)],
    ['qmap/type', frozen('pipe.transformer, weights="int8"'), '"int8"', frozen('pipe.transformer, weights="qint8"')], ['dialect/unknown-key', frozen('pipe.transformer, qint8, excludes="proj_out"'), 'excludes', frozen('pipe.transformer, qint8, exclude="proj_out"')],
    ['dialect/matches-nothing', frozen('pipe.transformer, qint8, exclude="transformer_blocks.1"'), '"transformer_blocks.1"', frozen('pipe.transformer, qint8, exclude="transformer_blocks.1.*"')],
  ], layers, 'run.py');

  const taken: [patterns: string, quantized: number][] = [
    ['exclude="proj_out"', 44], ['exclude=["transformer_blocks.1"]', 45], ['exclude="*transformer_blocks.1.*"', 39], ['include="transformer_blocks.1*"', 9], ['include=["*.to_q", "*proj_out"], exclude="single*"', 13], ['exclude="*[!q]"', 14], ['exclude="*net.?"', 17],
    ['exclude="X_embedder"', 45], ['include="*.linear"', 1], ['exclude=["", "*"]', 0], ['include="transformer_blocks.?.ff.net.[02]"', 20], ['exclude="**to_q"', 31],
  ];
  for (const [patterns, quantized] of taken) {
    it(`${patterns}: ${quantized} of 45 layers`, () => {
      const { decisions } = evaluated(id, frozen(`pipe.transformer, weights=qint8, ${patterns}`), layers, 'run.py');
      assert.equal(decisions.filter(({ treatment }) => treatment.kind === 'quantize').length, quantized);
    });
  }

  it('types are objects of optimum-quanto or their names, and have recipes', () => {
    for (const [call, label, bits, near] of [['qint4', 'qint4 weights', [4, 16], []], ['weights="qfloat8"', 'qfloat8 weights', [8, 16], []], ['qint8, qint8', 'qint8 weights, qint8 activations', [8, 8], []]] as const) {
      const [decision] = evaluated(id, frozen(`pipe.transformer, ${call}`), layers, 'run.py').decisions;
      assert.deepEqual([decision?.treatment.label, [decision?.treatment.weightBits, decision?.treatment.activationBits], decision?.treatment.near], [label, bits, near]);
      assert.ok(decision?.treatment.recipe);
    }
  });
});
