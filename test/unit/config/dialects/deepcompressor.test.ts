import assert from 'node:assert/strict';
import { roleKeys } from '../../../../server/src/config/dialects/deepcompressor/roles';
import { publishedCheckpoint } from '../../../fixtures/checkpoints';
import { besideTrap, describeTraps, evaluated, requiring } from './support';

const yaml = (wgts: string, ipts = 'dtype: sint4, static: false, skips: [embed]', more = ''): string => `quant:\n  wgts: {${wgts}}\n  ipts: {${ipts}}\n${more}`;
const extra = '  enable_extra_wgts: true\n  extra_wgts: {dtype: sint4, group_shapes: [[1, 64]], includes: [transformer_norm]}\n';
/** As svdquant/__default__.yaml has it. */
const preset = (grids: number): string => yaml('dtype: sint4', undefined, `  enable_smooth: true\n  smooth: {proj: {strategy: GridSearch, alpha: 0.5, beta: -2, num_grids: ${grids}}}\n`);
const good = yaml('dtype: sint4, group_shapes: [[1, 64, 1, 1, 1]], scale_dtypes: [null], skips: [embed, transformer_norm]');

describe('deepcompressor', () => {
  const flux = publishedCheckpoint('FLUX.1-dev');
  const named = { ...flux, architecture: 'WanTransformer3DModel' };
  const pixart = publishedCheckpoint('PixArt-Sigma-1024');
  describeTraps('deepcompressor/', 'deepcompressor', [
    ['deepcompressor/role', yaml('dtype: sint4, skips: [embed, proj_out]'), 'proj_out', good],
    ['deepcompressor/role', yaml('dtype: sint4, skips: ["transformer_blocks.0.*"]'), '"transformer_blocks.0.*"', good],
    ['deepcompressor/dtype', yaml('dtype: int4'), 'int4', yaml('dtype: sfp4_e2m1_all')],
    ['deepcompressor/parallel-lists', yaml('dtype: sfp4_e2m1_all, group_shapes: [[-1, -1], [1, 16, 1, 1, 1]], scale_dtypes: [null]'), '[null]', good],
    ['deepcompressor/static', yaml('dtype: sint4', 'dtype: sint8, static: true, group_shapes: [[1, 64, 1, 1, 1]]'), 'static', yaml('dtype: sint4', 'dtype: sint8, static: true, group_shapes: [[-1, -1]]')],
    ['deepcompressor/static', yaml('dtype: sint4', 'dtype: sint8, static: true, group_shapes: [[-1, -1], [1, 64]]'), 'static', yaml('dtype: sint4', 'dtype: sint8, static: true, group_shapes: [[1, -1], [-1, 64]]')],
    ['deepcompressor/scale-dtype', yaml('dtype: sfp4_e2m1_all, group_shapes: [[-1, -1], [1, 16]], scale_dtypes: [sfp8_e4m3_nan, null]'), 'null', yaml('dtype: sfp4_e2m1_all, group_shapes: [[-1, -1], [1, 16]], scale_dtypes: [null, sfp8_e4m3_nan]')],
    ['deepcompressor/include-skipped', yaml('dtype: sint4, skips: [transformer_norm]', undefined, extra), 'transformer_norm', yaml('dtype: sint4, skips: [embed]', undefined, extra)],
    ['deepcompressor/group-width', yaml('dtype: sint4, group_shapes: [[1, 384]]'), '[[1, 384]]', yaml('dtype: sint4, group_shapes: [[1, 384]], skips: [embed]'), pixart],
    ['deepcompressor/group-width', yaml('dtype: sint4', undefined, extra.replace('64', '1000')), '[[1, 1000]]', yaml('dtype: sint4', undefined, extra), flux],
    ['deepcompressor/role', yaml('dtype: sint4, low_rank: {rank: 32, skips: [norms]}'), 'norms', yaml('dtype: sint4, low_rank: {rank: 32, skips: [transformer_norm, down_resblock_conv, mid, sample]}')],
    ['dialect/rank', yaml('dtype: sint4, low_rank: {rank: 128}'), '128', yaml('dtype: sint4, low_rank: {rank: 128, skips: [embed]}')],
    ['deepcompressor/opts', yaml('dtype: sint4', 'dtype: sint8', '  opts: {dtype: sint8}\n'), 'opts', good],
    ['deepcompressor/skips-cleared', yaml('dtype: sint4', 'dtype: null, skips: [embed]'), 'skips', good],
    ['deepcompressor/pipeline', `${good}pipeline: {name: my-flux}\n`, 'my-flux', `${good}pipeline: {name: my-flux, path: ./my-flux}\n`],
    ['deepcompressor/pipeline', `${good}pipeline: {name: sana-1.6b}\n`, 'sana-1.6b', `${good}pipeline: {name: flux.1-schnell}\n`],
    besideTrap('deepcompressor/float-model', good, 'wgts', ['model.pt', 'scale.pt', 'wgts.pt'], ['model.pt', 'flux/model.pt', 'scale.pt.bak/a.pt']),
    besideTrap('deepcompressor/float-model', good, 'wgts', ['model/branch.pt', 'model/model.pt', 'model/scale.pt', 'model/smooth.pt', 'model/wgts.pt'], ['cache/wgts.pt']),
    besideTrap('deepcompressor/not-saved', good, 'wgts', ['cache/branch.pt', 'cache/smooth.pt', 'cache/wgts.pt'], ['model/branch.pt', 'model/model.pt', 'model/scale.pt', 'model/smooth.pt', 'model/wgts.pt']),
    besideTrap('deepcompressor/not-saved', good, 'wgts', ['model.pt', 'wgts.pt'], ['model.pt', 'weights.pt']),
    besideTrap('deepcompressor/merged', good, 'wgts', ['__default__.yaml'], ['int4/__default__.yaml']),
    ['deepcompressor/model', good, 'wgts', good, flux],
    besideTrap('deepcompressor/diffusers', good, 'wgts', requiring('diffusers==0.35.1'), requiring('diffusers==0.34.0')),
    besideTrap('deepcompressor/diffusers', `${good}pipeline: {name: flux.1-dev}\n`, 'wgts', requiring('diffusers>=0.35', 'deepcompressor-toolkit==0.0.2'), requiring('diffusers>=0.35', 'deepcompressor_toolkit==0.3.0')),
    besideTrap('deepcompressor/diffusers', `${good}pipeline: {name: pixart-sigma}\n`, 'wgts', requiring('diffusers<0.32'), requiring('diffusers==0.35.1')),
    besideTrap('deepcompressor/old', good, 'wgts', requiring('deepcompressor==0.0.1'), requiring('deepcompressor==0.1.0')),
    ['deepcompressor/slow', preset(20), '20', preset(10)],
    ['deepcompressor/slow', preset(20), '20', `${preset(20)}  calib: {num_samples: 64}\n`],
    ['deepcompressor/slow', preset(40).replace(', beta: -2', ''), '40', preset(40).replace('GridSearch', 'Manual')],
  ], named, 'svdquant.yaml');

  it('gives every linear layer of FLUX.1-dev and PixArt-Sigma a role', () => {
    for (const name of ['FLUX.1-dev', 'PixArt-Sigma-1024']) {
      assert.deepEqual(publishedCheckpoint(name).layers.filter((layer) => roleKeys(layer).length === 0).map((layer) => layer.name), []);
    }
  });

  it('quantizes what extra_wgts includes in its own way, as the nvfp4 preset does with modulation layers', () => {
    const text = yaml('dtype: sfp4_e2m1_all, skips: [embed]', 'dtype: sfp4_e2m1_all, skips: [embed, transformer_norm, transformer_add_norm]', extra.replace('[transformer_norm]', '[transformer_norm, transformer_add_norm]'));
    const { decisions, all } = evaluated('deepcompressor', text, flux, 'nvfp4.yaml');
    const of = (layer: string): unknown => decisions.filter((each) => each.layer.name === layer).map(({ treatment }) => [treatment.label, treatment.weightBits, treatment.activationBits])[0];
    assert.deepEqual(['transformer_blocks.0.norm1_context.linear', 'x_embedder'].map(of), [['weights sint4, activations kept', 4, 16], ['kept', 16, 16]]);
    assert.deepEqual(all, []);
  });

  it('reads the example file of a model, whose dtype stands in a file merged with it', () => {
    const { entries, all, decisions } = evaluated('deepcompressor', yaml('low_rank: {sample_size: -1}, skips: [embed, resblock_shortcut, transformer_norm]', 'skips: [embed]'), flux, 'flux.1-dev.yaml');
    assert.deepEqual([all, entries.map(({ text, matchedLayers }) => [text, matchedLayers])], [[], [['embed', 10], ['resblock_shortcut', 0], ['transformer_norm', 57], ['embed', 10]]]);
    assert.deepEqual(decisions.filter(({ entry }) => !entry).map(({ treatment }) => treatment.label).slice(0, 1), ['weights as a file merged with it says, activations as a file merged with it says']);
  });

  it('skips by role, weights and activations apart', () => {
    const { entries, decisions } = evaluated('deepcompressor', good, flux, 'svdquant.yaml');
    assert.deepEqual(entries.map(({ text, matchedLayers }) => [text, matchedLayers]), [['embed', 10], ['transformer_norm', 57], ['embed', 10]]);
    const of = (layer: string): unknown => decisions.filter((each) => each.layer.name === layer).map(({ treatment }) => [treatment.weightBits, treatment.activationBits])[0];
    assert.deepEqual(['proj_out', 'transformer_blocks.0.norm1.linear', 'transformer_blocks.0.norm1_context.linear', 'transformer_blocks.0.ff.net.2'].map(of), [[16, 16], [16, 4], [4, 4], [4, 4]]);
  });
});
