import { resolve } from 'node:path';
import { describeShare, share } from '../config/dialects/evaluate';
import { byPlace } from '../config/dialects/load';
import type { LoadedDialect } from '../config/dialects/load';
import type { Treatment } from '../config/dialects/dialect';
import { sarif } from '../config/dialects/sarif';
import { measureLoras } from '../lints';
import { packageVersion } from '../paths';
import type { Problem } from '../protocol';
import { describeProblem, UsageError } from './command';
import type { Command, CommandContext } from './command';
import { openDialects, UnknownFile } from './dialectFile';
import { table } from './table';

/** One linted file: what is printed as JSON and for people, and what exit code and SARIF go by. */
interface Linted { path: string; json: object; text: string; problems: Problem[] }

const severities = ['error', 'warning'] as const;

export const lint: Command = {
  name: 'lint',
  usage: '<file>… [--checkpoint folder] [--sarif] [--fail-on error|warning] [--skip-unknown]',
  summary: 'Problems of quantization configs, ours or another tool\'s, and what every entry takes by that tool\'s own rule: layers and share of the weights.',
  options: { checkpoint: { type: 'string' }, sarif: { type: 'boolean' }, 'fail-on': { type: 'string' }, 'skip-unknown': { type: 'boolean' } },
  async run(context) {
    const failing = failingSeverities(context.values['fail-on'] ?? 'error');
    const paths = context.positionals.length > 1 ? context.positionals.map((each) => resolve(each)) : [context.path('config')];
    const files: Linted[] = [];
    for (const path of paths) {
      const linted = await lintFile(context, path);
      files.push(...linted ? [linted] : []);
    }
    const problems = files.flatMap(({ path, problems: own }) => own.map((problem) => ({ ...problem, file: problem.file ?? path })));
    if (context.values['sarif'] === true) {
      process.stdout.write(`${JSON.stringify(sarif(problems, paths[0] ?? '', process.cwd(), packageVersion()), null, 2)}\n`);
    } else {
      const [first] = files;
      context.print(paths.length === 1 && first ? first.json : { files: files.map(({ path, json }) => ({ path, ...json })) }, () => files.map(({ path, text }) => (paths.length === 1 ? text : `${path}\n${text}`)).join('\n\n'));
    }
    files.forEach(({ path, problems: own }) => own.forEach((problem) => context.note(describeProblem(problem, path))));
    return problems.some(({ severity }) => failing.includes(severity)) ? 1 : 0;
  },
};

function failingSeverities(least: unknown): readonly Problem['severity'][] {
  const index = severities.findIndex((each) => each === least);
  if (index < 0) {
    throw new UsageError(`--fail-on must be ${severities.join(' or ')}, not "${String(least)}".`);
  }
  return severities.slice(0, index + 1);
}

/** undefined: no file of a tool known here, and `--skip-unknown` passes over those. */
async function lintFile(context: CommandContext, path: string): Promise<Linted | undefined> {
  if (/\.quant\.ya?ml$/.test(path)) {
    return lintConfig(context, path);
  }
  if (context.values['skip-unknown'] !== true) {
    return lintDialect(context, path);
  }
  try {
    return await lintDialect(context, path);
  } catch (error) {
    if (!(error instanceof UnknownFile)) {
      throw error;
    }
    context.note(`${path}: passed over, it is a file of no tool known here.`);
    return undefined;
  }
}

async function lintConfig(context: CommandContext, path: string): Promise<Linted> {
  if (context.values['checkpoint'] !== undefined && context.positionals.length === 1) {
    throw new UsageError('--checkpoint is for files of other tools; a *.quant.yaml names its checkpoint itself.');
  }
  const first = await context.loadConfig(path);
  const { plan, problems } = await measureLoras(first) ? await context.loadConfig(path) : first;
  const entries = (plan?.rules ?? []).flatMap((rule) => rule.patterns);
  return {
    path, problems, json: { dialect: 'quantscope', entries, rules: plan?.rules ?? [], problems },
    text: entries.length === 0 ? 'No patterns.' : table(['line', 'pattern', 'layers', '% of weights'],
      entries.map((entry) => [String(entry.range.start.line + 1), entry.text.slice(0, 80), String(entry.matchedLayers), entry.matchedParamsPercent.toFixed(2)])),
  };
}

async function lintDialect(context: CommandContext, path: string): Promise<Linted> {
  const found = await openDialects(context, path);
  const [first] = found;
  return {
    path, problems: found.flatMap(({ problems }) => problems).sort(byPlace),
    text: found.map((loaded) => `${loaded.file.part ? `line ${loaded.file.part.at.start.line + 1}: ` : ''}${describe(loaded)}`).join('\n\n'),
    json: first && !first.file.part ? asJson(first) : { dialect: first?.file.python ? 'python' : 'shell', configs: found.map((loaded) => ({ line: (loaded.file.part?.at.start.line ?? 0) + 1, ...asJson(loaded) })) },
  };
}

function asJson({ dialect, entries, decisions, uncovered, problems, checkpoint }: LoadedDialect): object {
  const total = decisions.reduce((sum, { layer }) => sum + layer.params, 0);
  return {
    dialect: dialect.id, title: dialect.title, checkpoint: checkpoint?.path ?? null, entries, problems,
    uncovered: { layers: uncovered.layers.length, paramsPercent: share(uncovered.layers, total), treatment: uncovered.treatment, names: uncovered.layers.map(({ name }) => name) },
    layers: decisions.map(({ layer, treatment, entry }) => ({ name: layer.name, ...treatment, entry: entry?.text ?? null, builtin: entry?.builtin ?? null })),
  };
}

function describe({ dialect, entries, uncovered, checkpoint }: LoadedDialect): string {
  const shown = entries.filter(({ builtin, matchedLayers }) => builtin === null || matchedLayers > 0);
  return [
    `${dialect.title}${checkpoint ? `, on ${checkpoint.path}` : ''}`, '',
    ...(shown.length === 0 ? ['No entries.'] : [table(['line', 'entry', 'does', ...checkpoint ? ['layers', '% of weights', 'decides'] : []], shown.map((entry) => [
      entry.builtin === null ? String(entry.range.start.line + 1) : entry.builtin, entry.text.slice(0, 80), entry.treatment.label,
      ...checkpoint ? [String(entry.matchedLayers), entry.matchedParamsPercent.toFixed(2), String(entry.decidedLayers)] : [],
    ]))]),
    ...(checkpoint ? ['', `No entry takes ${describeShare(uncovered.layers, checkpoint)}: ${describeTreatment(uncovered.treatment)}`] : []),
  ].join('\n');
}

function describeTreatment({ kind, label }: Treatment): string {
  return kind === 'keep' ? 'kept as they are.' : `quantized (${label}).`;
}
