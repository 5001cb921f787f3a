/** A preview as Markdown for a pull request: what was quantized, how it was run, every number with its direction. No pictures. */
import type { PreviewStep } from '../../../server/src/protocol';
import type { PreviewSummary } from '../messages';
import { formatPercent } from './format';
import { besideFake, executionText, floatGroups, surrogateText } from './previewDeployed';
import { measuredOn, metricRows, referenceWarning, settingTexts, STEP_METRICS } from './previewMetrics';

export function previewMarkdown(result: PreviewSummary, outdated: boolean): string {
  const { architecture, settings, items, candidates, reference } = result;
  const labels = candidates.map(({ label }) => label);
  const warning = referenceWarning(reference);
  return [
    `### Quantized preview: ${labels.map(inline).join(' and ')}`, '',
    [architecture, ...settingTexts(settings), ...items].map(inline).join(' · '), '',
    ...(warning === null ? [] : [`**${warning}**`, '']),
    ...(outdated ? ['The config was edited after this preview.', ''] : []),
    ...table(['', 'quantized layers', 'share of the weights', 'average bits, side data included'], candidates.map(({ label, scope }) =>
      [label, `${scope.quantizedLayers} of ${scope.layers}`, formatPercent(scope.paramsPercent / 100), scope.averageBits.toFixed(3)])), '',
    ...table([measuredOn(result), 'direction', ...labels], metricRows(result).map(({ metric, title, texts }) => [title, metric.better, ...texts])), '',
    ...candidates.flatMap(({ label, perStep }) => stepTable(`Per step: ${label}`, perStep, settings.steps)),
    ...asDeployed(result),
  ].join('\n').trimEnd() + '\n';
}

/** Nothing unless a candidate ran as deployed. */
function asDeployed(result: PreviewSummary): string[] {
  const beside = besideFake(result);
  if (beside === null) {
    return [];
  }
  const { candidates, settings } = beside.result;
  return [
    '#### As deployed, against fake quantization', '',
    ...candidates.flatMap(({ label, deployed }) => (deployed === undefined ? [] : [`${inline(label)}: ${executionText(deployed)}. ${surrogateText(deployed) ?? ''}`.trimEnd(), ''])),
    ...table([measuredOn(result), 'direction', ...candidates.map(({ label }) => label)], metricRows(beside.result).map(({ metric, title, texts }) => [title, metric.better, ...texts])), '',
    ...candidates.flatMap(({ label, perStep, deployed }) => [
      ...stepTable(`Per step, against fake quantization: ${label}`, perStep, settings.steps),
      ...(deployed === undefined ? [] : floatGroups(deployed).flatMap(({ title, names }) => [`${inline(title)}: ${names.map(inline).join(', ')}`, ''])),
    ]),
  ];
}

function stepTable(title: string, perStep: readonly PreviewStep[], steps: number): string[] {
  return perStep.length === 0 ? [] : [
    `<details><summary>${html(title)}</summary>`, '',
    ...table(['step', 't', ...STEP_METRICS.map((metric) => `${metric.title} (${metric.better})`)],
      perStep.map((step) => [`${step.step + 1} of ${steps}`, String(Number(step.timestep.toPrecision(5))), ...STEP_METRICS.map(({ id, format }) => format(step[id]))])), '',
    '</details>', '',
  ];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]): string => `| ${cells.map(inline).join(' | ')} |`;
  return [line(head), `|${head.map((_, index) => (index === 0 ? '---' : '--:')).join('|')}|`, ...rows.map(line)];
}

/** Names come from files: nothing in them may become markup or end a cell. */
function inline(text: string): string {
  return text.replace(/\s+/g, ' ').replace(/[\\`*_[\]<>|#]/g, (character) => `\\${character}`);
}

function html(text: string): string {
  return text.replace(/\s+/g, ' ').replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
