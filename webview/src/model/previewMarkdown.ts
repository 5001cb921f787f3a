/** A preview as Markdown for a pull request: what was quantized, how it was run, every number with its direction. No pictures. */
import type { PreviewSummary } from '../messages';
import { formatPercent } from './format';
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
    ...candidates.flatMap(({ label, perStep }) => (perStep.length === 0 ? [] : [
      `<details><summary>Per step: ${html(label)}</summary>`, '',
      ...table(['step', 't', ...STEP_METRICS.map(({ title, better }) => `${title} (${better})`)],
        perStep.map((step) => [`${step.step + 1} of ${settings.steps}`, String(Number(step.timestep.toPrecision(5))), ...STEP_METRICS.map(({ id, format }) => format(step[id]))])), '',
      '</details>', '',
    ])),
  ].join('\n').trimEnd() + '\n';
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
