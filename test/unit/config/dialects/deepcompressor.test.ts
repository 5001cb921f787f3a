import assert from 'node:assert/strict';
import { roleKeys } from '../../../../server/src/config/dialects/deepcompressor';
import { publishedCheckpoint } from '../../../fixtures/checkpoints';
import { describeTraps, evaluated } from './support';

const yaml = (wgts: string, ipts = 'dtype: sint4, static: false, skips: [embed]', more = ''): string => `quant:\n  wgts: {${wgts}}\n  ipts: {${ipts}}\n${more}`;
const good = yaml('dtype: sint4, group_shapes: [[1, 64, 1, 1, 1]], scale_dtypes: [null], skips: [embed, transformer_norm]');

describe('deepcompressor', () => {
  const flux = publishedCheckpoint('FLUX.1-dev');
  const named = { ...flux, architecture: 'WanTransformer3DModel' };
  describeTraps('deepcompressor/', 'deepcompressor', [
    ['deepcompressor/role', yaml('dtype: sint4, skips: [embed, proj_out]'), 'proj_out', good],
    ['deepcompressor/role', yaml('dtype: sint4, skips: ["transformer_blocks.0.*"]'), '"transformer_blocks.0.*"', good],
    ['deepcompressor/dtype', yaml('dtype: int4'), 'int4', yaml('dtype: sfp4_e2m1_all')],
    ['deepcompressor/parallel-lists', yaml('dtype: sfp4_e2m1_all, group_shapes: [[-1, -1], [1, 16, 1, 1, 1]], scale_dtypes: [null]'), '[null]', good],
    ['deepcompressor/static', yaml('dtype: sint4', 'dtype: sint8, static: true, group_shapes: [[1, 64, 1, 1, 1]]'), 'static', yaml('dtype: sint4', 'dtype: sint8, static: true, group_shapes: [[-1, -1]]')],
    ['deepcompressor/opts', yaml('dtype: sint4', 'dtype: sint8', '  opts: {dtype: sint8}\n'), 'opts', good],
    ['deepcompressor/skips-cleared', yaml('dtype: sint4', 'dtype: null, skips: [embed]'), 'skips', good],
    ['deepcompressor/model', good, 'wgts', good, flux],
  ], named, 'svdquant.yaml');

  it('gives every linear layer of FLUX.1-dev and PixArt-Sigma a role', () => {
    for (const name of ['FLUX.1-dev', 'PixArt-Sigma-1024']) {
      assert.deepEqual(publishedCheckpoint(name).layers.filter((layer) => roleKeys(layer).length === 0).map((layer) => layer.name), []);
    }
  });

  it('skips by role, weights and activations apart', () => {
    const { entries, decisions } = evaluated('deepcompressor', good, flux, 'svdquant.yaml');
    assert.deepEqual(entries.map(({ text, matchedLayers }) => [text, matchedLayers]), [['embed', 10], ['transformer_norm', 57], ['embed', 10]]);
    const of = (layer: string): unknown => decisions.filter((each) => each.layer.name === layer).map(({ treatment }) => [treatment.weightBits, treatment.activationBits])[0];
    assert.deepEqual(['proj_out', 'transformer_blocks.0.norm1.linear', 'transformer_blocks.0.norm1_context.linear', 'transformer_blocks.0.ff.net.2'].map(of), [[16, 16], [16, 4], [4, 4], [4, 4]]);
  });
});
