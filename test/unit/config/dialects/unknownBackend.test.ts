import assert from 'node:assert/strict';
import { detectDialect, readDialectFile } from '../../../../server/src/config/dialects';
import { layersNamed } from '../../../fixtures/checkpoints';
import { config, describeTraps, documentOf } from './support';

describe('quantization_config of no known backend', () => {
  describeTraps('dialect/unknown-method', 'diffusers-unknown', [
    ['dialect/unknown-method', config({ quant_method: 'torchoa' }), '"torchoa"', config({ quant_method: 'quanto' })],
    ['dialect/unknown-method', config({ quant_method: 'magic' }), '"magic"', config({ load_in_8bit: true })],
  ], layersNamed('a'));

  it('leaves other files alone, and checkpoints of our own', () => {
    for (const text of [config({ quant_method: 'quantscope' }), '{}', '[1, 2]', '{"a": {"b": 1}}', 'version: 1', '', '- a\n- b', 'plain']) {
      assert.equal(detectDialect(readDialectFile('config.json', documentOf(text))), undefined, text);
    }
  });
});
