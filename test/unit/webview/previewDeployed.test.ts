import assert from 'node:assert/strict';
import type { PreviewState } from '../../../webview/src/messages';
import { besideFake, drawnCandidates, executionText, floatGroups, numbersOf, surrogateText } from '../../../webview/src/model/previewDeployed';
import { previewMarkdown } from '../../../webview/src/model/previewMarkdown';
import { metricRows } from '../../../webview/src/model/previewMetrics';
import { deployedSummary, summary } from './previewFixtures';

type Run = Pick<PreviewState, 'candidates' | 'result' | 'asDeployed' | 'withDeployed'>;
const sources = ['a', 'b'].map((label) => ({ uri: `file:///${label}`, label }));
const indices = (run: Omit<Run, 'candidates'>): string[] => drawnCandidates({ candidates: sources, ...run }).map(({ index, source, deployed }) => `${index} of ${source}${deployed ? ' deployed' : ''}`);

describe('webview: candidates as deployed', () => {
  it('are drawn behind their config while the switch is on and the run has them', () => {
    assert.deepEqual(indices({ result: null, asDeployed: true, withDeployed: true }), ['0 of 0', '1 of 0 deployed', '2 of 1', '3 of 1 deployed']);
    assert.deepEqual(indices({ result: null, asDeployed: true, withDeployed: false }), ['0 of 0', '1 of 1']);
    assert.deepEqual(indices({ result: null, asDeployed: false, withDeployed: false }), ['0 of 0', '1 of 1']);
  });

  it('leave their pictures and numbers in place when the switch hides them', () => {
    const result = deployedSummary();
    assert.deepEqual(indices({ result, asDeployed: false, withDeployed: true }), ['0 of 0', '2 of 1']);
    const hidden = numbersOf(result, drawnCandidates({ candidates: sources, result, asDeployed: false, withDeployed: true }));
    assert.deepEqual(hidden, summary());
    assert.deepEqual(numbersOf(result, drawnCandidates({ candidates: sources, result, asDeployed: true, withDeployed: true })), result);
  });

  it('have a name before the server gives them one', () => {
    assert.deepEqual(drawnCandidates({ candidates: sources, result: null, asDeployed: true, withDeployed: true }).map(({ label }) => label), ['a', 'a, as deployed', 'b', 'b, as deployed']);
    assert.deepEqual(drawnCandidates({ candidates: sources, result: deployedSummary(), asDeployed: true, withDeployed: true }).map(({ label }) => label),
      ['a.quant.yaml', 'a.quant.yaml, as deployed', 'b|x.quant.yaml', 'b|x.quant.yaml, as deployed']);
  });

  it('stand beside fake quantization with numbers of their own', () => {
    const found = besideFake(deployedSummary()) ?? assert.fail();
    assert.deepEqual(found.series, [1, 3]);
    const rows = new Map(metricRows(found.result).map(({ title, texts }) => [title, texts]));
    assert.deepEqual(rows.get('Latent PSNR'), ['equal', 'equal']);
    assert.deepEqual(rows.get('Output error, median of the steps'), ['2.000e−4', '2.000e−4']);
    assert.equal(besideFake(summary()), null);
  });

  it('say how many layers run on integers, what codebooks lose, and why layers stay on floats', () => {
    const [, first, , second] = deployedSummary().candidates.map(({ deployed }) => deployed);
    assert.ok(first && second);
    assert.deepEqual([executionText(first), executionText(second)], ['39 layers on integers, 3 on floats', '1 layer on integers, 0 on floats']);
    assert.match(surrogateText(first) ?? '', /at most 3\.700e−5 of the energy of the weights and 0 of that of the activations/);
    assert.equal(surrogateText(second), null);
    assert.deepEqual(floatGroups(first), [
      { title: '2 layers on floats, because the layer keeps its activations as floats', names: ['to_q', 'to_k'] }, { title: '1 layer on floats, because the layer has | <i>', names: ['proj'] },
    ]);
    assert.deepEqual(floatGroups(second), []);
  });

  it('are part of the Markdown, with the layers that stay on floats', () => {
    const text = previewMarkdown(deployedSummary(), false);
    assert.match(text, /\n#### As deployed, against fake quantization\n\na\.quant\.yaml, as deployed: 39 layers on integers, 3 on floats\. Codebooks run on 8-bit integers/);
    assert.ok(text.includes('| Image PSNR | higher is better | 41.00 dB | 41.00 dB |'), text);
    assert.ok(text.includes('2 layers on floats, because the layer keeps its activations as floats: to\\_q, to\\_k'), text);
    assert.ok(text.includes('because the layer has \\| \\<i\\>: proj'), text);
    assert.equal(text.match(/<details><summary>Per step, against fake quantization: /g)?.length, 2);
    assert.doesNotMatch(previewMarkdown(summary(), false), /deployed/);
  });
});
