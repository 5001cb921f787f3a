import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { writeEvidence } from '../../../../server/src/analysis/evidence';
import type { Evidence } from '../../../../server/src/analysis/evidence';
import { parseGates } from '../../../../server/src/analysis/evidence/gates';
import { evidenceHtml } from '../../../../server/src/analysis/evidence/html';
import { evidenceJson } from '../../../../server/src/analysis/evidence/json';
import { evidenceMarkdown } from '../../../../server/src/analysis/evidence/markdown';
import { thresholdsOf } from '../../../../server/src/config/thresholds';
import type { Score, Sensitivity } from '../../../../server/src/protocol';
import { captureNumbers } from '../../../fixtures/captures';
import { comparison, evidence, ranking, seedRun } from '../../../fixtures/evidence';
import { marginal } from '../../../fixtures/fakeEngine';
import { temporaryFolders } from '../../../fixtures/folder';

/** What a reader of either sees, without tags, entities and the marks of Markdown. */
function both(report: Evidence): string[] {
  const html = evidenceHtml(report).replace(/^[\s\S]*<main>/, '').replace(/<(b|code)>|<\/(b|code)>/g, '').replace(/<[^>]*>/g, ' ').replace(/&#(\d+);/g, (_, code: string) => String.fromCharCode(Number(code)));
  return [html, evidenceMarkdown(report).replace(/[\\`*|]/g, '')].map((text) => text.replace(/\s+/g, ' '));
}

/** Not the whole report. */
function near(text: string, words: RegExp): string { return `${words.source} in: …${text.slice(0, 400)}…`; }

function says(report: Evidence, ...expected: RegExp[]): void {
  both(report).forEach((text) => expected.forEach((words) => assert.ok(words.test(text), near(text, words))));
}

function saysNot(report: Evidence, ...unexpected: RegExp[]): void {
  both(report).forEach((text) => unexpected.forEach((words) => assert.ok(!words.test(text), near(text, words))));
}

describe('evidence report', () => {
  const folder = temporaryFolders();

  it('has no findings when every layer keeps the promise', async () => {
    const report = await evidence({ answer: { relativeMse: 0.008 } });
    assert.deepEqual(report.findings, []);
    assert.match(evidenceMarkdown(report), /No findings\./);
  });

  it('finds errors above the expectation, rows the rotation does not tame, NaNs and zero rows', async () => {
    const report = await evidence({ answer: { relativeMse: 0.02, after: marginal(0.18), nonFinite: 3, zeroRows: 2, rho: 40 } });
    const texts = report.findings.filter((finding) => finding.layer === 'proj_out_1').map((finding) => finding.text).join('\n');
    for (const words of [/3 weights are NaN or infinite/, /2 of 256 rows are all zero/, /2\.50 × what the quantizer gives/, /KS 0\.180 after, 0\.100 before/, /ρ of Proposition 1 is 40\.0/]) {
      assert.match(texts, words);
    }
    assert.match(evidenceMarkdown(report), /- and \d+ more/);
  });

  it('has the findings of a capture when one is given, and says when none was', async () => {
    saysNot(await evidence(), /salient outlier/);
    says(await evidence(), /Activations were not looked at: "quantscope capture"/);
    const layers = [captureNumbers('proj_out_1', 'conditional', 3, { nonFinite: 7 })];
    says(await evidence({ capture: { architecture: 'DiT', items: ['class 3'], steps: 8, device: null, layers, weights: [], thresholds: thresholdsOf(undefined) } }), /proj_out_1: 7 of its inputs are NaN or infinite/, /Activations: KS behind the rotation above 0\.05/);
  });

  it('states scope, true bits, sizes before and after, and every layer', async () => {
    const report = await evidence({ rules: ['rules:', '  - layers: ["proj_out_*"]', '    keep: original'] });
    assert.deepEqual([report.scope.quantized, report.scope.layers, report.scope.kept, report.scope.keptNames], [54, 56, ['proj_out_1', 'proj_out_2'], [{ name: 'proj_out_1', count: 1 }, { name: 'proj_out_2', count: 1 }]]);
    const share = report.scope.roles.reduce((sum, { paramsPercent }) => sum + paramsPercent, 0);
    assert.ok(Math.abs(share - 100) < 1e-9);
    says(report, /54 of 56/, new RegExp(`${report.plan.totals.averageBits.toFixed(3)} bits`), /linear weights 4\.20 MB → /, /98\.37 % of the linear weights/);
    const html = evidenceHtml(report);
    for (const layer of report.plan.layers) {
      assert.ok(html.includes(layer.name), layer.name);
    }
  });

  it('names numbers of many layers once', async () => {
    const { scope } = await evidence({ rules: ['rules:', '  - layers: ["**.norm1.linear"]', '    keep: original'] });
    assert.deepEqual(scope.keptNames, [{ name: 'transformer_blocks.*.norm1.linear', count: 6 }]);
  });

  it('gives metrics with direction, spread and the worst item, seeds and settings', async () => {
    says(await evidence(), /Image PSNR higher is better 2 23\.00 ± 2\.83 dB/, /20\.00 dB \(class 3, seed 5\)/, /forced, 2 of 8 steps compared/, /seeds 5, 6/, /finite and not/, /LPIPS/);
    says(await evidence({ comparison: { found: comparison([seedRun(5, [20, 22])]) } }), /no spread/);
  });

  it('inlines pictures with their numbers, in words too', async () => {
    const html = evidenceHtml(await evidence());
    assert.equal(html.match(/<img src="data:image\/png;base64,[A-Za-z0-9+/=]+" width="176" height="176" alt="[^"]+">/g)?.length, 12);
    assert.match(html, /alt="Quantized: class 7, step 4 of 8"/);
    assert.match(html, /<b>class 3, step 8 of 8<\/b><br>Image PSNR 30\.00 dB · /);
    assert.ok(html.length < 250_000, String(html.length));
  });

  it('compares nothing with a broken reference', async () => {
    const report = await evidence({ comparison: { found: comparison([seedRun(5, [20, 22], { finite: false, uniform: false })]) }, gates: parseGates('ssim>=0.1') });
    says(report, /holds NaN or infinite values \(seed 5\)/, /FAILED, nothing was compared/);
    saysNot(report, /SSIM 0\.8/, /\d dB/);
    assert.ok(!evidenceHtml(report).includes('<img'));
    assert.match(evidenceHtml(report), /not compared<small>the reference is broken/);
  });

  it('says which outputs of the quantized model are not finite', async () => {
    says(await evidence({ comparison: { found: comparison([seedRun(5, [20, NaN])]) } }), /1 not finite/, /not finite \(class 7, seed 5\)/);
  });

  it('says why a part is missing', async () => {
    says(await evidence({ comparison: { missing: 'There is no VAE.' }, ranking: { missing: 'No model to run.' } }), /There are none\. There is no VAE\.|There is none\. There is no VAE\./, /There is none\. No model to run\./);
  });

  it('has sensitivities with their controls, or marks the estimate as one', async () => {
    says(await evidence(), /blocks\.0\.q 0\.25/, /Zero swap: exactly 0, no value differs in 12 runs/, /Additivity: the parts add up to 0\.313, all at once give 0\.625, ratio 0\.5 /, /Noise control, blocks\.0\.q: weights alone quantized 0\.2, Gaussian noise of the same norm 0\.1, ratio 2/);
    const estimated = await evidence({ ranking: { found: ranking({}, true) } });
    says(estimated, /Sensitivity \(estimate\)/, /It has no controls/);
    saysNot(estimated, /Zero swap/);
    assert.match(evidenceHtml(estimated), /class="bar marked"/);
  });

  it('does not hide a control that failed, nor a score that is not finite', async () => {
    const [first] = ranking().layers as [Score];
    const broken: Sensitivity = ranking({ layers: [{ ...first, score: null }, ...ranking().layers], controls: { zeroSwap: { runs: 12, differing: 3 }, noise: [] } });
    says(await evidence({ ranking: { found: broken } }), /3 values differ in 12 runs with nothing swapped, so these numbers cannot be trusted/, /not finite/);
    assert.match(evidenceHtml(await evidence({ ranking: { found: broken } })), /zero-swap control failed/);
  });

  it('names versions and hashes, and what they are of', async () => {
    says(await evidence({ config: { name: 'a.quant.yaml', sha256: 'c0ffee', saved: false } }), /SHA-256 c0ffee of the text in the editor, which was not saved/, /model\.safetensors, 123 bytes, SHA-256 beef/, /tells changes on this machine only/, /QuantScope fake, scalar/, /1970-01-01 00:00 UTC/);
    says(await evidence({ identity: { revision: 'r', files: [{ name: 'm', bytes: 5, sha256: null }] } }), /content not hashed/, /report --hash/);
  });

  it('lets nothing from a file become markup, and needs nothing from outside', async () => {
    const hostile = '<img src=x onerror=alert(1)>|`"\'](javascript:x) @team';
    const report = await evidence({
      rules: ['rules:', `  - name: ${JSON.stringify(hostile)}`, '    layers: ["proj_out_*"]', '    keep: original'], config: { name: hostile, sha256: 'x', saved: true },
      comparison: { found: comparison([seedRun(5, [20])], {}, [hostile]) }, identity: { revision: 'r', files: [{ name: hostile, bytes: 1, sha256: hostile }] },
      ranking: { found: ranking({ layers: [{ ...(ranking().layers[0] as Score), name: hostile }] }) },
    });
    report.analysis.failures.push({ name: hostile, message: hostile });
    const html = evidenceHtml(report);
    assert.ok(!html.includes('<img src=x'));
    assert.ok(!/<script|https?:|style="|href=|src="(?!data:image\/png;base64,)|\son\w+="/i.test(html), 'self-contained, no script');
    assert.match(html, /<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">/);
    const outsideCode = evidenceMarkdown(report).replace(/`[^`\n]*`/g, '');
    assert.ok(!/(?<!\\)<img|(?<!\\)\]\(javascript|@team/.test(outsideCode));
    for (const line of evidenceMarkdown(report).split('\n').filter((each) => each.startsWith('| '))) {
      assert.ok(line.endsWith(' |'), line);
    }
  });

  it('missing parts with hostile reasons as well', async () => {
    const report = await evidence({ comparison: { missing: '<b>x</b>' }, ranking: { missing: '<b>x</b>' } });
    assert.ok(!evidenceHtml(report).includes('<b>x') && !/(?<!\\)<b>x/.test(evidenceMarkdown(report)));
  });

  it('JSON: every number, no picture, the same twice', async () => {
    const text = JSON.stringify(evidenceJson(await evidence()));
    const json = JSON.parse(text) as { preview: { metrics: Record<string, { n: number; mean: number }>; directions: Record<string, string>; runs: { items: { finite: boolean }[] }[] }; sensitivity: { by: string }; configSha256: string };
    assert.deepEqual([json.preview.metrics['psnrDb']?.n, json.preview.metrics['psnrDb']?.mean, json.sensitivity.by, json.configSha256], [2, 23, 'layer', 'c0ffee']);
    assert.deepEqual([json.preview.directions['outputRelativeMse'], json.preview.directions['ssim']], ['lower is better', 'higher is better']);
    assert.ok(!text.includes('iVBOR') && !text.includes('"pictures"'));
    assert.equal(JSON.stringify(evidenceJson(await evidence())), text);
    const broken = JSON.parse(JSON.stringify(evidenceJson(await evidence({ comparison: { found: comparison([seedRun(5, [20, NaN])]) }, ranking: { missing: 'why' } })))) as typeof json & { sensitivity: unknown };
    assert.deepEqual([broken.preview.runs[0]?.items.map(({ finite }) => finite), broken.sensitivity], [[true, false], { missing: 'why' }]);
  });

  it('writes HTML, Markdown and JSON, and leaves nothing else', async () => {
    const place = folder();
    const written = await writeEvidence(await evidence(), join(place, 'deep/report.html'));
    assert.deepEqual(readdirSync(join(place, 'deep')).sort(), ['report.html', 'report.json', 'report.md']);
    const json = JSON.parse(readFileSync(written.json, 'utf8')) as { layers: unknown[]; date: string };
    assert.deepEqual([json.layers.length, json.date, written.images], [56, '1970-01-01T00:00:00.000Z', undefined]);
    assert.ok(!readFileSync(written.markdown, 'utf8').includes('!['));
  });

  it('writes pictures for the Markdown when asked, and links them', async () => {
    const place = folder();
    const { images, markdown } = await writeEvidence(await evidence(), join(place, 'report.html'), join(place, 'my images'));
    assert.equal(images?.length, 12);
    assert.deepEqual(readdirSync(join(place, 'my images')).slice(0, 3), ['item0-difference-step3.png', 'item0-difference-step7.png', 'item0-quantized-step3.png']);
    assert.match(readFileSync(markdown, 'utf8'), /!\[quantized\]\(my%20images\/item0-quantized-step3\.png\)/);
  });
});
