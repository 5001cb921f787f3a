import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { allocateConfig, usualVerification } from '../analysis/allocate';
import type { LossSource } from '../analysis/allocate';
import type { Rewritten } from '../analysis/allocate/patterns/rewrite';
import { replaceFile } from '../analysis/evidence';
import { formatBytes } from '../config/resolve';
import type { Allocation, BudgetText } from '../protocol';
import { UsageError } from './command';
import type { Command, CommandContext } from './command';
import { significant, table } from './table';

export const allocate: Command = {
  name: 'allocate',
  usage: '<config> [--size 6.9GB | --bits 4.5] [--options W3A4,W4A4,rtn:W4A16,W8A8,keep] [--layers patterns] [--loss weights|outputs|sensitivity|file.json] [--verify [--finalists N] [--seeds N]] [--write out.quant.yaml]',
  summary: 'The best option for every layer under a hard size bound, with a proof, baselines at the same size and the curve over all sizes; on request the best plans are run end to end.',
  options: { size: { type: 'string' }, bits: { type: 'string' }, options: { type: 'string' }, layers: { type: 'string' }, loss: { type: 'string' }, write: { type: 'string' }, verify: { type: 'boolean' }, finalists: { type: 'string' }, seeds: { type: 'string' } },
  async run(context) {
    const path = context.path('config');
    await context.requirePlan(path);
    const { options: listed, write: out } = context.values;
    const target = typeof out === 'string' ? resolve(out) : path;
    const { allocation, rewritten } = await allocateConfig({
      document: await context.document(path), path, target, store: context.store, cache: context.cache, cacheFolder: context.cacheFolder,
      budget: budgetOf(context.values), loss: await lossOf(context.values['loss'] ?? 'weights'), layers: context.layerPatterns(),
      options: typeof listed === 'string' ? listed.split(',').map((text) => text.trim()).filter(Boolean) : undefined,
      verify: verifyOf(context), cancellation: context.cancel.token, onProgress: (fraction, what) => context.progress(fraction, what),
    }, context.engine);
    if (typeof out === 'string') {
      await replaceFile(target, rewritten.text);
    }
    context.print({ ...allocation, plan: { ...allocation.plan, hash: rewritten.plan.hash, config: rewritten.text }, written: typeof out === 'string' ? target : null }, () => describe(allocation, rewritten, typeof out === 'string' ? target : null));
    return 0;
  },
};

function budgetOf({ size, bits }: Readonly<Record<string, unknown>>): BudgetText | undefined {
  if (typeof size === 'string' && typeof bits === 'string') {
    throw new UsageError('--size and --bits are two ways to say one thing. Give one of them.');
  }
  return typeof size === 'string' ? { size } : typeof bits === 'string' ? { bits } : undefined;
}

function verifyOf(context: CommandContext): { finalists: number; seeds: number } | undefined {
  const [finalists, seeds] = [context.integer('finalists', 2, 100), context.integer('seeds', 1, 100)];
  if (context.values['verify'] !== true) {
    if (finalists !== undefined || seeds !== undefined) {
      throw new UsageError('--finalists and --seeds belong to --verify, which runs plans end to end.');
    }
    return undefined;
  }
  return { finalists: finalists ?? usualVerification.finalists, seeds: seeds ?? usualVerification.seeds };
}

async function lossOf(source: unknown): Promise<LossSource> {
  if (source === 'weights' || source === 'outputs' || source === 'sensitivity') {
    return source;
  }
  const path = resolve(String(source));
  if (!path.endsWith('.json')) {
    throw new UsageError(`--loss must be weights, outputs, sensitivity or a .json file of losses, not "${String(source)}".`);
  }
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`${path}: ${error.code === 'ENOENT' ? 'there is no such file' : error.message}.`);
  });
  return { text, path };
}

function describe(allocation: Allocation, { text }: Rewritten, written: string | null): string {
  const { plan, bytes, budgetBytes, averageBits, objective, loss, certificate, baselines, current, noCurrent } = allocation;
  const counts = allocation.options.map((label) => [label, plan.layers.filter(({ option }) => option === label).length] as const).filter(([, count]) => count > 0);
  return [
    table(['layer', 'option', 'packed', 'loss'], plan.layers.map((layer) => [layer.name, layer.option, formatBytes(layer.packedBytes), significant(layer.loss)])), '',
    allocation.verification ? finalistTable(allocation) : table(['plan', 'checkpoint', 'bits', 'loss ↓'], [['allocated', formatBytes(bytes), averageBits.toFixed(3), significant(objective)],
      ...(current ? [['as written', formatBytes(current.bytes), current.averageBits.toFixed(3), significant(current.objective)]] : []),
      ...baselines.map((each) => [each.name, formatBytes(each.bytes), each.averageBits.toFixed(3), significant(each.objective)])]), '',
    `${plan.layers.length} layers chosen for (${counts.map(([label, count]) => `${count} ${label}`).join(', ')}), ${plan.fixed} fixed by rules; ${bytes} of at most ${budgetBytes} bytes.`,
    ...(noCurrent === null ? [] : [noCurrent]),
    `Loss: ${loss.description}`,
    `${certificate.method}${certificate.optimal ? '' : ` Gap: ${significant(certificate.gap)} above the bound ${significant(certificate.bound)}.`}`,
    '', written === null ? `The config would be:\n\n${text}` : `Written: ${written}${allocation.recommended === null ? '' : ` (plan "${allocation.recommended}")`}`,
  ].join('\n');
}

function finalistTable({ finalists, verification }: Allocation): string {
  const samples = (verification?.items.length ?? 0) * (verification?.seeds.length ?? 0);
  return [
    table(['plan', 'checkpoint', 'bits', 'loss ↓', 'latent PSNR dB ↑', '± over samples', 'dB behind the first', 'worse or equal in'], finalists.map(({ name, bytes, averageBits, objective, measured: { latentPsnrDb, notFinite, behind } }) => [
      name, formatBytes(bytes), averageBits.toFixed(3), significant(objective), notFinite > 0 ? 'not finite' : latentPsnrDb ? latentPsnrDb.mean.toFixed(2) : 'equal', latentPsnrDb?.spread.toFixed(2) ?? '',
      behind ? `${behind.mean.toFixed(2)} ± ${behind.spread.toFixed(2)}` : '', behind ? `${behind.wins} of ${samples}` : '',
    ])),
    `Run end to end at ${verification?.steps.length} steps of ${verification?.items.length} items from seeds ${verification?.seeds.join(', ')}; the first is recommended.`,
    ...(verification?.leftOut ?? []).map(({ name, reason }) => `Not run: ${name}. ${reason}`),
  ].join('\n');
}
