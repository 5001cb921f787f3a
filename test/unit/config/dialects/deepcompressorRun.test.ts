/** Scripts that run deepcompressor: their command lines, and what the files they name make together. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { CheckpointStore } from '../../../../server/src/checkpoint';
import { couldBeDialect } from '../../../../server/src/config/dialects';
import { dialectCodes } from '../../../../server/src/config/dialects/codes';
import { flagOf, flags } from '../../../../server/src/config/dialects/deepcompressor/flags';
import { loadDialects } from '../../../../server/src/config/dialects/load';
import type { LoadedDialect } from '../../../../server/src/config/dialects/load';
import type { Problem } from '../../../../server/src/protocol';
import { publishedCheckpoint } from '../../../fixtures/checkpoints';
import { temporaryFolders } from '../../../fixtures/folder';
import { codes, documentOf } from './support';

const ptq = 'python -m deepcompressor.app.diffusion.ptq';
const files = {
  'configs/__default__.yaml': 'seed: 1\nquant:\n  wgts: {dtype: null, group_shapes: [[1, -1]], scale_dtypes: [null]}\n  ipts: {dtype: null}\n',
  'configs/model/flux.yaml': 'pipeline: {name: flux.1-dev}\nquant:\n  calib: {batch_size: 16}\n  wgts: {skips: [embed]}\n  ipts: {skips: [embed, transformer_norm, transformer_add_norm]}\n',
  'configs/svdquant/__default__.yaml': 'quant:\n  enable_smooth: true\n  smooth: {enable_proj: true, proj: {num_grids: 20}}\n',
  'configs/svdquant/int4.yaml': 'quant:\n  wgts: {dtype: sint4, group_shapes: [[1, 64, 1, 1, 1]]}\n  ipts: {dtype: sint4, group_shapes: [[1, 64, 1, 1, 1]]}\n',
  'configs/svdquant/int8.yaml': 'quant:\n  wgts: {dtype: sint8}\n',
  'configs/grids.yaml': 'quant:\n  smooth: {proj: {num_grids: 10}}\n',
  'configs/role.yaml': 'quant:\n  wgts: {skips: [embed, transformer_blocks.0]}\n',
};

describe('command lines of deepcompressor', () => {
  const folder = temporaryFolders();
  const load = async (script: string, more: Record<string, string> = {}, given?: string): Promise<LoadedDialect> => {
    const store = { recent: () => Promise.resolve(publishedCheckpoint(given ?? '')) } as unknown as CheckpointStore;
    const [loaded] = await loadDialects(documentOf(script, 'run.sh'), join(folder({ ...files, ...more }), 'scripts', 'run.sh'), given === undefined ? new CheckpointStore() : store, given && '/model');
    assert.equal(loaded?.dialect.id, 'deepcompressor-run');
    return loaded;
  };
  const own = (problems: readonly Problem[]): Problem[] => problems.filter(({ code }) => code !== 'dialect/no-checkpoint' && code !== 'deepcompressor-run/order');
  const found = async (script: string, more?: Record<string, string>): Promise<string[]> => codes(script, own((await load(script, more)).problems));

  const good = `${ptq} configs/model/flux.yaml configs/svdquant/int4.yaml --eval-num-samples 16`;
  const traps: [code: string, bad: string, marked: string, good: string][] = [
    ['deepcompressor-run/flag', `${good} --quant-wgts-dtype sint8`, '--quant-wgts-dtype', `${good} --skip-eval`],
    ['deepcompressor-run/flag', `${good} --wgts-dtpye=sint8`, '--wgts-dtpye', `${good} --skip-ev`],
    ['deepcompressor-run/arguments', `${ptq} configs/model/flux.yaml --seed 1 configs/svdquant/int4.yaml`, 'configs/svdquant/int4.yaml', `${ptq} --seed 1 configs/model/flux.yaml configs/svdquant/int4.yaml`],
    ['deepcompressor-run/arguments', `${ptq} --skip-eval configs/model/flux.yaml`, 'configs/model/flux.yaml', `${ptq} --skip-eval true configs/model/flux.yaml`],
    ['deepcompressor-run/arguments', `${ptq} --wgts-skips embed configs/model/flux.yaml`, 'configs/model/flux.yaml', `${ptq} --wgts-skips embed --seed 1 configs/model/flux.yaml`],
    ['deepcompressor-run/arguments', `${good} --save-model`, '--save-model', `${good} --save-model true`],
    ['deepcompressor-run/arguments', `${ptq} --seed 1`, 'deepcompressor.app.diffusion.ptq', `${ptq} $FILES --seed 1`],
    ['deepcompressor-run/place', `${ptq} ../configs/model/flux.yaml`, '../configs/model/flux.yaml', good],
    ['deepcompressor-run/place', `${ptq} ./flux.yaml`, './flux.yaml', `${ptq} ./configs/model/flux.yaml`],
    ['deepcompressor-run/file', `${good.replace('int4', 'int3')}`, 'configs/svdquant/int3.yaml', good],
    ['deepcompressor-run/order', good, 'deepcompressor.app.diffusion.ptq', `${good} $MORE`],
    ['deepcompressor-run/overrides', `${ptq} configs/model/flux.yaml configs/svdquant/int4.yaml configs/svdquant/int8.yaml`, 'configs/svdquant/int8.yaml', good],
    ['deepcompressor-run/overrides', `${good} --wgts-dtype sint8`, '--wgts-dtype', `${good} --wgts-dtype sint4`],
    ['deepcompressor-run/defaults', `${ptq} configs/grids.yaml configs/svdquant/int4.yaml`, 'configs/grids.yaml', `${ptq} configs/svdquant/int4.yaml configs/grids.yaml`],
  ];
  for (const [code, bad, marked, fine] of traps) {
    it(`${code}: ${bad.slice(ptq.length + 1)}`, async () => {
      const places = async (script: string): Promise<string[]> => (await load(script)).problems.filter((problem) => problem.code === code).map(({ range }) => (range ? documentOf(script).getText(range) : ''));
      assert.deepEqual([await places(bad), await places(fine)], [[marked], []]);
    });
  }
  it('every code has a trap', () => {
    assert.deepEqual(Object.keys(dialectCodes).filter((code) => code.startsWith('deepcompressor-run/') && !traps.some(([trap]) => trap === code)), []);
  });

  it('are found in any command of a script, and nowhere else', async () => {
    assert.equal(couldBeDialect(good), true);
    for (const script of [`#!/bin/sh\nA=1 accelerate launch -m deepcompressor.app.diffusion.ptq configs/x.yaml`, 'cd .. && torchrun deps/deepcompressor/app/diffusion/ptq.py configs/x.yaml']) {
      assert.deepEqual(await found(script), ['warning deepcompressor-run/file [configs/x.yaml]']);
    }
    for (const script of ['# python -m deepcompressor.app.diffusion.ptq x.yaml\necho', 'python -m deepcompressor.app.llm.ptq configs/x.yaml']) {
      assert.deepEqual(await loadDialects(documentOf(script, 'run.sh'), join(folder(files), 'run.sh'), new CheckpointStore()), []);
    }
  });

  it('merge defaults, files and flags in that order', async () => {
    const { problems } = await load(`${ptq} configs/model/flux.yaml configs/svdquant/int4.yaml --seed 2`);
    assert.deepEqual(problems.filter(({ code }) => code === 'deepcompressor-run/order').map(({ message }) => message),
      ['Merged in this order, what comes later counts: configs/__default__.yaml, configs/svdquant/__default__.yaml, configs/model/flux.yaml, configs/svdquant/int4.yaml, then the flags.']);
  });

  it('name what a later file sets anew, and what it was', async () => {
    const [problem] = own((await load(`${ptq} configs/svdquant/int4.yaml configs/svdquant/int8.yaml`)).problems);
    assert.equal(problem?.message, 'configs/svdquant/int8.yaml comes after configs/svdquant/int4.yaml and sets anew what that sets: quant.wgts.dtype ("sint8" instead of "sint4").');
    // A mapping is merged; what a default sets is there to be replaced.
    assert.deepEqual(await found(`${ptq} configs/model/flux.yaml configs/svdquant/int4.yaml configs/grids.yaml`), []);
  });

  it('have the findings of the merged config, where the word stands that is to blame', async () => {
    assert.deepEqual(await found(`${ptq} configs/model/flux.yaml configs/role.yaml configs/svdquant/int4.yaml`),
      ['warning deepcompressor-run/overrides [configs/role.yaml]', 'error deepcompressor/role [configs/role.yaml]']);
    assert.deepEqual(await found(`${good} --ipts-dtype sint4x`), ['info deepcompressor-run/overrides [--ipts-dtype]', 'error deepcompressor/dtype [--ipts-dtype]']);
    // Its fixes are for the text of a config.
    const { problems } = await load(`${good} --wgts-skips embd`);
    assert.deepEqual(problems.filter(({ code }) => code === 'deepcompressor/role').map(({ data }) => data), [undefined]);
  });

  it('are counted on a checkpoint as the merged config is', async () => {
    const { entries, decisions, uncovered } = await load(good, {}, 'FLUX.1-dev');
    assert.deepEqual(entries.map(({ text, matchedLayers, decidedLayers }) => [text, matchedLayers, decidedLayers]), [['configs/model/flux.yaml', 86, 86]]);
    const labels = decisions.map(({ treatment }) => treatment.label);
    const many = (label: string): number => labels.filter((each) => each === label).length;
    assert.deepEqual([many('weights sint4, activations sint4'), many('weights quantized, activations kept'), uncovered.layers.length, uncovered.treatment.label], [418, 76, 418, 'weights sint4, activations sint4']);
    const flagged = await load(`${good} --ipts-skips embed`, {}, 'FLUX.1-dev');
    assert.equal(flagged.decisions.filter(({ treatment }) => treatment.label === 'weights sint4, activations sint4').length, 494);
  });

  it('are read one by one, each with its own layers and findings', async () => {
    const script = `set -e\n${good}\n\nexport A=1 && ${ptq} configs/model/flux.yaml configs/svdquant/int8.yaml --ipts-skips embed # twice\n${ptq} $CONFIG\n`;
    const store = { recent: () => Promise.resolve(publishedCheckpoint('FLUX.1-dev')) } as unknown as CheckpointStore;
    const loaded = await loadDialects(documentOf(script, 'run.sh'), join(folder(files), 'scripts', 'run.sh'), store, '/model');
    assert.deepEqual(loaded.map(({ file: { part }, uncovered, decisions }) => [part?.at.start.line, uncovered.treatment.label, decisions.length]),
      [[1, 'weights sint4, activations sint4', 504], [3, 'weights sint8, activations kept', 504], [4, 'as the merged files say', 0]]);
    assert.deepEqual(loaded.map(({ problems }) => problems.map(({ range }) => range?.start.line).every((line, _, all) => line === all[0])), [true, true, true]);
  });

  it('say nothing of layers where files are missing or the shell puts something in', async () => {
    for (const script of [`${ptq} configs/none.yaml`, `${ptq} $MODEL configs/svdquant/int4.yaml`, `${ptq} configs/list.txt`, `${ptq} /configs/model/flux.yaml configs/svdquant/int4.yaml`]) {
      const { decisions, parsed } = await load(script, {}, 'FLUX.1-dev');
      assert.deepEqual([decisions, parsed.incomplete], [[], true]);
    }
  });
});

describe('flags of deepcompressor', () => {
  it('are the paths of keys without quant, each once', () => {
    // As `python -m deepcompressor.app.diffusion.ptq --help` of version 0.1.0 lists them.
    assert.deepEqual([flags.length, new Set(flags.map(({ name }) => name)).size], [323, 323]);
    assert.deepEqual(flagOf('--wgts-low-rank-num-iters'), { name: '--wgts-low-rank-num-iters', path: 'quant.wgts.low_rank.num_iters', takes: 'value' });
    assert.deepEqual(flagOf('--text-smooth-attn-spans'), { name: '--text-smooth-attn-spans', path: 'text.smooth.attn.spans', takes: 'list' });
    assert.deepEqual(flagOf('--eval-chunk-only'), { name: '--eval-chunk-only', path: 'eval.chunk_only', takes: 'switch' });
  });

  it('may be abbreviated as long as they are clear', () => {
    assert.deepEqual(flagOf('--develop'), flagOf('--develop-dtype'));
    assert.deepEqual(flagOf('--wgts-low-rank-ea'), flagOf('--wgts-low-rank-early-stop'));
    assert.deepEqual(flagOf('--wgts-d'), flagOf('--wgts-dtype'));
    assert.match((flagOf('--pipeline-lora') as { why: string }).why, /^"--pipeline-lora" is the beginning of 3 flags, such as --pipeline-lora-path$/);
  });
});
