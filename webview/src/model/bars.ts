/** What the bar chart draws, whatever its rows are. */
import type { LayerRow } from './layers';
import { recipeLabel } from './layers';
import type { Metric } from './metrics';

export interface BarScale extends Pick<Metric, 'baseline' | 'scale' | 'format'> { /** Numbers of the axis, where `format` is too exact for them. */ tick?: (value: number) => string }

export interface BarRow {
  name: string;
  /** Where the bar ends; null for none. */
  value: number | null;
  side: 'worse' | 'better' | 'expected' | 'plain';
  /** Beside the bar. */
  text: string;
  description: string;
  estimate?: boolean;
}

/** Ratios this near to 1 stay grey: sampling of a finite row moves them as much. */
const AS_EXPECTED = 1.05;

export function layerBars(rows: readonly LayerRow[], metric: Metric): BarRow[] {
  return rows.map((row) => {
    const text = valueText(row, metric);
    const { name, role } = row.plan;
    return { name, value: metric.value(row), side: sideOf(row, metric), text, description: `${name}, ${role}, ${recipeLabel(row.plan)}. ${metric.title}: ${row.failure ?? text}` };
  });
}

function sideOf(row: LayerRow, metric: Metric): BarRow['side'] {
  const value = metric.value(row);
  if (value === null || metric.id !== 'ratio') {
    return 'plain';
  }
  return Math.abs(Math.log(value)) <= Math.log(AS_EXPECTED) ? 'expected' : value > metric.baseline ? 'worse' : 'better';
}

function valueText(row: LayerRow, metric: Metric): string {
  const value = metric.value(row);
  if (value !== null) {
    return metric.format(value);
  }
  if (row.failure !== null) {
    return 'failed';
  }
  return row.plan.recipe.weights.kind === 'keep' ? 'kept' : row.report === null ? 'not measured' : '–';
}
