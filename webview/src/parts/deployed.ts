/** Quantized layers on integers beside fake quantization: how far the two are apart, at each step too, and the layers that cannot run so. */
import { seriesKey } from '../charts/stepCurve';
import { h } from '../dom';
import type { PreviewSummary } from '../messages';
import { besideFake, executionText, floatGroups, surrogateText } from '../model/previewDeployed';
import { measuredOn } from '../model/previewMetrics';
import { createStepTables, metricTable } from './previewNumbers';

export interface DeployedPart {
  element: HTMLElement;
  /** Goes away when no candidate ran as deployed. */
  show(result: PreviewSummary, selected: number | null): void;
}

export function createDeployedPart(onSelect: (step: number) => void): DeployedPart {
  const stepTables = createStepTables(onSelect);
  const body = h('div', { class: 'deployed-body' });
  const element = h('section', { class: 'deployed', 'aria-label': 'As deployed' }, h('h3', {}, 'As deployed, against fake quantization'), body, stepTables.element);
  let drawn: { of: PreviewSummary; found: ReturnType<typeof besideFake> } | undefined;
  return {
    element,
    show: (result, selected) => {
      if (drawn?.of !== result) {
        // Made anew only for a new result: lists that are open stay open.
        drawn = { of: result, found: besideFake(result) };
        body.replaceChildren(...(drawn.found === null ? [] : [...lists(result), metricTable(drawn.found.result, `Agreement with fake quantization: ${measuredOn(result)}`, drawn.found.series)]));
      }
      element.hidden = drawn.found === null;
      if (drawn.found !== null) {
        stepTables.show(drawn.found.result, selected, drawn.found.series);
      }
    },
  };
}

function lists({ candidates }: PreviewSummary): HTMLElement[] {
  return candidates.flatMap(({ label, deployed }, index) => {
    if (deployed === undefined) {
      return [];
    }
    const lost = surrogateText(deployed);
    const equal = deployed.integerLayers === 0 ? ' Nothing ran on integers, so both are the same.' : '';
    return [
      h('p', { class: 'scope' }, seriesKey(index), h('span', { class: 'label' }, label), h('span', { class: 'execution' }, `${executionText(deployed)}.${equal}`)),
      ...(lost === null ? [] : [h('p', { class: 'muted' }, lost)]),
      ...floatGroups(deployed).map(({ title, names }) => h('details', { class: 'float-layers' }, h('summary', {}, title), h('ul', {}, ...names.map((name) => h('li', {}, name))))),
    ];
  });
}
