import assert from 'node:assert/strict';
import { matchList } from '../../../server/src/config/match';
import { layersNamed, publishedCheckpoint } from '../../fixtures/checkpoints';

describe('pattern lists', () => {
  const checkpoint = layersNamed('a.q', 'a.k', 'b.q', 'b.k', 'out');
  const taken = (...patterns: string[]): string[] => [...matchList(checkpoint, patterns)].map((index) => checkpoint.layers[index]?.name ?? '');

  it('take what any pattern takes, in model order', () => {
    assert.deepEqual(taken('out', 'a.*'), ['a.k', 'a.q', 'out']);
    assert.deepEqual(taken('**.q', 'a.q'), ['a.q', 'b.q']);
  });

  it('leave out exclusions wherever they stand', () => {
    assert.deepEqual(taken('!a.q', '**'), ['a.k', 'b.k', 'b.q', 'out']);
    assert.deepEqual(taken('**', '!**.q', '!out'), ['a.k', 'b.k']);
  });

  it('take nothing when empty or only exclusions', () => {
    assert.deepEqual(taken(), []);
    assert.deepEqual(taken('!a.q'), []);
    assert.deepEqual(taken('!a.q', '!b.q'), []);
  });

  it('keep a name that holds an exclamation mark elsewhere', () => {
    const odd = layersNamed('a!b', '!c');
    assert.deepEqual([...matchList(odd, ['a!b'])].map((index) => odd.layers[index]?.name), ['a!b']);
  });

  /** formats.md A0, measured on the real module list: what each backend skips for one entry, said in this language. */
  const flux = publishedCheckpoint('FLUX.1-dev');
  const total = flux.layers.reduce((sum, layer) => sum + layer.params, 0);
  const counts: [patterns: string[], layers: number, percent: string][] = [
    [['proj_out', '**.proj_out'], 39, '15.07'],
    [['norm_out.**'], 1, '0.16'],
    [['**.norm.**'], 38, '9.04'],
    [['**norm**'], 77, '27.28'],
    [['transformer_blocks.1.**', 'single_transformer_blocks.1.**'], 20, '4.05'],
    [['**transformer_blocks.1**'], 206, '41.64'],
    [['**.ff.net.2'], 19, '6.03'],
    [['**.attn.to_out.0'], 19, '1.51'],
    [['time_text_embed.**'], 6, '0.27'],
    [['ff.net.2'], 0, '0.00'],
    [['**'], 504, '100.00'],
  ];
  for (const [patterns, layers, percent] of counts) {
    it(`${patterns.join(', ')} on FLUX.1-dev: ${layers} layers, ${percent} %`, () => {
      const indices = [...matchList(flux, patterns)];
      assert.equal(indices.length, layers);
      assert.equal(((100 * indices.reduce((sum, index) => sum + (flux.layers[index]?.params ?? 0), 0)) / total).toFixed(2), percent);
    });
  }
});
