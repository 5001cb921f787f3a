import { basename } from 'node:path';
import { formatBytes } from '../../../config/resolve';
import type { Evidence } from '..';
import { agreementMetrics, spreadText } from '../metrics';
import { counted, provenance } from '../words';
import { escape, fact, section, tableOf } from './parts';

/** What a reviewer looks for first. */
export function summary({ plan, scope, comparison, gates }: Evidence): string {
  const percent = (100 * scope.checkpointBytes) / Math.max(1, scope.originalBytes);
  const compared = 'found' in comparison ? comparison.found : null;
  const [psnr, ssim] = agreementMetrics;
  const agreement = compared?.metrics && psnr && ssim ? `${spreadText(psnr, compared.metrics.psnrDb)}<small>image PSNR, higher is better; SSIM ${spreadText(ssim, compared.metrics.ssim)}, ${compared.settings.mode === 'forced' ? 'mean of the compared steps' : 'finished samples'}, ${counted(compared.seeds.length, 'seed')}</small>`
    : `not compared<small>${compared ? 'the reference is broken' : 'see below'}</small>`;
  const failed = gates.filter(({ passed }) => !passed).length;
  return `<dl class="facts">
${fact('Checkpoint', `${escape(basename(plan.checkpoint))}<small>${escape(plan.architecture)}</small>`)}
${fact('Scope', `${scope.quantized} of ${scope.layers}<small>linear layers quantized (${scope.activations} with activations), ${scope.paramsPercent.toFixed(2)} % of the linear weights</small>`)}
${fact('True average', `${scope.averageBits.toFixed(3)} bits<small>per linear weight, side data included</small>`)}
${fact('Size', `${formatBytes(scope.checkpointBytes)}<small>${percent.toFixed(1)} % of ${formatBytes(scope.originalBytes)}; linear weights ${formatBytes(scope.baselineBytes)} → ${formatBytes(scope.packedBytes)}</small>`)}
${fact('Same-seed pictures', agreement)}
${gates.length === 0 ? '' : fact('Gates', failed === 0 ? `passed<small>all ${gates.length}</small>` : `failed<small>${failed} of ${gates.length}</small>`)}
</dl>`;
}

/** Which layers of each role, and everything that names versions and files. */
export function provenanceSection(evidence: Evidence): string {
  return section('Versions and hashes', tableOf(['what', 'value'], provenance(evidence).map(([title, value]) => [escape(title), `<span class="long">${escape(value)}</span>`])));
}
