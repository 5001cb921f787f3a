import type { Evidence } from '..';
import { thresholdsText } from '../words';
import { code, escape, section } from './parts';

export function findingsSection(evidence: Evidence): string {
  const { findings, analysis } = evidence;
  const all = [...findings.map(({ layer, text }) => `${code(layer)}: ${escape(text)}`), ...analysis.failures.map(({ name, message }) => `${code(name)} could not be measured: ${escape(message)}`)];
  return section('Findings', all.length === 0 ? '<p>None at the thresholds below.</p>' : `<ul>${all.map((each) => `<li>${each}</li>`).join('')}</ul>`,
    `<p class="note">${escape(thresholdsText(evidence))}</p>`);
}
