import { basename, resolve } from 'node:path';
import { buildEvidence, writeEvidence } from '../analysis/evidence';
import { thresholdsOf } from '../config/thresholds';
import type { Command } from './command';
import { runAnalysis } from './analyze';

export const report: Command = {
  name: 'report',
  usage: '<config> [--out report.html]',
  summary: 'Self-contained evidence report: HTML, with Markdown and JSON beside it.',
  options: { out: { type: 'string' }, layers: { type: 'string' }, sample: { type: 'string' } },
  async run(context) {
    const path = context.path('config');
    const loaded = await context.requirePlan(path);
    const { plan, problems } = loaded;
    const analysis = await runAnalysis(context, path, loaded);
    const out = context.values['out'];
    const written = await writeEvidence(buildEvidence({ config: basename(path), plan, analysis, problems, thresholds: thresholdsOf(loaded.parsed.config.findings?.value), engine: await context.engine.info(), date: new Date() }), resolve(typeof out === 'string' ? out : 'report.html'));
    context.print(written, () => `Report: ${written.html}\nBeside it: ${basename(written.markdown)} (for a pull request), ${basename(written.json)}`);
    return 0;
  },
};
