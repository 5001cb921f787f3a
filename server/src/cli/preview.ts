import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { URI } from 'vscode-uri';
import { replaceFile } from '../analysis/evidence';
import { ranOn } from '../preview/device';
import { deployedText } from '../preview/deployed';
import { pictureName } from '../preview/png';
import type { PreviewAgreement, PreviewFrame, PreviewResult, PreviewSettings, PreviewStep } from '../protocol';
import { preview as runPreview } from '../preview/service';
import { UsageError } from './command';
import type { Command, CommandContext } from './command';
import { significant, table } from './table';

export const preview: Command = {
  name: 'preview',
  usage: '<config> --out folder [--against other.quant.yaml] [--rule N] [--mode forced|free] [--steps N] [--seed N] [--as-deployed]',
  summary: 'Reference and quantized pictures of a model, and how much they differ.',
  options: { out: { type: 'string' }, against: { type: 'string' }, rule: { type: 'string' }, mode: { type: 'string' }, steps: { type: 'string' }, seed: { type: 'string' }, 'as-deployed': { type: 'boolean' } },
  async run(context) {
    const { out, against, mode } = context.values;
    if (typeof out !== 'string') {
      throw new UsageError('Name the folder for the pictures: preview <config> --out folder');
    }
    if (mode !== undefined && mode !== 'forced' && mode !== 'free') {
      throw new UsageError(`--mode must be forced or free, not "${String(mode)}".`);
    }
    const asDeployed = context.values['as-deployed'] === true;
    const path = context.path('config');
    const rule = context.integer('rule', 1, 4096);
    const configs = await Promise.all([path, ...(typeof against === 'string' ? [resolve(against)] : [])].map(async (each, i) =>
      ({ uri: URI.file(each).toString(), loaded: await context.requirePlan(each), ...(rule !== undefined && i === 0 ? { rule: rule - 1 } : {}) })));
    const [steps, seed] = [context.integer('steps', 1, 1000), context.integer('seed', 0, 999_999_999)];
    const changes: Partial<PreviewSettings> = { ...(mode ? { mode } : {}), ...(steps === undefined ? {} : { steps }), ...(seed === undefined ? {} : { seed }) };
    const result = await runPreview(configs, { cacheFolder: context.cacheFolder, cancellation: context.cancel.token, onProgress: (fraction, what) => context.progress(fraction, what) }, context.engine, changes, asDeployed);
    const images = await writePictures(result, resolve(out));
    const [first] = result.candidates;
    const { frames, ...numbers } = result;
    context.print({ ...numbers, images, metrics: { ...first?.metrics, perStep: first?.perStep ?? [] }, scope: first?.scope, seed: result.settings.seed }, () => describe(result, resolve(out)));
    warn(context, result);
    return result.reference.finite ? 0 : 1;
  },
};

/** item<i>-<reference | quantized[-n]>[-step<k>][-frame<f>].png */
async function writePictures(result: PreviewResult, folder: string): Promise<Record<string, unknown>[]> {
  await mkdir(folder, { recursive: true });
  const images: Record<string, unknown>[] = [];
  for (const frame of result.frames) {
    const path = join(folder, fileName(frame, result));
    await replaceFile(path, Buffer.from(frame.png, 'base64'));
    const { png, ...about } = frame;
    images.push({ path, ...about });
  }
  return images;
}

function fileName(frame: PreviewFrame, { candidates, settings }: PreviewResult): string {
  return pictureName(frame.candidate < 0 ? 'reference' : candidates.length > 1 ? `quantized-${frame.candidate + 1}` : 'quantized', frame, settings.frames);
}

function describe({ candidates, settings, items, frames, device }: PreviewResult, folder: string): string {
  const db = (value: number | null): string => (value === null ? 'equal' : value.toFixed(2));
  const steps = (perStep: readonly PreviewStep[]): string => table(['step', 't', 'output error ↓', 'latent cosine ↑', 'latent PSNR dB ↑', 'PSNR dB ↑', 'SSIM ↑'],
    perStep.map((each) => [String(each.step), each.timestep.toFixed(0), significant(each.outputRelativeMse), each.latentCosine.toFixed(5), db(each.latentPsnrDb), db(each.psnrDb), each.ssim.toFixed(4)]));
  const numbers = (perStep: readonly PreviewStep[], { psnrDb, ssim, latentCosine }: PreviewAgreement): string =>
    `${steps(perStep)}\n${settings.mode === 'forced' ? 'mean of the compared steps' : 'finished sample'}: PSNR ${db(psnrDb)} dB, SSIM ${ssim.toFixed(4)}, latent cosine ${latentCosine.toFixed(5)}\n`;
  return [
    ...candidates.map(({ label, scope, perStep, metrics, deployed }) =>
      `${label}: ${scope.quantizedLayers} of ${scope.layers} layers quantized, ${scope.paramsPercent.toFixed(2)} % of the weights, ${scope.averageBits.toFixed(3)} bits on average\n\n${numbers(perStep, metrics)}${
        deployed ? `${deployedText(deployed)}\n\nBeside fake quantization:\n${numbers(deployed.perStep, deployed.metrics)}` : ''}`),
    `${frames.length} pictures of ${items.length} items in ${folder} (${settings.width} × ${settings.height}${settings.frames > 1 ? `, ${settings.frames} frames` : ''}, ${settings.mode}, ${settings.steps} steps, guidance ${settings.guidance}, seed ${settings.seed}).`,
    ...(device ? [ranOn(device)] : []),
  ].join('\n');
}

function warn(context: CommandContext, { reference }: PreviewResult): void {
  if (!reference.finite) {
    context.note('The full-precision reference holds NaN or infinite values: no comparison with it means anything. Check the checkpoint with "quantscope stats".');
  }
  if (reference.uniform) {
    context.note('The full-precision reference is one flat colour: check prompt or class, steps and guidance before comparing.');
  }
}
