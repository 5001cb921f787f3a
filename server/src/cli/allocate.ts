import { readFile } from 'node:fs/promises';
import { dirname, isAbsolute, relative, resolve } from 'node:path';
import type { TextDocument } from 'vscode-languageserver-textdocument';
import { allocatable, allocate as chooseOptions, layersToMeasure } from '../analysis/allocate/allocation';
import type { Allocatable } from '../analysis/allocate/allocation';
import { givenLosses, outputLosses, propagatedLosses, weightLosses } from '../analysis/allocate/losses';
import type { Losses } from '../analysis/allocate/losses';
import { readOptions, usualOptions } from '../analysis/allocate/options';
import { rewriteConfig, withoutAllocated } from '../analysis/allocate/patterns/rewrite';
import type { Rewritten } from '../analysis/allocate/patterns/rewrite';
import { replaceFile } from '../analysis/evidence';
import { requireUnchanged } from '../checkpoint';
import { loadConfig } from '../config/load';
import type { LoadedConfig } from '../config/load';
import { parseSize } from '../config/parse';
import { formatBytes } from '../config/resolve';
import { requestFor, withWorkFolder } from '../quantize/recipes';
import type { Allocation, Plan } from '../protocol';
import { UsageError } from './command';
import type { Command, CommandContext } from './command';
import { significant, table } from './table';

type Loaded = LoadedConfig & { plan: Plan; document: TextDocument };

export const allocate: Command = {
  name: 'allocate',
  usage: '<config> [--size 6.9GB | --bits 4.5] [--options W3A4,W4A4,rtn:W4A16,W8A8,keep] [--layers patterns] [--loss weights|outputs|sensitivity|file.json] [--write out.quant.yaml]',
  summary: 'The best option for every layer under a hard size bound, with a proof, baselines at the same size and the curve over all sizes.',
  options: { size: { type: 'string' }, bits: { type: 'string' }, options: { type: 'string' }, layers: { type: 'string' }, loss: { type: 'string' }, write: { type: 'string' } },
  async run(context) {
    const path = context.path('config');
    const loaded = await load(context, path);
    const { plan, checkpoint, parsed: { config } } = loaded;
    if (!checkpoint) {
      throw new UsageError(`${path}: names no checkpoint.`);
    }
    const budget = budgetOf(context, loaded);
    const listed = context.values['options'];
    const options = typeof listed === 'string' ? readOptions(listed.split(',').map((text) => text.trim()).filter(Boolean), config.defaults) : usualOptions(config.defaults);
    const possible = allocatable(plan, config, checkpoint, options, context.layerPatterns());
    const losses = await lossesOf(context, loaded, possible, dirname(path));
    await requireUnchanged(plan);
    const allocation = chooseOptions(possible, losses, budget.bytes);
    const out = context.values['write'];
    const target = typeof out === 'string' ? resolve(out) : path;
    const named = config.checkpoint?.value;
    const moved = named !== undefined && !isAbsolute(named) && dirname(target) !== dirname(path) ? relative(dirname(target), resolve(dirname(path), named)) : undefined;
    const rewritten = rewriteConfig(loaded.document, checkpoint, possible, allocation, { budget: budget.written, checkpoint: moved });
    if (typeof out === 'string') {
      await replaceFile(target, rewritten.text);
    }
    context.print({ ...allocation, plan: { ...allocation.plan, hash: rewritten.plan.hash, config: rewritten.text }, written: typeof out === 'string' ? target : null }, () => describe(allocation, rewritten, typeof out === 'string' ? target : null));
    return 0;
  },
};

/** The config as it was before an earlier allocation added its rules. */
async function load(context: CommandContext, path: string): Promise<Loaded> {
  const whole = await context.requirePlan(path);
  const written = await context.document(path);
  const document = withoutAllocated(written);
  const loaded = document === written ? whole : await loadConfig(document, path, context.store);
  return { ...loaded, plan: loaded.plan ?? whole.plan, document };
}

