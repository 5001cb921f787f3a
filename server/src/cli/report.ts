import { basename, resolve } from 'node:path';
import { writeEvidence } from '../analysis/evidence';
import type { Evidence } from '../analysis/evidence';
import { estimateReport } from '../analysis/evidence/estimate';
import { defaultSeeds, gatherEvidence } from '../analysis/evidence/gather';
import type { EvidenceRequest } from '../analysis/evidence/gather';
import { parseGates } from '../analysis/evidence/gates';
import { counted } from '../analysis/evidence/words';
import { isSensitivityUnit } from '../analysis/sensitivity/units';
import { givenCapture } from './analyze';
import { UsageError } from './command';
import type { Command, CommandContext } from './command';

/** Model runs above this are announced, seconds. */
const long = 20;

export const report: Command = {
  name: 'report',
  usage: '<config> [--out report.html] [--seeds N] [--mode forced|free] [--sensitivity] [--by layer|block|role] [--gate "ssim>=0.9"] [--images folder] [--capture stats.safetensors] [--hash] [--no-preview] [--no-sensitivity]',
  summary: 'Self-contained evidence report: HTML, with Markdown and JSON beside it.',
  options: {
    out: { type: 'string' }, layers: { type: 'string' }, sample: { type: 'string' }, seeds: { type: 'string' }, mode: { type: 'string' }, sensitivity: { type: 'boolean' }, by: { type: 'string' }, gate: { type: 'string' },
    images: { type: 'string' }, capture: { type: 'string' }, hash: { type: 'boolean' }, 'no-preview': { type: 'boolean' }, 'no-sensitivity': { type: 'boolean' },
  },
  async run(context) {
    const { out, images } = context.values;
    const request = await requestOf(context);
    const { seconds, sensitivitySeconds } = await estimateReport(request, context.engine);
    if (seconds > long) {
      context.note(`Running the model takes about ${minutes(seconds)}, of which ${minutes(sensitivitySeconds)} for sensitivities. --no-preview, --no-sensitivity, fewer --seeds or smaller preview settings make it shorter.`);
    }
    const evidence = await gatherEvidence(request, context.engine, context.cache);
    const written = await writeEvidence(evidence, resolve(typeof out === 'string' ? out : 'report.html'), typeof images === 'string' ? resolve(images) : undefined);
    const { gates } = evidence;
    context.print({ ...written, gates }, () => `Report: ${written.html}\nBeside it: ${basename(written.markdown)} (for a pull request), ${basename(written.json)}`);
    const troubles = troublesOf(evidence);
    troubles.forEach((trouble) => context.note(trouble));
    gates.forEach(({ metric, atLeast, value, passed, why }) => context.note(`Gate ${metric} >= ${atLeast}: ${passed ? 'passed' : 'FAILED'} (${value === null ? '' : `${value.toFixed(4)}, `}${why}).`));
    return troubles.length > 0 || gates.some(({ passed }) => !passed) ? 1 : 0;
  },
};

async function requestOf(context: CommandContext): Promise<EvidenceRequest> {
  const { mode, gate, by = 'layer' } = context.values;
  const flag = (name: string): boolean => context.values[name] === true;
  if (mode !== undefined && mode !== 'forced' && mode !== 'free') {
    throw new UsageError(`--mode must be forced or free, not "${String(mode)}".`);
  }
  if (!isSensitivityUnit(by)) {
    throw new UsageError(`--by must be layer, block or role, not "${String(by)}".`);
  }
  if (flag('sensitivity') && flag('no-sensitivity')) {
    throw new UsageError('--sensitivity and --no-sensitivity exclude each other.');
  }
  const gates = typeof gate === 'string' ? parseGates(gate) : [];
  if (gates.length > 0 && flag('no-preview')) {
    throw new UsageError('--gate holds bounds against pictures, which --no-preview leaves out.');
  }
  const seeds = context.integer('seeds', 1, 64) ?? defaultSeeds;
  const path = context.path('config');
  const loaded = await context.requirePlan(path);
  return {
    loaded, path, text: (await context.document(path)).getText(), cacheFolder: context.cacheFolder,
    layers: context.layerPatterns(), sampleRows: context.integer('sample', 1, 1_000_000),
    preview: flag('no-preview') ? null : { seeds, mode }, sensitivity: flag('no-sensitivity') ? 'none' : flag('sensitivity') ? 'measure' : 'usual', by,
    hash: flag('hash'), gates, capture: (await givenCapture(context, loaded.plan)).captured, cancellation: context.cancel.token, onProgress: (fraction, what) => context.progress(fraction, what),
  };
}

/** What makes the report's numbers worthless or shows a broken model. A part that is missing for a stated reason is none. */
function troublesOf({ comparison, ranking, analysis }: Evidence): string[] {
  const compared = 'found' in comparison ? comparison.found : null;
  const broken = compared?.metrics ? Object.values(compared.metrics).some(({ notFinite }) => notFinite > 0) : false;
  return [
    ...analysis.failures.map(({ name, message }) => (message.startsWith(name) ? message : `${name}: ${message}`)),
    ...(compared?.refused ? [compared.refused] : []),
    ...(broken ? ['The quantized model gives values that are not finite. "quantscope sensitivity --first-bad" names the layer they come from.'] : []),
    ...('found' in ranking && ranking.found.controls.zeroSwap.differing > 0 ? ['The zero-swap control failed: sensitivities cannot be trusted.'] : []),
  ];
}

function minutes(seconds: number): string { return seconds < 120 ? counted(Math.round(seconds), 'second') : counted(Math.round(seconds / 60), 'minute'); }
