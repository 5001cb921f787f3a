import { basename, dirname, resolve } from 'node:path';
import { importDialect } from '../config/convert/import';
import { chosenOf } from '../config/dialects/load';
import { formatBytes } from '../config/resolve';
import { checkpointName } from '../config/convert/names';
import type { Lossy } from '../protocol';
import { UsageError, describeProblem } from './command';
import type { Command } from './command';
import { openDialects } from './dialectFile';
import { writeNewFile } from './newFile';
import { table } from './table';

export const importCommand: Command = {
  name: 'import',
  usage: '<file> [--line n] [--checkpoint folder] [--out q.quant.yaml] [--force]',
  summary: 'A file of another tool in the config language here: the same for every layer, by few rules, with a list of what got lost. Without --out the config is printed.',
  options: { checkpoint: { type: 'string' }, line: { type: 'string' }, out: { type: 'string' }, force: { type: 'boolean' } },
  async run(context) {
    const path = context.path('file');
    const out = typeof context.values['out'] === 'string' ? resolve(context.values['out']) : undefined;
    if (out !== undefined && !/\.quant\.ya?ml$/.test(out)) {
      throw new UsageError(`--out names a config, which ends in .quant.yaml, not "${basename(out)}".`);
    }
    const loaded = chosenOf(await openDialects(context, path), lineOf(context.values['line']));
    if (typeof loaded === 'string') {
      throw new UsageError(`${path}: ${loaded}. Name a line with --line.`);
    }
    const { text, plan, lossy } = importDialect(loaded, checkpointName(dirname(out ?? path), loaded.checkpointPath ?? ''));
    if (out !== undefined) {
      await writeNewFile(context, out, text);
    }
    const { totals } = plan;
    context.print({
      dialect: loaded.dialect.id, title: loaded.dialect.title, checkpoint: loaded.checkpointPath ?? null, written: out ?? null, config: text, lossy, problems: loaded.problems,
      layers: plan.layers.map(({ name, recipe, decidedBy }) => ({ name, rule: decidedBy?.name ?? null, recipe })), totals,
    }, () => (out === undefined ? text : [
      `${loaded.dialect.title} → ${out}`, `${totals.layers} layers, ${plan.rules.length} ${plan.rules.length === 1 ? 'rule' : 'rules'}; whole checkpoint ${formatBytes(totals.checkpointBytes)}, ${totals.averageBits.toFixed(3)} bits per weight`, '', ...describeLossy(lossy, 'Not said in it, or only nearly:'),
    ].join('\n')));
    loaded.problems.forEach((problem) => context.note(describeProblem(problem, path)));
    return loaded.problems.some(({ severity }) => severity === 'error') ? 1 : 0;
  },
};

/** From 0. */
function lineOf(given: unknown): number | undefined {
  if (given !== undefined && !/^[1-9]\d{0,6}$/.test(String(given))) {
    throw new UsageError(`--line is a number from 1 on, not "${String(given)}".`);
  }
  return given === undefined ? undefined : Number(given) - 1;
}

export function describeLossy(lossy: readonly Lossy[], title: string): string[] {
  return lossy.length === 0 ? ['Nothing got lost.'] : [title, table(['where', 'what', 'why'], lossy.map(({ place, what, why }) => [place, what, why]))];
}
