/** Previews as an editor gets them, from the built server with its real engine. */
import assert from 'node:assert/strict';
import type { PreviewFrameParams } from '../../server/src/protocol';
import { example, withEngine } from './client';
import type { TestClient } from './client';

const checkpoint = JSON.stringify(example.replace('.quant.yaml', ''));
const text = `version: 1
checkpoint: ${checkpoint}
defaults: { keep: original }
rules:
  - { name: attention, layers: ["**.attn1.**"], method: rtn, scheme: W4A16 }
  - { name: feed-forward, layers: ["**.ff.**"], method: orbitquant, scheme: W4A4 }
preview: { classes: [3], steps: 4, compareSteps: 2 }
`;

describe('previews over the wire', function () {
  this.timeout(60_000);
  const opened = withEngine(text);
  let client: TestClient;
  let uri = '';
  before(() => ({ client, uri } = opened()));
  const sent = (session: number): PreviewFrameParams[] => (client.drop('quantscope/previewFrame') as PreviewFrameParams[]).filter((each) => each.session === session);

  it('as deployed: an estimate of both executions, then both with their pictures, and every layer that cannot with its reason', async () => {
    const [fake, both] = [await client.request('quantscope/previewEstimate', { uris: [uri] }), await client.request('quantscope/previewEstimate', { uris: [uri], asDeployed: true })];
    const result = await client.request('quantscope/preview', { candidates: [{ uri }], asDeployed: true, session: 1 });
    const [first, second] = result.candidates;
    assert.deepEqual([first?.deployed, second?.label], [undefined, 'a.quant.yaml, as deployed']);
    const { deployed } = second ?? {};
    assert.ok(deployed);
    assert.ok(deployed.integerLayers > 0 && deployed.integerLayers + deployed.floatLayers.length === second?.scope.quantizedLayers);
    assert.ok(deployed.floatLayers.length > 0 && deployed.floatLayers.every(({ name, reason }) => name.includes('.attn1.') && reason === 'keeps its activations as floats'));
    assert.deepEqual(deployed.perStep.map(({ step }) => step), [1, 3]);
    assert.deepEqual(sent(1).map(({ frame }) => [frame.candidate, frame.step]), [[-1, 1], [-1, 3], [0, 1], [0, 3], [1, 1], [1, 3]]);
    // The reference of 4 steps is shared; each execution takes 2.
    assert.ok(both.flops > fake.flops && both.flops < 2 * fake.flops, `${fake.flops} and ${both.flops}`);
  });

  it('fake quantization alone unless asked', async () => {
    const { candidates } = await client.request('quantscope/preview', { candidates: [{ uri }, { uri, rule: 1 }], session: 2 });
    assert.deepEqual(candidates.map(({ rule, deployed }) => [rule, deployed]), [[null, undefined], [1, undefined]]);
    assert.deepEqual([...new Set(sent(2).map(({ frame }) => frame.candidate))], [-1, 0, 1]);
  });
});
