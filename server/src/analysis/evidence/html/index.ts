/** The report as one HTML file: readable in light, dark and high contrast, printable, charts as inline SVG with their numbers in tables, pictures inlined. */
import type { Evidence } from '..';
import { hatch } from './bars';
import { comparisonSection } from './comparison';
import { findingsSection } from './findings';
import { blockRoleSection, deviationSection, layersSection, rulesSection } from './layers';
import { escape } from './parts';
import { rankingSection } from './ranking';
import { style } from './style';
import { provenanceSection, summary } from './summary';

export function evidenceHtml(evidence: Evidence): string {
  const name = escape(evidence.config.name);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>Quantization evidence: ${name}</title>
<style>${style}</style>
</head>
<body>
${hatch}
<main>
<h1>Quantization evidence <span>${name}</span></h1>
${[summary, comparisonSection, rankingSection, findingsSection, rulesSection, deviationSection, blockRoleSection, layersSection, provenanceSection].map((part) => part(evidence)).join('\n')}
</main>
</body>
</html>
`;
}
