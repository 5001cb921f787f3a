import assert from 'node:assert/strict';
import { publishedCheckpoint } from '../../../fixtures/checkpoints';
import { config, describeTraps, evaluated } from './support';

const text = (changes: Record<string, unknown>): string => config({ quant_method: 'gguf', compute_dtype: 'bfloat16', ...changes });

describe('GGUF in diffusers', () => {
  describeTraps('gguf/', 'diffusers-gguf', [
    ['gguf/not-saved', text({}), '"quant_method"', config({ load_in_8bit: true })],
    ['gguf/compute-dtype', config({ quant_method: 'gguf' }), '"quant_method"', text({})],
    ['gguf/skip-list', text({ modules_to_not_convert: ['proj_out'] }), '"modules_to_not_convert"', text({})],
  ], publishedCheckpoint('FLUX.1-dev'));

  it('leaves out what Wan keeps in float32, by segment', () => {
    const { decisions } = evaluated('diffusers-gguf', text({}), publishedCheckpoint('Wan2.1-1.3B'));
    assert.deepEqual(decisions.filter(({ entry }) => entry).map(({ layer }) => layer.name), ['condition_embedder.time_embedder.linear_1', 'condition_embedder.time_embedder.linear_2']);
  });
});
