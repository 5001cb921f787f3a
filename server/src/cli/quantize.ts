import { dirname, resolve } from 'node:path';
import { requestFor, withWorkFolder } from '../quantize/recipes';
import { writeQuantized } from '../quantize/checkpoint';
import type { Form, WrittenCheckpoint } from '../quantize/checkpoint';
import { UsageError } from './command';
import type { Command, CommandContext } from './command';
import { significant, table } from './table';

export const quantize: Command = {
  name: 'quantize',
  usage: '<config> --out folder [--fold]',
  summary: 'Writes the packed checkpoint of a config: codes, side data and recipes, read back by every command here. A stopped run goes on where it ended.',
  options: { out: { type: 'string' }, fold: { type: 'boolean' } },
  run: (context) => writeCheckpoint(context, 'packed'),
};

export const forms: readonly Form[] = ['packed', 'bf16'];

export async function writeCheckpoint(context: CommandContext, form: Form): Promise<number> {
  const { out } = context.values;
  if (typeof out !== 'string') {
    throw new UsageError('Name a new folder for the checkpoint: --out folder');
  }
  const path = context.path('config');
  const loaded = await context.requirePlan(path);
  if (loaded.parsed.config.loras) {
    context.note(`${path}: adapters under "loras" are checked, not fused; what is written is the checkpoint without them.`);
  }
  const started = performance.now();
  const onProgress = (fraction: number, what: string): void => context.progress(fraction, `${timeLeft(fraction, performance.now() - started)}${what}`);
  const result = await withWorkFolder(context.cacheFolder, (folder) =>
    writeQuantized({ ...requestFor(loaded, dirname(path), { folder, cancellation: context.cancel.token, onProgress }), out: resolve(out), form, fold: context.values['fold'] === true }, context.engine));
  const { layers, bytes, notCopied, fold } = result;
  const before = loaded.plan.totals.baselineBytes + loaded.plan.totals.otherBytes;
  context.print(result, () => [
    table(['layer', 'method', 'true bits', 'relative MSE'], layers.map((layer) => [layer.name, layer.method, layer.averageBits.toFixed(3), significant(layer.relativeMse)])),
    '', `${layers.length} of ${loaded.plan.layers.length} layers quantized; ${bytes} bytes instead of ${before} (${((100 * bytes) / Math.max(1, before)).toFixed(1)} %), in ${resolve(out)}`,
    ...(fold ? describeFold(fold) : []),
    ...(notCopied.length > 0 ? [`Not copied from the pipeline: ${notCopied.join(', ')}.`] : []),
  ].join('\n'));
  return 0;
}

function describeFold({ folded, online }: NonNullable<WrittenCheckpoint['fold']>): string[] {
  const count = (parts: readonly { layers: string[] }[]): number => parts.reduce((sum, { layers }) => sum + layers.length, 0);
  const rounding = Math.max(0, ...folded.map((fold) => fold.rounding));
  const reasons = new Map<string, string[]>();
  online.forEach(({ layers, reason }) => reasons.set(reason, [...(reasons.get(reason) ?? []), ...layers]));
  return [
    `Smoothing folded away: ${count(folded)} of ${count(folded) + count(online)} smoothed layers${rounding > 0 ? `; rounding rescaled tensors to their stored type: relative MSE up to ${significant(rounding)}` : ''}.`,
    ...[...reasons].map(([reason, layers]) => `  ${layers.length} stay at run time, because ${reason}: ${layers.slice(0, 3).join(', ')}${layers.length > 3 ? ', …' : ''}`),
  ];
}

/** By what is done so far; nothing before there is something to go by. */
function timeLeft(fraction: number, milliseconds: number): string {
  const seconds = (milliseconds * (1 - fraction)) / fraction / 1000;
  return fraction > 0.02 && Number.isFinite(seconds) ? `${seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`} left · ` : '';
}
