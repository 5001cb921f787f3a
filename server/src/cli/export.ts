import { basename, resolve } from 'node:path';
import { readFile } from 'node:fs/promises';
import { exportPlan, writerFor } from '../config/convert/export';
import { withQuantizationConfig } from '../config/convert/componentConfig';
import { unwritable, writers } from '../config/convert/writers';
import { UsageError } from './command';
import type { Command, CommandContext } from './command';
import { describeLossy } from './import';
import { writeNewFile } from './newFile';
import { forms, writeCheckpoint } from './quantize';
import { table } from './table';

export const exportCommand: Command = {
  name: 'export',
  usage: '<config> --to packed|bf16 --out folder [--fold]  |  <config> --to <dialect> [--out file] [--allow-lossy] [--force]',
  summary: 'Writes a quantized checkpoint, packed as by quantize or as BF16 weights in plain diffusers layout that any tool loads; or the config as the file of another tool, read back by that tool\'s own rules and compared with the plan.',
  details: () => ['', 'Dialects:', table(['--to', 'tool', 'can say'], writers.map(({ id, dialect, says }) => [id, dialect.title, says])), '', ...Object.entries(unwritable).map(([id, why]) => `Not ${id}: ${why}`)].join('\n'),
  options: { out: { type: 'string' }, to: { type: 'string' }, fold: { type: 'boolean' }, force: { type: 'boolean' }, 'allow-lossy': { type: 'boolean' } },
  run(context) {
    const { to } = context.values;
    const form = forms.find((each) => each === to);
    if (typeof to !== 'string') {
      throw new UsageError(`Say what to write: --to ${forms.join(', ')}, or a dialect (${writers.map(({ id }) => id).join(', ')}).`);
    }
    return form ? writeCheckpoint(context, form) : writeDialect(context, to);
  },
};

async function writeDialect(context: CommandContext, to: string): Promise<number> {
  const { title } = writerFor(to).dialect;
  const path = context.path('config');
  const { plan, parsed, checkpoint } = await context.requirePlan(path);
  if (!checkpoint) {
    throw new UsageError(`${path}: names no checkpoint that can be read.`);
  }
  const { text, writer, lossy, grave } = exportPlan(to, plan, parsed.config, checkpoint);
  const out = typeof context.values['out'] === 'string' ? resolve(context.values['out']) : undefined;
  const allowed = grave.length === 0 || context.values['allow-lossy'] === true;
  if (out !== undefined && allowed) {
    await writeNewFile(context, out, await withExisting(out, text));
  }
  const written = allowed ? out ?? null : null;
  context.print({ to, title, written, text, lossy, errors: grave }, () => (out === undefined ? text : [`${basename(path)} → ${written ?? 'nothing written'} (${writer.dialect.title})`, '', ...describeLossy(lossy, 'What it does not say, or otherwise:')].join('\n')));
  grave.forEach(({ place, what, why }) => context.note(`${allowed ? 'warning' : 'error'}: ${place}: ${what}: ${why}`));
  if (!allowed) {
    context.note(`${title} would not do what the config says, so nothing was written. Change the config, or write it all the same with --allow-lossy.`);
  }
  return allowed ? 0 : 1;
}

/** A component's config.json keeps everything else that it says. */
async function withExisting(out: string, text: string): Promise<string> {
  const before = basename(out) === 'config.json' ? await readFile(out, 'utf8').catch(() => undefined) : undefined;
  return before === undefined ? text : withQuantizationConfig(before, text);
}
