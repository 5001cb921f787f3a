import assert from 'node:assert/strict';
import { codeLenses } from '../../../server/src/language/codeLens';
import { layersNamed } from '../../fixtures/checkpoints';
import { modelOf } from './models';

const checkpoint = layersNamed('blocks.0.up', 'blocks.1.up', 'out');

function lenses(text: string, withCheckpoint = true): string[] {
  return codeLenses(modelOf(text, withCheckpoint ? { checkpoint } : {})).map(({ range, command }) => `${range.start.line} ${command?.title ?? ''} (${[command?.command, ...(command?.arguments ?? []).slice(1)].join(' ')})`);
}

describe('code lenses', () => {
  const text = 'version: 1\ncheckpoint: m\ndefaults: { method: rtn, scheme: W8A8 }\nrules:\n  - { name: ups, layers: "**.up" }\n  - name: keeps\n    layers: blocks.1.up\n    keep: bf16\n  - layers: nothing\nbudget:\n  size: 100B\n';

  it('tell what the file amounts to, what each rule decides, and what can be done with them', () => {
    assert.deepEqual(lenses(text), [
      '0 160 B · 13.333 bits · over the budget (quantscope.showPlan)', '0 Preview (quantscope.preview)', '0 Analyze (quantscope.analyze)', '0 Rank Layers (quantscope.rankLayers)',
      '4 Decides 1 of 2 layers (quantscope.showPlan ups)', '4 Preview This Rule Only (quantscope.previewRule 0)',
      '5 Decides 1 layer (quantscope.showPlan keeps)',
      '10 Allocate Bits (quantscope.allocate)',
    ]);
    assert.equal(lenses(text.replace('100B', '1kB'))[0], '0 160 B · 13.333 bits (quantscope.showPlan)');
    assert.equal(lenses(text.replace('size: 100B', 'bits: 4'))[0], '0 160 B · 13.333 bits · over the budget (quantscope.showPlan)');
  });

  it('are none without a plan', () => assert.deepEqual(lenses(text, false), []));
});
