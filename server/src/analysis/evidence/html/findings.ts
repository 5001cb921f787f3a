import type { Evidence } from '..';
import { thresholds } from '../../findings';
import { code, escape, section } from './parts';

export function findingsSection({ findings, analysis }: Evidence): string {
  const all = [...findings.map(({ layer, text }) => `${code(layer)}: ${escape(text)}`), ...analysis.failures.map(({ name, message }) => `${code(name)} could not be measured: ${escape(message)}`)];
  return section('Findings', all.length === 0 ? '<p>None at the thresholds below.</p>' : `<ul>${all.map((each) => `<li>${each}</li>`).join('')}</ul>`,
    `<p class="note">Thresholds: error above ${thresholds.deviation} × expected; KS after rotation above ${thresholds.ksAfterRotation}; ρ above ${thresholds.rho}; any NaN, Inf or all-zero row.</p>`);
}
