/** What previews of text-conditional models ask for: settings that fit, embeddings that belong to the model, and messages that say what to do. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { CheckpointError, openCheckpoint } from '../../../server/src/checkpoint';
import { writeSafetensors } from '../../../server/src/checkpoint/values';
import type { TensorValues } from '../../../server/src/checkpoint/values';
import { ModelError } from '../../../server/src/models/builder';
import { openPipeline } from '../../../server/src/preview/pipelines';
import type { Pipeline } from '../../../server/src/preview/pipelines';
import { fileName } from '../../../server/src/preview/prompts';
import type { PreviewSettings } from '../../../server/src/protocol';
import { temporaryFolders } from '../../fixtures/folder';
import { tinyPixart, tinyWan } from '../../fixtures/pipelines';
import { safetensors } from '../../fixtures/safetensors';

const fox = { prompts: ['a red fox'] };

describe('preview pipelines', () => {
  const folder = temporaryFolders();
  const open = async (place: string, written: Partial<PreviewSettings>): Promise<Pipeline> => openPipeline(await openCheckpoint(join(place, 'model')), written, place);
  async function pixart(): Promise<string> {
    const place = folder();
    await tinyPixart(place);
    return place;
  }
  async function wan(): Promise<string> {
    const place = folder();
    await tinyWan(place);
    return place;
  }
  async function change(path: string, edit: (value: Record<string, unknown>) => void): Promise<void> {
    const value = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
    edit(value);
    writeFileSync(path, JSON.stringify(value));
  }
  async function refuses(place: string, written: Partial<PreviewSettings>, message: RegExp): Promise<void> {
    await assert.rejects(open(place, written), (error: Error) => (error instanceof ModelError || error instanceof CheckpointError) && message.test(error.message) || assert.fail(`${error.name}: ${error.message}`));
  }

  describe('settings', () => {
    it('come from the model where the config is silent', async () => {
      const { settings } = await open(await pixart(), fox);
      assert.deepEqual(settings, { classes: [], prompts: ['a red fox'], steps: 20, seed: 0, guidance: 4.5, width: 16, height: 16, frames: 1, decoder: 'vae', mode: 'forced', compareSteps: 4 });
      const video = (await open(await wan(), { ...fox, decoder: 'taehv.safetensors' })).settings;
      assert.deepEqual([video.width, video.height, video.frames, video.guidance, video.steps], [448, 256, 5, 5, 20]);
    });

    it('must fit patch and VAE', async () => {
      const place = await pixart();
      await refuses(place, { ...fox, width: 30 }, /"width: 30" does not fit: .*multiples of 4 pixels \(patch 2 × VAE factor 2\), such as 28 or 32/);
      await refuses(place, { ...fox, height: 3 }, /"height: 3" does not fit: .*such as 4\./);
      await refuses(place, { ...fox, frames: 5 }, /"frames: 5" is for video models/);
      await refuses(place, { ...fox, width: 4096, height: 4096 }, /1048576 tokens; a preview takes at most/);
      const video = await wan();
      await refuses(video, { ...fox, decoder: 'taehv.safetensors', frames: 6 }, /4n \+ 1 frames, such as 5 or 9/);
      await refuses(video, { ...fox, decoder: 'taehv.safetensors', width: 24 }, /multiples of 16 pixels.*16 or 32/);
    });

    it('of classes and of text are not mixed up', async () => {
      const place = await pixart();
      await refuses(place, { ...fox, classes: [1] }, /"classes" belongs to class-conditional models.*"prompts"/);
      await refuses(place, {}, /name at least one prompt.*docs\/prompts\.md/);
      const dit = await openCheckpoint(resolve(__dirname, '../../../examples/glyph-dit'));
      await assert.rejects(openPipeline(dit, fox, place), /"prompts" belongs to models of text.*"classes"/);
    });

    it('decide the number of calls, and every one of them names its trajectory', async () => {
      const place = await pixart();
      assert.deepEqual([(await open(place, fox)).calls, (await open(place, { ...fox, guidance: 1 })).calls], [2, 1]);
      const identity = async (written: Partial<PreviewSettings>): Promise<string> => JSON.stringify((await open(place, { ...fox, ...written })).identity(0));
      const all = await Promise.all([{}, { width: 24 }, { height: 24 }, { seed: 1 }, { steps: 3 }, { guidance: 2 }].map(identity));
      assert.equal(new Set(all).size, all.length);
      assert.equal(await identity({ mode: 'free', compareSteps: 2 }), all[0], 'what is compared does not change the trajectory');
      await change(join(place, 'model/scheduler/scheduler_config.json'), (scheduler) => { scheduler['beta_end'] = 0.01; });
      const rescheduled = await identity({});
      await rewrite(place, (tensors) => { tensors['prompt_embeds']?.data.fill(7); });
      assert.equal(new Set([all[0], rescheduled, await identity({})]).size, 3, 'scheduler and embeddings count');
    });
  });

  describe('pipeline folders', () => {
    it('may hold the infinities that Python writes', async () => {
      const place = await pixart();
      const path = join(place, 'model/scheduler/scheduler_config.json');
      writeFileSync(path, readFileSync(path, 'utf8').replace('{', '{"lambda_min_clipped": -Infinity, "list": [Infinity,NaN], '));
      const pipeline = await open(place, fox);
      assert.equal(pipeline.sampler().timesteps.length, 20);
    });

    it('with options or models that cannot be run are refused, not run another way', async () => {
      const [image, video] = [await pixart(), await wan()];
      await change(join(image, 'model/scheduler/scheduler_config.json'), (scheduler) => { scheduler['use_karras_sigmas'] = true; });
      const pipeline = await open(image, fox);
      assert.throws(() => pipeline.sampler(), /DPMSolverMultistepScheduler with "use_karras_sigmas": true is not known; false or null can be run/);
      await change(join(video, 'model/model_index.json'), (index) => { index['boundary_ratio'] = 0.9; });
      await refuses(video, { ...fox, decoder: 'taehv.safetensors' }, /Wan 2\.2.*previews run Wan 2\.1/);
    });
  });

  describe('decoders', () => {
    it('must be for this kind of model and its latents', async () => {
      const [image, video] = [await pixart(), await wan()];
      await refuses(video, fox, /has no VAE.*4 channels.*preview: \{ decoder/);
      await refuses(image, { ...fox, decoder: join(video, 'taehv.safetensors') }, /decodes videos, this model makes pictures.*AutoencoderTiny/);
      await refuses(video, { ...fox, decoder: join(image, 'model/vae') }, /decodes pictures, this model makes videos.*TAEHV/);
      await refuses(image, { ...fox, decoder: './gone' }, /gone/);
      await refuses(image, { ...fox, decoder: './model/transformer' }, /no decoder for PixArtTransformer2DModel/);
      await change(join(image, 'model/transformer/config.json'), (config) => { config['in_channels'] = 16; });
      await refuses(image, fox, /decodes latents of 4 channels; this model makes 16.*taesdxl for PixArt/);
    });

    it('count in the estimate', async () => {
      const pipeline = await open(await pixart(), { ...fox, width: 32 });
      assert.ok(pipeline.decodeFlops() > 0 && pipeline.flops(0) > 0);
      const smaller = await open(await pixart(), { ...fox, width: 16 });
      assert.equal(pipeline.decodeFlops(), 2 * smaller.decodeFlops());
    });
  });

  describe('prompts', () => {
    it('get file names from their words', () => {
      assert.equal(fileName('A red fox, in “snow”!'), 'a-red-fox-in-snow.safetensors');
      assert.equal(fileName('  雪の中の狐 '), '雪の中の狐.safetensors');
      assert.equal(fileName('…'), 'prompt.safetensors');
      assert.ok(fileName('word '.repeat(100)).length < 80);
    });

    it('are found by text among files of other encoders, other formats and damaged ones', async () => {
      const place = await pixart();
      const prompts = join(place, 'prompts');
      await writeSafetensors(join(prompts, 'a.safetensors'), {}, { format: 'quantscope-prompt-1', encoder: 'FluxPipeline', prompt: 'a red fox' });
      writeFileSync(join(prompts, 'b.safetensors'), 'not a safetensors file');
      writeFileSync(join(prompts, 'c.safetensors'), safetensors({ x: { dtype: 'F32', shape: [1] } }, { prompt: 'a red fox', encoder: 'PixArtSigmaPipeline' }));
      assert.deepEqual((await open(place, { prompts: [' a red fox'] })).items, ['a red fox']);
      await refuses(place, { prompts: ['a blue fox'] }, /no embeddings of "a blue fox".*there: "a red fox".*Not readable: b\.safetensors/);
      copyFileSync(join(prompts, 'a-red-fox.safetensors'), join(prompts, 'z.safetensors'));
      await refuses(place, fox, /a-red-fox\.safetensors and z\.safetensors.*both hold "a red fox"/);
    });

    it('may be files anywhere, which are named when they are wrong', async () => {
      const place = await pixart();
      const path = { prompts: ['prompts/a-red-fox.safetensors'] };
      assert.deepEqual((await open(place, path)).items, ['a red fox']);
      await refuses(place, { prompts: ['prompts/gone.safetensors'] }, /gone\.safetensors/);
      await rewrite(place, () => undefined, { encoder: 'FluxPipeline' });
      await refuses(place, path, /a-red-fox\.safetensors: made by the encoder of FluxPipeline; this model needs that of PixArtSigmaPipeline/);
      rmSync(join(place, 'prompts'), { recursive: true });
      mkdirSync(join(place, 'prompts/a-red-fox.safetensors'), { recursive: true });
      await refuses(place, path, /a-red-fox/);
    });

    const wrong: [string, (tensors: Record<string, TensorValues>) => void, RegExp][] = [
      ['no embeddings', (tensors) => { delete tensors['prompt_embeds']; }, /there is no "prompt_embeds"/],
      ['another width', (tensors) => { tensors['prompt_embeds'] = zeros(6, 7); }, /"prompt_embeds" is \[6, 7\]; this model needs \[rows, 24\]/],
      ['a batch of two', (tensors) => { tensors['prompt_embeds'] = zeros(2, 6, 24); }, /"prompt_embeds" is \[2, 6, 24\]/],
      ['no rows', (tensors) => { tensors['prompt_embeds'] = zeros(0, 24); }, /"prompt_embeds" is \[0, 24\]/],
      ['too many rows', (tensors) => { tensors['prompt_embeds'] = zeros(5000, 24); }, /with 1 to 4096 rows/],
      ['NaN', (tensors) => { tensors['prompt_embeds']?.data.fill(NaN, 30); }, /a-red-fox\.safetensors: "prompt_embeds" holds NaN at position 30.*bfloat16/],
      ['a mask of another length', (tensors) => { tensors['prompt_attention_mask'] = zeros(5); }, /"prompt_attention_mask" is \[5\]; this model needs \[6\]/],
      ['a mask of nothing', (tensors) => { tensors['prompt_attention_mask'] = zeros(6); }, /"prompt_attention_mask" must hold 1/],
      ['no mask', (tensors) => { delete tensors['prompt_attention_mask']; }, /attention mask is missing.*PixArt pads/],
      ['no negative prompt', (tensors) => { delete tensors['negative_prompt_embeds']; }, /no "negative_prompt_embeds", which guidance needs.*turn guidance off/],
    ];
    for (const [what, edit, message] of wrong) {
      it(`are refused with ${what}`, async () => {
        const place = await pixart();
        await rewrite(place, edit);
        await refuses(place, fox, message);
      });
    }

    it('need no negative half without guidance', async () => {
      const place = await pixart();
      await rewrite(place, (tensors) => { delete tensors['negative_prompt_embeds']; });
      assert.equal((await open(place, { ...fox, guidance: 1 })).calls, 1);
    });

    it('are at most 512 rows for Wan', async () => {
      const place = await wan();
      const { tensors, metadata } = promptOf(20, 513);
      await writeSafetensors(join(place, 'prompts/a-red-fox.safetensors'), tensors, { ...metadata, encoder: 'WanPipeline' });
      await refuses(place, { ...fox, decoder: 'taehv.safetensors' }, /513 rows of embeddings; Wan takes at most 512.*max_sequence_length=512/);
    });
  });
});

const zeros = (...shape: number[]): TensorValues => ({ shape, data: new Float32Array(shape.reduce((product, size) => product * size, 1)) });

function promptOf(width: number, rows: number): { tensors: Record<string, TensorValues>; metadata: Record<string, string> } {
  const mask = (): TensorValues => ({ shape: [rows], data: new Float32Array(rows).fill(1) });
  return {
    tensors: { prompt_embeds: zeros(rows, width), negative_prompt_embeds: zeros(rows, width), prompt_attention_mask: mask(), negative_prompt_attention_mask: mask() },
    metadata: { format: 'quantscope-prompt-1', encoder: 'PixArtSigmaPipeline', prompt: 'a red fox' },
  };
}

/** The fox of PixArt anew: zeros, changed by `edit`. */
async function rewrite(place: string, edit: (tensors: Record<string, TensorValues>) => void, changes: Record<string, string> = {}): Promise<void> {
  const { tensors, metadata } = promptOf(24, 6);
  edit(tensors);
  await writeSafetensors(join(place, 'prompts/a-red-fox.safetensors'), tensors, { ...metadata, ...changes });
}
