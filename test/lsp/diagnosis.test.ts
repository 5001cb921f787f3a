/** Sensitivity, the first bad layer and allocation as an editor gets them, from the built server with its real engine. */
import assert from 'node:assert/strict';
import { CancellationTokenSource } from 'vscode-languageserver/node';
import type { CodeAction, CodeLens, DocumentDiagnosticReport } from 'vscode-languageserver/node';
import { TextDocument } from 'vscode-languageserver-textdocument';
import type { AllocateResult, Notifications } from '../../server/src/protocol';
import { example, withEngine } from './client';
import type { TestClient } from './client';

const checkpoint = JSON.stringify(example.replace('.quant.yaml', ''));
const preview = 'preview: { classes: [3], steps: 4, guidance: 2, compareSteps: 2 }';
const text = `version: 1\ncheckpoint: ${checkpoint}\ndefaults: { method: orbitquant, scheme: W4A4 }\nrules:\n  # These stay.\n  - { layers: ["**.norm1.linear", "**.timestep_embedder.*", "proj_out_*"], keep: original }\nbudget: { size: 2.4MB }\n${preview}\n`;

describe('diagnosis over the wire', function () {
  this.timeout(120_000);
  const opened = withEngine(text);
  let client: TestClient;
  let uri = '';
  before(() => ({ client, uri } = opened()));
  const rankings = (): Notifications['quantscope/ranking'][] => client.drop('quantscope/ranking') as Notifications['quantscope/ranking'][];

  it('cancels a ranking in the middle', async () => {
    const source = new CancellationTokenSource();
    const job = client.connection.sendRequest('quantscope/sensitivity', { uri, by: 'layer', workDoneToken: 'work' }, source.token);
    job.catch(() => undefined);
    const first = await client.nextOf('quantscope/ranking');
    assert.deepEqual([first.scores.length, first.total, first.measured, first.scores.every(({ estimate }) => estimate)], [36, 36, 0, true]);
    source.cancel();
    await assert.rejects(job, (error: Error & { code: number }) => error.code === -32800);
    rankings();
  });

  it('ranks with estimates first, each replaced by what was measured, and controls', async () => {
    const { sensitivity, planHash } = await client.request('quantscope/sensitivity', { uri, by: 'layer', workDoneToken: 'rank' });
    const sent = rankings();
    assert.ok(sent.every((each) => each.uri === uri && each.planHash === planHash && each.total === 36));
    assert.ok(sent[0]?.scores.every(({ estimate }) => estimate));
    assert.deepEqual(sent.slice(1).map(({ scores, measured }) => [scores.length, scores[0]?.estimate, measured]), Array.from({ length: 36 }, (_, i) => [1, false, i + 1]));
    const last = new Map(sent.flatMap(({ scores }) => scores.map((score) => [score.name, score.score] as const)));
    assert.deepEqual(sensitivity.layers.map(({ name, score }) => [name, score]), [...last].sort((a, b) => (b[1] ?? Infinity) - (a[1] ?? Infinity)));
    assert.deepEqual([sensitivity.controls.zeroSwap.differing, sensitivity.controls.noise.length], [0, 3]);
    const percentages = (client.drop('$/progress') as { token: string; value: { kind: string; percentage?: number } }[]).filter(({ token }) => token === 'rank').flatMap(({ value }) => (value.kind === 'report' ? [value.percentage ?? NaN] : []));
    assert.deepEqual(percentages, percentages.toSorted((a, b) => a - b));
    const again = await client.request('quantscope/sensitivity', { uri, by: 'layer' });
    assert.deepEqual(again.sensitivity.layers, sensitivity.layers);
    rankings();
  });

  it('estimates only', async () => {
    const { sensitivity } = await client.request('quantscope/sensitivity', { uri, by: 'block', steps: 2, estimateOnly: true });
    assert.deepEqual([sensitivity.layers.length, sensitivity.layers.every(({ estimate }) => estimate), sensitivity.additivity], [6, true, null]);
    assert.equal(rankings().length, 1);
  });

  it('finds no bad layer, and the first one of a plan that has some', async () => {
    assert.deepEqual((await client.request('quantscope/firstBad', { uri })).firstBad.findings, []);
    await client.change(uri, text.replace('orbitquant, scheme: W4A4', 'rtn, scheme: W2A16'));
    const { firstBad } = await client.request('quantscope/firstBad', { uri });
    assert.equal(firstBad.first?.kind, 'departs');
    await client.change(uri, text);
  });

  function applied({ edits }: AllocateResult, before = text): string {
    return TextDocument.applyEdits(TextDocument.create(uri, '', 1, before), edits.map(({ range, newText }) => ({ range, newText })));
  }

  it('allocates under the budget of the config, with the smallest edit, and again over what it wrote', async () => {
    const result = await client.request('quantscope/allocate', { uri, loss: 'weights', workDoneToken: 'allocate' });
    assert.ok(result.allocation.bytes <= 2_400_000 && result.allocation.certificate.optimal && result.changes.length > 0);
    assert.deepEqual(result.edits.map(({ oldText, range: { start, end } }) => [oldText, start, end]), [['', { line: 4, character: 0 }, { line: 4, character: 0 }]]);
    const written = applied(result);
    assert.ok(written.includes('  # These stay.\n') && written.includes('- name: allocated'));
    await client.change(uri, written);
    const { plan } = await client.request('quantscope/plan', { uri });
    assert.deepEqual([plan.hash, plan.totals.checkpointBytes], [result.newPlanHash, result.allocation.bytes]);
    result.changes.forEach(({ from, to }) => {
      assert.deepEqual(plan.layers.find(({ name }) => name === to.name)?.recipe, to.recipe);
      assert.notDeepEqual(from.recipe, to.recipe);
    });
    const again = await client.request('quantscope/allocate', { uri, loss: 'weights' });
    assert.deepEqual([again.edits, again.changes, again.planHash, again.newPlanHash], [[], [], plan.hash, plan.hash]);
    const tighter = await client.request('quantscope/allocate', { uri, loss: 'weights', budget: { bits: '8.5' } });
    assert.match(applied(tighter, written), /^budget: \{ bits: 8\.5 \}$/m);
    await client.change(uri, text);
  });

  it('runs finalists end to end when asked, and recommends the first of them', async () => {
    const { allocation, edits } = await client.request('quantscope/allocate', { uri, loss: 'weights', options: ['W3A4', 'W4A4', 'W8A8'], verify: { finalists: 2, seeds: 1 } });
    assert.deepEqual([allocation.finalists.length, allocation.recommended, allocation.verification?.seeds.length], [2, allocation.finalists[0]?.name, 1]);
    assert.ok(edits.length > 0 && allocation.bytes === allocation.finalists[0]?.bytes);
  });

  it('cancels an allocation that goes by sensitivities', async () => {
    const source = new CancellationTokenSource();
    client.drop('$/progress');
    const job = client.connection.sendRequest('quantscope/allocate', { uri, loss: 'sensitivity', workDoneToken: 'long' }, source.token);
    job.catch(() => undefined);
    for (let percentage = 0; percentage < 1;) {
      percentage = (await client.next<{ value: { percentage?: number } }>('$/progress')).value.percentage ?? 0;
    }
    source.cancel();
    await assert.rejects(job, (error: Error & { code: number }) => error.code === -32800);
  });

  it('says what is wrong with a question', async () => {
    const refuses = (method: string, params: object, message: RegExp): Promise<void> => assert.rejects(client.connection.sendRequest(method, { uri, ...params }), message);
    await refuses('quantscope/sensitivity', { by: 'head' }, /"by" must be layer, block or role, not "head"/);
    await refuses('quantscope/sensitivity', { by: 'layer', steps: 1.5 }, /steps must be a whole number from 1 to 1000/);
    await refuses('quantscope/allocate', { loss: 'guess' }, /"loss" must be weights, outputs or sensitivity/);
    await refuses('quantscope/allocate', { loss: 'weights', budget: { size: 'small' } }, /The size must be a number with a unit, not "small"/);
    await refuses('quantscope/allocate', { loss: 'weights', verify: { finalists: 1 } }, /finalists must be a whole number from 2 to 100, not 1/);
    await refuses('quantscope/allocate', { loss: 'weights', budget: { size: '1MB' } }, /No plan fits into 1000000 bytes/);
    await refuses('quantscope/firstBad', { uri: 'file:///nowhere.quant.yaml' }, /nowhere\.quant\.yaml is not open in the editor/);
    await client.change(uri, text.replace(/budget: .*\n/, ''));
    await refuses('quantscope/allocate', { loss: 'weights' }, /How large may it be\? Write "budget:/);
    assert.deepEqual(client.drop('window/logMessage'), []);
    await client.change(uri, text);
  });

  it('offers all of it in the text: lenses for file and budget, a quick fix for a plan that is too large', async () => {
    await client.change(uri, text);
    const lenses = await client.ask<CodeLens[]>('textDocument/codeLens', { textDocument: { uri } });
    const offered = lenses.map(({ range, command }) => [range.start.line, command?.title, command?.command]);
    assert.ok([[0, 'Rank Layers', 'quantscope.rankLayers'], [6, 'Allocate Bits', 'quantscope.allocate']].every((lens) => offered.some((each) => JSON.stringify(each) === JSON.stringify(lens))), JSON.stringify(offered));
    const report = await client.ask<DocumentDiagnosticReport>('textDocument/diagnostic', { textDocument: { uri } });
    const over = report.kind === 'full' ? report.items.filter(({ code }) => code === 'plan/over-budget') : [];
    assert.equal(over.length, 1);
    const actions = await client.ask<CodeAction[]>('textDocument/codeAction', { textDocument: { uri }, range: over[0]?.range, context: { diagnostics: over } });
    assert.deepEqual(actions.map(({ title, command }) => [title, command?.command, command?.arguments]), [['Choose bits that fit the budget', 'quantscope.allocate', [uri]]]);
  });
});
