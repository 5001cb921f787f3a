/**
 * The evidence report: what is quantized, at what true size, and what was measured, as one self-contained HTML file with Markdown (for a pull request) and JSON beside it.
 * Charts are inline SVG, nothing is loaded from anywhere, no script runs.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { EngineInfo, LayerPlan, LayerReport, Plan, Problem, WriteReportResult } from '../protocol';
import { evidenceHtml } from './evidenceHtml';
import { evidenceMarkdown } from './evidenceMarkdown';
import type { Analysis } from './report';

export interface EvidenceInput {
  /** File name of the config. */
  config: string;
  plan: Plan;
  analysis: Analysis;
  problems: readonly Problem[];
  engine: EngineInfo;
  date: Date;
}

export interface EvidenceLayer { plan: LayerPlan; report: LayerReport; /** Measured over expected relative MSE; 1 is what the quantizer promises. */ deviation: number | null }
export interface Finding { layer: string; text: string }
export interface Evidence extends EvidenceInput { layers: EvidenceLayer[]; findings: Finding[] }

/** A layer is worth a word when it departs from the promise by this much. Stated in the report beside the findings. */
export const thresholds = { deviation: 1.25, ksAfterRotation: 0.02, rho: 10 } as const;

export function buildEvidence(input: EvidenceInput): Evidence {
  const reports = new Map(input.analysis.layers.map((report) => [report.name, report]));
  const layers = input.plan.layers.flatMap((plan) => {
    const report = reports.get(plan.name);
    return report ? [{ plan, report, deviation: report.weight.expectedRelativeMse ? report.weight.relativeMse / report.weight.expectedRelativeMse : null }] : [];
  });
  return { ...input, layers, findings: layers.flatMap(findings) };
}

function findings({ plan, report, deviation }: EvidenceLayer): Finding[] {
  const found: string[] = [];
  const { marginal, nonFinite, zeroRows } = report;
  if (nonFinite > 0) {
    found.push(`${nonFinite} weights are NaN or infinite; their rows are left out of every number`);
  }
  if (zeroRows > 0) {
    found.push(`${zeroRows} of ${report.sampledRows} rows are all zero`);
  }
  if (deviation !== null && deviation > thresholds.deviation) {
    found.push(`error ${deviation.toFixed(2)} × what the quantizer gives on its design distribution`);
  }
  if (plan.recipe.rotate && marginal.after.ks > thresholds.ksAfterRotation) {
    found.push(`rotation does not bring the rows to the marginal: KS ${marginal.after.ks.toFixed(3)} after, ${marginal.before.ks.toFixed(3)} before`);
  }
  if (plan.recipe.rotate && marginal.rho > thresholds.rho) {
    found.push(`ρ of Proposition 1 is ${marginal.rho.toFixed(1)}: single large weights, the rotation cannot promise the marginal`);
  }
  return found.map((text) => ({ layer: plan.name, text }));
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

async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  await writeFile(temporary, text);
  await rename(temporary, path);
}

function evidenceJson({ config, plan, analysis, problems, engine, date, findings: found }: Evidence): unknown {
  return { config, date: date.toISOString(), engine, checkpoint: plan.checkpoint, architecture: plan.architecture, planHash: plan.hash, totals: plan.totals, rules: plan.rules, layers: analysis.layers, failures: analysis.failures, findings: found, thresholds, problems };
}
