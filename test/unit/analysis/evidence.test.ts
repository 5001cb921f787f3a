import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ReportCache } from '../../../server/src/analysis/cache';
import { buildEvidence, writeEvidence } from '../../../server/src/analysis/evidence';
import type { Evidence } from '../../../server/src/analysis/evidence';
import { evidenceHtml } from '../../../server/src/analysis/evidenceHtml';
import { evidenceMarkdown } from '../../../server/src/analysis/evidenceMarkdown';
import { analyze } from '../../../server/src/analysis/report';
import { thresholdsOf } from '../../../server/src/config/thresholds';
import type { Measurement } from '../../../server/src/engine/addon';
import { FakeEngine, marginal } from '../../fixtures/fakeEngine';
import { temporaryFolders } from '../../fixtures/folder';
import { glyphRequest } from '../../fixtures/plans';

async function evidence(answer: Partial<Measurement> = {}, ...rules: string[]): Promise<Evidence> {
  const engine = new FakeEngine(() => answer);
  const request = await glyphRequest('defaults: { method: orbitquant, scheme: W4A4 }', ...rules);
  return buildEvidence({ config: 'a <b>.quant.yaml', plan: request.plan, analysis: await analyze(request, engine, new ReportCache(null)), problems: request.plan.problems, thresholds: thresholdsOf(undefined), engine: await engine.info(), date: new Date(0) });
}

describe('evidence report', () => {
  const folder = temporaryFolders();

  it('has no findings when every layer keeps the promise', async () => {
    const report = await evidence({ relativeMse: 0.008 });
    assert.deepEqual(report.findings, []);
    assert.match(evidenceMarkdown(report), /No findings\./);
  });

  it('finds errors above the expectation, rows the rotation does not tame, NaNs and zero rows', async () => {
    const { findings } = await evidence({ relativeMse: 0.02, after: marginal(0.18), nonFinite: 3, zeroRows: 2, rho: 40 });
    const texts = findings.filter((finding) => finding.layer === 'proj_out_1').map((finding) => finding.text).join('\n');
    assert.match(texts, /3 weights are NaN or infinite/);
    assert.match(texts, /2 of 256 rows are all zero/);
    assert.match(texts, /2\.50 × what the quantizer gives/);
    assert.match(texts, /KS 0\.180 after, 0\.100 before/);
    assert.match(texts, /ρ of Proposition 1 is 40\.0/);
  });

  it('states scope, true bits and every layer, and lets nothing from a file become markup', async () => {
    const report = await evidence({}, 'rules:', '  - name: "<img src=x onerror=alert(1)>|`"', '    layers: ["proj_out_*"]', '    keep: original');
    const html = evidenceHtml(report);
    assert.match(html, /54 of 56/);
    assert.ok(html.includes(`${report.plan.totals.averageBits.toFixed(3)} bits`));
    for (const layer of report.plan.layers) {
      assert.ok(html.includes(layer.name), layer.name);
    }
    assert.ok(!html.includes('<img') && !html.includes('<b>.quant'), 'escaped');
    assert.ok(!/<script|https?:|style="|src=|href=/i.test(html.replaceAll('&#60;img src=x', '')), 'self-contained, no script');
    assert.ok(evidenceMarkdown(report).includes("\\|'"));
  });

  it('writes HTML, Markdown and JSON, and leaves nothing else', async () => {
    const place = folder();
    const written = await writeEvidence(await evidence(), join(place, 'deep/report.html'));
    assert.deepEqual(readdirSync(join(place, 'deep')).sort(), ['report.html', 'report.json', 'report.md']);
    const json = JSON.parse(readFileSync(written.json, 'utf8')) as { layers: unknown[]; date: string };
    assert.deepEqual([json.layers.length, json.date], [56, '1970-01-01T00:00:00.000Z']);
  });
});
