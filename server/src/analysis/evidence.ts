/**
 * The evidence report: what is quantized, at what true size, and what was measured, as one self-contained HTML file with Markdown (for a pull request) and JSON beside it.
 * Charts are inline SVG, nothing is loaded from anywhere, no script runs.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { EngineInfo, Finding, Plan, Problem, Thresholds, WriteReportResult } from '../protocol';
import { evidenceHtml } from './evidenceHtml';
import { evidenceMarkdown } from './evidenceMarkdown';
import { weightFindings } from './findings';
import type { EvidenceLayer } from './findings';
import type { Analysis } from './report';

export interface EvidenceInput {
  /** File name of the config. */
  config: string;
  plan: Plan;
  analysis: Analysis;
  problems: readonly Problem[];
  thresholds: Thresholds;
  engine: EngineInfo;
  date: Date;
}

export interface Evidence extends EvidenceInput { layers: EvidenceLayer[]; findings: Finding[] }

export function buildEvidence(input: EvidenceInput): Evidence {
  const reports = new Map(input.analysis.layers.map((report) => [report.name, report]));
  const layers = input.plan.layers.flatMap((plan) => {
    const report = reports.get(plan.name);
    return report ? [{ plan, report, deviation: report.weight.expectedRelativeMse ? report.weight.relativeMse / report.weight.expectedRelativeMse : null }] : [];
  });
  return { ...input, layers, findings: layers.flatMap((layer) => weightFindings(layer, input.thresholds)) };
}

/** Writes all three; each through a temporary file that is renamed, so a reader never sees half a report. */
export async function writeEvidence(evidence: Evidence, htmlPath: string): Promise<WriteReportResult> {
  const stem = htmlPath.replace(/\.html?$/i, '');
  const result = { html: `${stem}.html`, markdown: `${stem}.md`, json: `${stem}.json` };
  await mkdir(dirname(result.html), { recursive: true });
  await replaceFile(result.html, evidenceHtml(evidence));
  await replaceFile(result.markdown, evidenceMarkdown(evidence));
  await replaceFile(result.json, `${JSON.stringify(evidenceJson(evidence), null, 1)}\n`);
  return result;
}

/** Through a temporary file that is renamed. */
export async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  await writeFile(temporary, text);
  await rename(temporary, path);
}

function evidenceJson({ config, plan, analysis, problems, engine, date, thresholds, findings: found }: Evidence): unknown {
  return { config, date: date.toISOString(), engine, checkpoint: plan.checkpoint, architecture: plan.architecture, planHash: plan.hash, totals: plan.totals, rules: plan.rules, layers: analysis.layers, failures: analysis.failures, findings: found, thresholds, problems };
}
