import { publishedCheckpoint } from '../../../fixtures/checkpoints';
import { besideTrap, config, describeTraps, requiring } from './support';
import type { Trap } from './support';

const text = (changes: Record<string, unknown>): string => config({ quant_method: 'quanto', weights_dtype: 'int8', ...changes });

describe('quanto in diffusers', () => {
  const traps: Trap[] = [
    ['quanto/dotted', text({ modules_to_not_convert: ['attn.to_q'] }), '"attn.to_q"', text({ modules_to_not_convert: ['to_q'] })],
    ['dialect/matches-nothing', text({ modules_to_not_convert: ['norm_out'] }), '"norm_out"', text({ modules_to_not_convert: ['to_q'] })],
    ['dialect/value', text({ weights_dtype: 'int3' }), '"int3"', text({ weights_dtype: 'float8' })],
    ['dialect/unknown-key', text({ weights: 'int4' }), '"weights"', text({})],
    ['quanto/deprecated', text({}), '"quant_method"', config({ load_in_8bit: true })],
    besideTrap('quanto/deprecated', text({}), '"quant_method"', requiring('diffusers>=1.0'), requiring('diffusers==0.37.1')),
    besideTrap('quanto/old', text({}), '"quant_method"', requiring('optimum-quanto==0.2.5'), requiring('Optimum.Quanto==0.2.6')),
  ];
  describeTraps('quanto/', 'diffusers-quanto', traps, publishedCheckpoint('FLUX.1-dev'));
});
