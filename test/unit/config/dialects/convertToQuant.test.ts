import assert from 'node:assert/strict';
import { specificity } from '../../../../server/src/config/dialects/convertToQuant';
import { publishedCheckpoint } from '../../../fixtures/checkpoints';
import { describeTraps, evaluated } from './support';

const text = (entries: Record<string, unknown>): string => JSON.stringify(entries, null, 1);

describe('convert_to_quant layer config', () => {
  const zimage = publishedCheckpoint('Z-Image');
  const skipped = { '_default': { format: 'nvfp4' }, 'embedder|final_layer': { skip: true } };
  describeTraps('ctq/', 'convert-to-quant', [
    ['ctq/format', text({ ...skipped, 'layers': { format: 'nvfp' } }), '"nvfp"', text({ ...skipped, 'layers': { format: 'nvfp4' } })],
    ['ctq/format', text({ ...skipped, 'layers': { format: '' } }), '""', text({ ...skipped, 'layers': { skip: true } })],
    ['ctq/embedders', text({ '_default': { format: 'nvfp4' } }), '"_default"', text(skipped)],
    ['dialect/pattern', text({ ...skipped, '*layers': { skip: true } }), '"*layers"', text(skipped)],
    ['dialect/matches-nothing', text({ ...skipped, '^blocks': { skip: true } }), '"^blocks"', text(skipped)],
    ['dialect/shadowed', text({ ...skipped, 'w2': { format: 'mxfp8' }, 'feed_forward\\.w2': { skip: true } }), '"w2"', text({ ...skipped, 'w3': { format: 'mxfp8' }, 'feed_forward\\.w2': { skip: true } })],
  ], zimage);

  it('scores expressions as the tool does', () => {
    assert.deepEqual(['double_blocks\\.(0|18)\\.', 'single_blocks\\..*\\.linear2', 'blocks\\.\\d+\\.attn', 'b\\.\\d', 'layers.1.', '[qkv]$', 'a\\\\b'].map(specificity), [
      { tier: 1, literal: 18 }, { tier: 1, literal: 20 }, { tier: 0, literal: 10 }, { tier: 1, literal: 1 }, { tier: 1, literal: 7 }, { tier: 1, literal: 5 }, { tier: 1, literal: 2 },
    ]);
  });

  it('lets the most specific decide, whatever the order', () => {
    const { decisions } = evaluated('convert-to-quant', text({ '_default': { format: 'nvfp4' }, 'attention\\.to_q': { format: 'mxfp8' }, 'layers\\.\\d\\.attention': { skip: true }, 'to_k': { format: 'float8_e4m3fn' } }), zimage);
    const of = (name: string): string | undefined => decisions.find(({ layer }) => layer.name === name)?.treatment.label;
    assert.deepEqual(['layers.3.attention.to_q', 'layers.13.attention.to_q', 'layers.3.attention.to_k', 'layers.13.attention.to_k', 'layers.3.feed_forward.w1'].map(of), ['kept', 'mxfp8', 'kept', 'float8_e4m3fn', 'nvfp4']);
  });
});
