/**
 * The evidence report: what is quantized, at what true size, what it does to pictures from the same seed, and what was measured of each layer, as one self-contained HTML file with Markdown
 * (for a pull request) and JSON beside it. Charts are inline SVG, pictures are inlined, nothing is loaded from anywhere, no script runs.
 */
import type { EngineInfo, Plan, Problem, Sensitivity } from '../../protocol';
import { findings } from '../findings';
import type { EvidenceLayer, Finding } from '../findings';
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
  engine: EngineInfo;
  date: Date;
}

export interface Evidence extends Omit<EvidenceInput, 'gates'> { scope: Scope; layers: EvidenceLayer[]; findings: Finding[]; gates: GateResult[] }

export function buildEvidence(input: EvidenceInput): Evidence {
  const reports = new Map(input.analysis.layers.map((report) => [report.name, report]));
  const layers = input.plan.layers.flatMap((plan) => {
    const report = reports.get(plan.name);
    return report ? [{ plan, report, deviation: report.weight.expectedRelativeMse ? report.weight.relativeMse / report.weight.expectedRelativeMse : null }] : [];
  });
  return { ...input, scope: scopeOf(input.plan), layers, findings: layers.flatMap(findings), gates: judge(input.gates, 'found' in input.comparison ? input.comparison.found : null) };
}
