/** Previews and captures of text-conditional models, run as a user runs them, on tiny random pipelines. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { decode } from 'fast-png';
import type { PreviewAgreement, PreviewSettings } from '../../server/src/protocol';
import { temporaryFolders } from '../fixtures/folder';
import { tinyPixart, tinyWan } from '../fixtures/pipelines';

const root = resolve(__dirname, '../..');

interface Printed { images: { path: string; candidate: number; frame: number; step: number | null; width: number; height: number }[]; items: string[]; settings: PreviewSettings; metrics: PreviewAgreement }

function quantscope(...args: string[]): { code: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'bin/quantscope.js'), ...args, '--cache', 'none'], { encoding: 'utf8', maxBuffer: 1 << 28 });
  return { code: status, out: stdout, err: stderr };
}

describe('previews of text-conditional models', function () {
  this.timeout(60_000);
  const folder = temporaryFolders();

  function config(place: string, preview: Record<string, unknown>, scheme = 'W4A4'): string {
    const path = join(place, 'q.quant.yaml');
    writeFileSync(path, `version: 1\ncheckpoint: ./model\nrules:\n  - layers: ["**.to_*", "**.to_out.0"]\n    method: rtn\n    scheme: ${scheme}\npreview: ${JSON.stringify(preview)}\n`);
    return path;
  }
  function run(place: string, preview: Record<string, unknown>, scheme?: string): Printed {
    const { code, out, err } = quantscope('preview', config(place, preview, scheme), '--out', join(place, 'out'), '--json');
    assert.equal(code, 0, err);
    return JSON.parse(out) as Printed;
  }

  it('PixArt: pictures of both sides, worse with fewer bits', async () => {
    const place = folder();
    await tinyPixart(place);
    const settings = { prompts: ['a red fox'], steps: 4, compareSteps: 2, width: 24, height: 16 };
    const coarse = run(place, settings);
    assert.deepEqual(coarse.items, ['a red fox']);
    assert.deepEqual([coarse.settings.guidance, coarse.settings.classes, coarse.settings.frames], [4.5, [], 1]);
    assert.deepEqual(readdirSync(join(place, 'out')).sort(), ['item0-quantized-step1.png', 'item0-quantized-step3.png', 'item0-reference-step1.png', 'item0-reference-step3.png']);
    assert.deepEqual([...new Set(coarse.images.map(({ path }) => decode(readFileSync(path))).map(({ width, height }) => `${width} × ${height}`))], ['24 × 16']);
    const fine = run(place, settings, 'W8A8');
    const [high, low] = [fine.metrics.latentPsnrDb ?? NaN, coarse.metrics.latentPsnrDb ?? NaN];
    assert.ok(high > low + 10, `W8A8 ${high} dB, W4A4 ${low} dB`);
    assert.deepEqual(run(place, { ...settings, prompts: ['prompts/a-red-fox.safetensors'] }).metrics, coarse.metrics, 'text and path name the same embeddings');
    assert.notDeepEqual(run(place, { ...settings, guidance: 1 }).metrics, coarse.metrics);
  });

  it('Wan: one PNG per frame, names in order', async () => {
    const place = folder();
    await tinyWan(place);
    const { images, settings } = run(place, { prompts: ['a red fox'], steps: 3, compareSteps: 1, width: 32, height: 16, frames: 13, mode: 'free', decoder: './taehv.safetensors' });
    assert.deepEqual([settings.guidance, settings.frames], [5, 13]);
    const names = (who: string): string[] => Array.from({ length: 13 }, (_, frame) => `item0-${who}-frame${String(frame).padStart(2, '0')}.png`);
    assert.deepEqual(readdirSync(join(place, 'out')).sort(), [...names('quantized'), ...names('reference')]);
    assert.deepEqual(images.map(({ path, frame, width, height }) => [path.endsWith(`frame${String(frame).padStart(2, '0')}.png`), width, height]), images.map(() => [true, 32, 16]));
    const pictures = images.filter(({ candidate }) => candidate < 0).map(({ path }) => Buffer.from(readFileSync(path)).toString('base64'));
    assert.equal(new Set(pictures).size, 13, 'every frame is another picture');
    const { out } = quantscope('preview', join(place, 'q.quant.yaml'), '--out', join(place, 'out'));
    assert.match(out, /26 pictures of 1 items in .*out \(32 × 16, 13 frames, free, 3 steps, guidance 5, seed 0\)/);
  });

  it('capture sees both halves of guidance', async () => {
    const place = folder();
    await tinyWan(place);
    const path = config(place, { prompts: ['a red fox'], steps: 2, compareSteps: 1, width: 32, height: 16, frames: 5, decoder: 'taehv.safetensors' });
    const { code, out, err } = quantscope('capture', path, '--out', join(place, 'c.safetensors'), '--layers', '**.attn2.to_*', '--json');
    assert.equal(code, 0, err);
    const { captures } = JSON.parse(out) as { captures: { layer: string; half: string; rows: number }[] };
    // 2 × 1 × 2 tokens of the video ask, 512 rows of text answer.
    assert.deepEqual(captures.map(({ layer, half, rows }) => `${layer} ${half} ${rows}`).filter((each) => /to_[qk] /.test(each)).sort(), [
      'blocks.0.attn2.to_k conditional 512', 'blocks.0.attn2.to_k unconditional 512', 'blocks.0.attn2.to_q conditional 4', 'blocks.0.attn2.to_q unconditional 4',
    ]);
  });

  it('ends with 2 and says what to do where embeddings are missing', async () => {
    const place = folder();
    await tinyPixart(place);
    const { code, out, err } = quantscope('preview', config(place, { prompts: ['A blue fox!'], width: 16, height: 16 }), '--out', join(place, 'out'));
    assert.deepEqual([code, out], [2, '']);
    assert.match(err, /no embeddings of "A blue fox!" for PixArtSigmaPipeline in .*prompts\. .*script for PixArtSigmaPipeline in .*docs\/prompts\.md.*prompts\/a-blue-fox\.safetensors.*"a red fox"/);
    rmSync(join(place, 'prompts'), { recursive: true });
    assert.match(quantscope('preview', join(place, 'q.quant.yaml'), '--out', join(place, 'out')).err, /no embeddings of "A blue fox!"/);
  });
});
