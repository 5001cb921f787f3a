import { dirname } from 'node:path';
import { measureLoras } from '../lints';
import { describeProblem, UsageError } from './command';
import type { Command } from './command';
import { table } from './table';

export const lint: Command = {
  name: 'lint',
  usage: '<config>',
  summary: 'Problems of a config and what every pattern matches: layers and share of the weights.',
  async run(context) {
    const path = context.path('config');
    if (!/\.quant\.ya?ml$/.test(path)) {
      throw new UsageError(`${path}: QuantScope configs end in .quant.yaml or .quant.yml. Rename the file in ${dirname(path)}.`);
    }
    const first = await context.loadConfig(path);
    const { plan, problems } = await measureLoras(first) ? await context.loadConfig(path) : first;
    const entries = (plan?.rules ?? []).flatMap((rule) => rule.patterns);
    context.print({ dialect: 'quantscope', entries, rules: plan?.rules ?? [], problems }, () => (entries.length === 0 ? 'No patterns.' : table(
      ['line', 'pattern', 'layers', '% of weights'],
      entries.map((entry) => [String(entry.range.start.line + 1), entry.text.slice(0, 80), String(entry.matchedLayers), entry.matchedParamsPercent.toFixed(2)]),
    )));
    problems.forEach((problem) => context.note(describeProblem(problem, path)));
    return problems.some((problem) => problem.severity === 'error') ? 1 : 0;
  },
};