/** Bytes of the whole checkpoint; `written` as the config would say it, undefined when the config does. */
function budgetOf(context: CommandContext, { plan: { totals }, parsed: { config } }: Loaded): { bytes: number; written: string | undefined } {
  const { size, bits } = context.values;
  if (typeof size === 'string' && typeof bits === 'string') {
    throw new UsageError('--size and --bits are two ways to say one thing. Give one of them.');
  }
  const ofBits = (value: number): number => Math.floor((value * totals.params) / 8) + totals.otherBytes;
  if (typeof size === 'string') {
    const bytes = parseSize(/^\d+$/.test(size) ? `${size}B` : size);
    if (!(bytes >= 1)) {
      throw new UsageError(`--size must be a number with a unit, not "${size}". Example: --size 6.9GB`);
    }
    return { bytes, written: `{ size: ${/^\d+$/.test(size) ? `${size}B` : size} }` };
  }
  if (typeof bits === 'string') {
    const value = Number(bits);
    if (!/^\d+(\.\d+)?$/.test(bits) || !(value > 0 && value <= 32)) {
      throw new UsageError(`--bits must be a number above 0, up to 32, not "${bits}". Example: --bits 4.5`);
    }
    return { bytes: ofBits(value), written: `{ bits: ${bits} }` };
  }
  const budget = config.budget?.value;
  if (!budget) {
    throw new UsageError('How large may it be? Give --size 6.9GB (the whole checkpoint) or --bits 4.5 (average bits per linear weight), or a "budget" in the config.');
  }
  return { bytes: 'bytes' in budget ? budget.bytes : ofBits(budget.bits), written: undefined };
}

async function lossesOf(context: CommandContext, loaded: Loaded, possible: Allocatable, base: string): Promise<Losses> {
  const source = context.values['loss'] ?? 'weights';
  const request = {
    plan: loaded.plan, options: layersToMeasure(possible), cancellation: context.cancel.token,
    onProgress: (fraction: number, what: string): void => context.progress(fraction, what),
  };
  if (source === 'weights' || source === 'outputs') {
    return withWorkFolder(context.cacheFolder, (folder) => {
      const preparation = requestFor(loaded, base, { folder, cancellation: context.cancel.token });
      return source === 'weights' ? weightLosses(request, preparation, context.engine, context.cache) : outputLosses(request, preparation, context.engine);
    });
  }
  if (source === 'sensitivity') {
    return propagatedLosses(request, { loaded, base, cacheFolder: context.cacheFolder }, context.engine);
  }
  const path = resolve(String(source));
  if (!path.endsWith('.json')) {
    throw new UsageError(`--loss must be weights, outputs, sensitivity or a .json file of losses, not "${String(source)}".`);
  }
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`${path}: ${error.code === 'ENOENT' ? 'there is no such file' : error.message}.`);
  });
  return givenLosses(text, path);
}

function describe(allocation: Allocation, { text }: Rewritten, written: string | null): string {
  const { plan, bytes, budgetBytes, averageBits, objective, loss, certificate, baselines } = allocation;
  const counts = allocation.options.map((label) => [label, plan.layers.filter(({ option }) => option === label).length] as const).filter(([, count]) => count > 0);
  return [
    table(['layer', 'option', 'packed', 'loss'], plan.layers.map((layer) => [layer.name, layer.option, formatBytes(layer.packedBytes), significant(layer.loss)])), '',
    table(['plan', 'checkpoint', 'bits', 'loss ↓'], [['allocated', formatBytes(bytes), averageBits.toFixed(3), significant(objective)],
      ...baselines.map((each) => [each.name, formatBytes(each.bytes), each.averageBits.toFixed(3), significant(each.objective)])]), '',
    `${plan.layers.length} layers chosen for (${counts.map(([label, count]) => `${count} ${label}`).join(', ')}), ${plan.fixed} fixed by rules; ${bytes} of at most ${budgetBytes} bytes.`,
    `Loss: ${loss.description}`,
    `${certificate.method}${certificate.optimal ? '' : ` Gap: ${significant(certificate.gap)} above the bound ${significant(certificate.bound)}.`}`,
    '', written === null ? `The config would be:\n\n${text}` : `Written: ${written}`,
  ].join('\n');
}
