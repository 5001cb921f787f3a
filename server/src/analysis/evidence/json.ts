/** The report as data: every number, no pictures. */
import type { Evidence, Section } from '.';
import type { Comparison } from './comparison';
import { agreementMetrics, stepMetrics } from './metrics';

/** Keys are stable, docs/cli.md. */
export function evidenceJson(evidence: Evidence): unknown {
  const { config, identity, plan, analysis, comparison, ranking, gates, problems, engine, date, findings, thresholds, scope } = evidence;
  const { pid, ...build } = engine;
  return {
    config: config.name, configSha256: config.sha256, configSaved: config.saved, date: date.toISOString(), engine: build,
    checkpoint: plan.checkpoint, architecture: plan.architecture, identity, planHash: plan.hash, scope, totals: plan.totals, rules: plan.rules,
    preview: sectionJson(comparison, comparisonJson), gates, sensitivity: sectionJson(ranking, (found) => found),
    layers: analysis.layers, failures: analysis.failures, findings, thresholds, problems,
  };
}

function sectionJson<T>(section: Section<T>, json: (found: T) => unknown): unknown {
  return 'found' in section ? json(section.found) : { missing: section.missing };
}

/** A metric is null when nothing differs, or when something was not finite: `finite` tells which. */
function comparisonJson({ settings, seeds, items, refused, runs, metrics, perStep }: Comparison): unknown {
  return {
    settings, seeds, items, refused,
    directions: Object.fromEntries(stepMetrics.map(({ id, direction }) => [id, direction])),
    metrics, perStep,
    runs: runs.map(({ seed, reference, items: each }) => ({ seed, reference, items: each.map((numbers) => ({ ...numbers, finite: agreementMetrics.every(({ id }) => numbers.metrics[id] === null || Number.isFinite(numbers.metrics[id])) })) })),
  };
}
