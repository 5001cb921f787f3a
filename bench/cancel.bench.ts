/** From a cancel to the answer of the cancelled request, on the built language server: the bundled example, and DiT-XL/2 in full size with random weights. */
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CancellationTokenSource, LSPErrorCodes, ResponseError, createProtocolConnection } from 'vscode-languageserver/node';
import type { ProtocolConnection } from 'vscode-languageserver/node';
import { URI } from 'vscode-uri';
import { writeSafetensors } from '../server/src/checkpoint/values';
import type { Requests } from '../server/src/protocol';
import { torchRandn } from '../server/src/samplers/noise';
import { writeFullSize } from '../test/fixtures/fullSize';

const root = resolve(__dirname, '..');
const rounds = 12;

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'quantscope-cancel-'));
  const server = spawn(process.execPath, [join(root, 'dist/cli.js'), 'lsp', '--stdio'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const connection = createProtocolConnection(server.stdout, server.stdin);
  connection.listen();
  try {
    await connection.sendRequest('initialize', { processId: process.pid, rootUri: null, capabilities: {}, initializationOptions: { cacheDirectory: join(folder, 'cache') } });
    await connection.sendNotification('initialized', {});
    cpSync(join(root, 'examples/glyph-dit'), join(folder, 'glyph-dit'), { recursive: true });
    await writeLarge(join(folder, 'large'));
    const scheme = 'defaults: { method: orbitquant, scheme: W4A4 }';
    await measure(connection, 'example', await open(connection, join(folder, 'a.quant.yaml'), `version: 1\ncheckpoint: ./glyph-dit\n${scheme}\npreview: { classes: [1, 2, 3, 4], steps: 60, mode: free }\n`), join(folder, 'a.safetensors'));
    await measure(connection, 'DiT-XL/2', await open(connection, join(folder, 'b.quant.yaml'), `version: 1\ncheckpoint: ./large\n${scheme}\npreview: { classes: [1], steps: 4, mode: forced, compareSteps: 4 }\n`), join(folder, 'b.safetensors'));
    await connection.sendRequest('shutdown');
    await connection.sendNotification('exit');
  } finally {
    server.kill();
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

async function open(connection: ProtocolConnection, path: string, text: string): Promise<string> {
  const uri = URI.file(path).toString();
  await connection.sendNotification('textDocument/didOpen', { textDocument: { uri, languageId: 'quantconfig', version: 1, text } });
  // A new server's first plan compiles schema and patterns; an editor has asked for it long before.
  await connection.sendRequest('quantscope/plan', { uri });
  return uri;
}

/** Cancels at moments spread over the first seconds of each job: reference, quantizing, candidate, decoder. */
async function measure(connection: ProtocolConnection, name: string, uri: string, path: string): Promise<void> {
  const jobs: Record<string, (token: CancellationTokenSource['token']) => Promise<unknown>> = {
    preview: (token) => connection.sendRequest('quantscope/preview', { candidates: [{ uri }], session: 1 } satisfies Requests['quantscope/preview']['params'], token),
    capture: (token) => connection.sendRequest('quantscope/capture', { uri, path } satisfies Requests['quantscope/capture']['params'], token),
    analyze: (token) => connection.sendRequest('quantscope/analyze', { uri } satisfies Requests['quantscope/analyze']['params'], token),
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
    times.sort((a, b) => a - b);
    const show = (time: number | undefined): string => (time === undefined ? '–' : `${time.toFixed(0)} ms`);
    console.log(`${name}, ${what}: ${times.length} of ${rounds} cancelled, median ${show(times[Math.floor(times.length / 2)])}, slowest ${show(times.at(-1))}`);
  }
}

void main();
