import { resolve } from 'node:path';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { URI } from 'vscode-uri';
import { readValues } from '../checkpoint/values';
import { describeShare, share } from '../config/dialects/evaluate';
import { headerText } from '../config/dialects/header';
import { loadDialect, whyNoDialect } from '../config/dialects/load';
import type { LoadedDialect } from '../config/dialects/load';
import type { Treatment } from '../config/dialects/dialect';
import { sarif } from '../config/dialects/sarif';
import { measureLoras } from '../lints';
import { packageVersion } from '../paths';
import type { Problem } from '../protocol';
import { describeProblem, UsageError } from './command';
import type { Command, CommandContext } from './command';
import { table } from './table';

export const lint: Command = {
  name: 'lint',
  usage: '<file> [--checkpoint folder] [--sarif]',
  summary: 'Problems of a quantization config, ours or another tool\'s, and what every entry takes by that tool\'s own rule: layers and share of the weights.',
  options: { checkpoint: { type: 'string' }, sarif: { type: 'boolean' } },
  async run(context) {
    const path = context.path('config');
    const problems = /\.quant\.ya?ml$/.test(path) ? await lintConfig(context, path) : await lintDialect(context, path);
    if (context.values['sarif'] === true) {
      process.stdout.write(`${JSON.stringify(sarif(problems, path, process.cwd(), packageVersion()), null, 2)}\n`);
    }
    problems.forEach((problem) => context.note(describeProblem(problem, path)));
    return problems.some((problem) => problem.severity === 'error') ? 1 : 0;
  },
};

async function lintConfig(context: CommandContext, path: string): Promise<Problem[]> {
  if (context.values['checkpoint'] !== undefined) {
    throw new UsageError('--checkpoint is for files of other tools; a *.quant.yaml names its checkpoint itself.');
  }
  const first = await context.loadConfig(path);
  const { plan, problems } = await measureLoras(first) ? await context.loadConfig(path) : first;
  const entries = (plan?.rules ?? []).flatMap((rule) => rule.patterns);
  print(context, { dialect: 'quantscope', entries, rules: plan?.rules ?? [], problems }, () => (entries.length === 0 ? 'No patterns.' : table(
    ['line', 'pattern', 'layers', '% of weights'],
    entries.map((entry) => [String(entry.range.start.line + 1), entry.text.slice(0, 80), String(entry.matchedLayers), entry.matchedParamsPercent.toFixed(2)]),
  )));
  return problems;
}

async function lintDialect(context: CommandContext, path: string): Promise<Problem[]> {
  const given = context.values['checkpoint'];
  const document = /\.safetensors$/.test(path) ? await headerDocument(context, path) : await context.document(path);
  const loaded = await loadDialect(document, path, context.store, typeof given === 'string' ? resolve(given) : /\.safetensors$/.test(path) ? path : undefined);
  if (!loaded) {
    throw new UsageError(`${path}: ${whyNoDialect(document, path)}. QuantScope reads *.quant.yaml and the files of other tools that docs/cli.md lists.`);
  }
  const { dialect, entries, decisions, uncovered, problems, checkpoint } = loaded;
  const total = decisions.reduce((sum, { layer }) => sum + layer.params, 0);
  print(context, {
    dialect: dialect.id, title: dialect.title, checkpoint: checkpoint?.path ?? null, entries, problems,
    uncovered: { layers: uncovered.layers.length, paramsPercent: share(uncovered.layers, total), treatment: uncovered.treatment, names: uncovered.layers.map(({ name }) => name) },
    layers: decisions.map(({ layer, treatment, entry }) => ({ name: layer.name, ...treatment, entry: entry?.text ?? null, builtin: entry?.builtin ?? null })),
  }, () => describe(loaded));
  return problems;
}

/** The quantization metadata in a checkpoint's header as a text. */
async function headerDocument(context: CommandContext, path: string): Promise<TextDocument> {
  const text = await headerText(await context.store.get(path), async (tensor) => Buffer.from((await readValues(tensor)).data).toString('utf8'));
  if (text === undefined) {
    throw new UsageError(`${path}: holds no quantization metadata (no _quantization_metadata or quantization_config in its header, no .comfy_quant or scaled_fp8 tensors).`);
  }
  return TextDocument.create(URI.file(path).toString(), 'json', 1, text);
}

/** With --sarif the problems alone go to standard output. */
function print(context: CommandContext, value: unknown, text: () => string): void {
  if (context.values['sarif'] !== true) {
    context.print(value, text);
  }
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
