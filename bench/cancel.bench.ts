/** From a cancel to the answer of the cancelled request, on the built language server: the bundled example, and DiT-XL/2 in full size with random weights. */
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CancellationTokenSource, LSPErrorCodes, ResponseError } from 'vscode-languageserver/node';
import { writeSafetensors } from '../server/src/checkpoint/values';
import { torchRandn } from '../server/src/samplers/noise';
import { writeFullSize } from '../test/fixtures/fullSize';
import { quantile, row } from './row';
import { root, startServer } from './server';
import type { BenchServer } from './server';

const TARGET_MS = 100;
const rounds = 12;

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'quantscope-cancel-'));
  const server = await startServer(join(folder, 'cache'));
  try {
    cpSync(join(root, 'examples/glyph-dit'), join(folder, 'glyph-dit'), { recursive: true });
    await writeLarge(join(folder, 'large'));
    const scheme = 'defaults: { method: orbitquant, scheme: W4A4 }';
    await measure(server, 'the example', await server.open(join(folder, 'a.quant.yaml'), `version: 1\ncheckpoint: ./glyph-dit\n${scheme}\npreview: { classes: [1, 2, 3, 4], steps: 60, mode: free }\n`), join(folder, 'a.safetensors'));
    await measure(server, 'DiT-XL/2', await server.open(join(folder, 'b.quant.yaml'), `version: 1\ncheckpoint: ./large\n${scheme}\npreview: { classes: [1], steps: 4, mode: forced, compareSteps: 4 }\n`), join(folder, 'b.safetensors'));
  } finally {
    await server.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A pipeline around the transformer, with a tiny decoder in the widths of taesd. */
async function writeLarge(folder: string): Promise<void> {
  writeFullSize(join(folder, 'transformer'), 'DiT-XL/2-256');
  for (const part of ['scheduler', 'vae']) {
    mkdirSync(join(folder, part));
  }
  writeFileSync(join(folder, 'model_index.json'), JSON.stringify({ _class_name: 'DiTPipeline', transformer: ['diffusers', 'DiTTransformer2DModel'], scheduler: ['diffusers', 'DDIMScheduler'], vae: ['diffusers', 'AutoencoderTiny'] }));
  cpSync(join(root, 'examples/glyph-dit/scheduler'), join(folder, 'scheduler'), { recursive: true });
  const counts = [3, 3, 3, 1];
  writeFileSync(join(folder, 'vae/config.json'), JSON.stringify({ _class_name: 'AutoencoderTiny', num_decoder_blocks: counts, latent_channels: 4 }));
  const conv = (out: number, width: number): { shape: number[]; data: Float32Array } => ({ shape: [out, width, 3, 3], data: torchRandn(out * width * 9, out + width).map((value) => value / Math.sqrt(9 * width)) });
  const tensors: Record<string, ReturnType<typeof conv>> = { 'decoder.layers.0.weight': conv(64, 4) };
  let layer = 2;
  counts.forEach((count, level) => {
    for (let i = 0; i < count; i++, layer++) {
      [0, 2, 4].forEach((at) => { tensors[`decoder.layers.${layer}.conv.${at}.weight`] = conv(64, 64); });
    }
    layer += level < counts.length - 1 ? 1 : 0;
    tensors[`decoder.layers.${layer++}.weight`] = conv(level < counts.length - 1 ? 64 : 3, 64);
  });
  await writeSafetensors(join(folder, 'vae/diffusion_pytorch_model.safetensors'), tensors);
}

/** Cancels at moments spread over the first seconds of each job: reference, quantizing, candidate, decoder. */
async function measure(server: BenchServer, name: string, uri: string, path: string): Promise<void> {
  const jobs: Record<string, (token: CancellationTokenSource['token']) => Promise<unknown>> = {
    preview: (token) => server.request('quantscope/preview', { candidates: [{ uri }], session: 1 }, token),
    capture: (token) => server.request('quantscope/capture', { uri, path }, token),
    analyze: (token) => server.request('quantscope/analyze', { uri }, token),
  };
  for (const [what, job] of Object.entries(jobs)) {
    const times: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const source = new CancellationTokenSource();
      const running = job(source.token).then(() => false, (error: unknown) => {
        if (error instanceof ResponseError && error.code === LSPErrorCodes.RequestCancelled) {
          return true;
        }
        throw error;
      });
      await sleep(20 + (round * 8000) / rounds);
      const started = performance.now();
      source.cancel();
      if (await running) {
        times.push(performance.now() - started);
      }
    }
    const [median, slowest] = [quantile(times, 0.5), quantile(times, 1)];
    row(times.length === 0 ? { what: `cancel of ${what}, ${name}`, measured: `ended before each of ${rounds} cancels` }
      : { what: `cancel of ${what}, ${name}`, measured: `median ${median.toFixed(0)} ms, slowest ${slowest.toFixed(0)} ms of ${times.length}`, target: `< ${TARGET_MS} ms`, met: median < TARGET_MS });
  }
}

void main();
