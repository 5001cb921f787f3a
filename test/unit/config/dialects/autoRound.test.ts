import { layersNamed, publishedCheckpoint } from '../../../fixtures/checkpoints';
import { config, describeTraps } from './support';

const text = (changes: Record<string, unknown>): string => config({ quant_method: 'auto-round', bits: 4, group_size: 64, ...changes });

describe('AutoRound in diffusers', () => {
  describeTraps('autoround/', 'diffusers-auto-round', [
    ['autoround/backend', text({ backend: 'triton' }), '"triton"', text({ backend: 'tritonv2' })],
    ['autoround/spelling', text({ quant_method: 'auto_round' }), '"auto_round"', text({})],
    ['autoround/exporter-list', text({ ignore_layers: ['proj_out'] }), '"ignore_layers"', text({})],
    ['autoround/group', text({ group_size: 96 }), '96', text({ group_size: -1 })],
    ['autoround/group', text({ group_size: 100 }), '100', text({ group_size: 4 }), layersNamed('a')],
  ], publishedCheckpoint('FLUX.1-dev'));
});
