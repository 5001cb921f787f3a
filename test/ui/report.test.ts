import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EXAMPLE, open } from './vscode';
import type { Workbench } from './vscode';

const SHORT = 'short.quant.yaml';
const LONG = 'long.quant.yaml';

function addConfigs(folder: string): void {
  const example = readFileSync(join(folder, EXAMPLE), 'utf8');
  writeFileSync(join(folder, SHORT), example.replace(/^preview: .*$/m, 'preview: { classes: [3, 7], steps: 8, guidance: 2, compareSteps: 4 }'));
  const classes = Array.from({ length: 64 }, (_, index) => index % 10).join(', ');
  writeFileSync(join(folder, LONG), `version: 1\ncheckpoint: ./glyph-dit\ndefaults: { method: rtn, scheme: W4A4 }\npreview: { classes: [${classes}], steps: 60, mode: free }\n`);
}

/** Colours of report and editor must agree on which of them is the light one. */
function lightness(color: string): number {
  const [red = 0, green = 0, blue = 0] = (/\d+, \d+, \d+/.exec(color)?.[0] ?? '').split(', ').map(Number);
  return (red + green + blue) / 3;
}

describe('Report', function suite() {
  this.timeout(180_000);
  let workbench: Workbench;

  before(async () => {
    workbench = await open({ prepare: addConfigs });
    await workbench.openFile(SHORT);
    await workbench.run('QuantScope: Open Report');
    await workbench.webview.locator('h1').waitFor();
  });
  after(() => workbench.close());

  it('shows the report in a panel that may run nothing, in the colours of the editor', async () => {
    const view = workbench.webview;
    const policy = await view.locator('meta[http-equiv="Content-Security-Policy"]').first().getAttribute('content');
    assert.match(policy ?? '', /^default-src 'none'/);
    assert.doesNotMatch(policy ?? '', /script-src/);
    await workbench.screenshot('report', async (theme) => {
      const [ground, ink] = await view.locator('body').evaluate((body) => [getComputedStyle(body).backgroundColor, getComputedStyle(body).color] as const);
      assert.ok(theme === 'light' ? lightness(ground) > 200 && lightness(ink) < 80 : lightness(ground) < 40 && lightness(ink) > 200, `${theme}: ${ink} on ${ground}`);
    });
  });

  it('has pictures of both sides that are drawn, with words for those who do not see them', async () => {
    const images = workbench.webview.locator('.triple img');
    assert.equal(await images.count(), 12);
    for (const image of await images.all()) {
      const [natural, alt] = await image.evaluate((element: HTMLImageElement) => [element.naturalWidth, element.alt] as const);
      assert.equal(natural, 16);
      assert.match(alt, /^(Full precision|Quantized|Difference of the two): class \d.*step \d of 8/);
    }
  });

  it('has every section, readable from top to bottom', async () => {
    const view = workbench.webview;
    const sections = await view.locator('h2').allInnerTexts();
    assert.deepEqual(sections.slice(0, 5), ['Same-seed pictures', 'Agreement with full precision', 'Step by step', 'Sensitivity (estimate)', 'Findings']);
    for (const [index, name] of [[1, 'numbers'], [3, 'sensitivity'], [5, 'scope'], [sections.length - 1, 'hashes']] as const) {
      await view.locator('h2').nth(index).evaluate((heading) => heading.scrollIntoView());
      await workbench.screenshot(`report-${name}`);
    }
  });

  it('asks before running the model for long, and does without when told so', async () => {
    await workbench.openFile(LONG);
    await workbench.run('QuantScope: Open Report');
    const question = workbench.page.locator('.notification-toast', { hasText: 'Pictures and sensitivities of this report take about' });
    await question.getByRole('button', { name: 'Without Model Runs' }).click();
    await workbench.webview.locator('h1', { hasText: LONG }).waitFor();
    assert.match(await workbench.webview.locator('main').innerText(), /There are none\. Left out: this report was made without a preview/);
    assert.ok(existsSync(join(workbench.folder, 'long.report.md')));
  });

  it('tells the state of server and engine, with links to log, restart and settings', async () => {
    const item = workbench.page.locator('.statusbar-item', { hasText: 'QuantScope' });
    await item.hover();
    const hover = workbench.page.locator('.workbench-hover', { hasText: 'Restart' });
    await hover.waitFor();
    assert.match(await hover.innerText(), /Log.*Restart.*Settings/s);
    await workbench.screenshot('status');
  });
});
