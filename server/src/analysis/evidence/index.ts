/**
 * The evidence report: what is quantized, at what true size, what it does to pictures from the same seed, and what was measured of each layer, as one self-contained HTML file with Markdown
 * (for a pull request) and JSON beside it. Charts are inline SVG, pictures are inlined, nothing is loaded from anywhere, no script runs.
 */
import type { Capture, EngineInfo, Finding, Plan, Problem, Sensitivity, Thresholds } from '../../protocol';
import { activationFindings, weightFindings } from '../findings';
import type { EvidenceLayer } from '../findings';
import type { Analysis } from '../report';
import type { Comparison } from './comparison';
import { judge } from './gates';
import type { Gate, GateResult } from './gates';
import type { CheckpointIdentity, ConfigIdentity } from './identity';
import { scopeOf } from './scope';
import type { Scope } from './scope';

export { replaceFile, writeEvidence } from './write';

/** A part of the report, or why it is not there. */
export type Section<T> = { found: T } | { missing: string };

export interface EvidenceInput {
  config: ConfigIdentity;
  identity: CheckpointIdentity;
  plan: Plan;
  analysis: Analysis;
  comparison: Section<Comparison>;
  ranking: Section<Sensitivity>;
  /** Asked for on the command line. */
  gates: readonly Gate[];
  problems: readonly Problem[];
  /** Of this model's activations, whose findings are to be among the others; null without one. */
  capture: Capture | null;
  /** From when on a number is a finding. */
  thresholds: Thresholds;
  engine: EngineInfo;
  date: Date;
}

export interface Evidence extends Omit<EvidenceInput, 'gates'> { scope: Scope; layers: EvidenceLayer[]; findings: Finding[]; gates: GateResult[] }

export function buildEvidence(input: EvidenceInput): Evidence {
  const layers = evidenceLayers(input.plan, input.analysis);
  const findings = [...layers.flatMap((layer) => weightFindings(layer, input.thresholds)), ...(input.capture ? activationFindings(input.capture, input.thresholds) : [])];
  return { ...input, scope: scopeOf(input.plan), layers, findings, gates: judge(input.gates, 'found' in input.comparison ? input.comparison.found : null) };
}

/** Those that were measured, in the order of the plan. */
export function evidenceLayers(plan: Plan, analysis: Analysis): EvidenceLayer[] {
  const reports = new Map(analysis.layers.map((report) => [report.name, report]));
  return plan.layers.flatMap((layer) => {
    const report = reports.get(layer.name);
    return report ? [{ plan: layer, report, deviation: report.weight.expectedRelativeMse ? report.weight.relativeMse / report.weight.expectedRelativeMse : null }] : [];
  });
}
