import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Locator } from 'playwright-core';
import { PROMPT, writeVideoPipeline } from '../fixtures/video';
import { EXAMPLE, open } from './vscode';
import type { Workbench } from './vscode';

/** 64 free runs take minutes, and the first picture comes after a hundredth of them. */
const LONG = 'long.quant.yaml';
const OTHER = 'other.quant.yaml';
const VIDEO = 'video.quant.yaml';
const LONG_VIDEO = 'long-video.quant.yaml';

function addConfigs(folder: string): void {
  const base = 'version: 1\ncheckpoint: ./glyph-dit\ndefaults: { method: rtn, scheme: W4A4 }\n';
  const classes = Array.from({ length: 64 }, (_, index) => index % 10).join(', ');
  writeFileSync(join(folder, LONG), `${base}preview: { classes: [${classes}], steps: 60, mode: free }\n`);
  writeFileSync(join(folder, OTHER), base);
}

async function addVideo(folder: string): Promise<void> {
  await writeVideoPipeline(folder);
  const base = 'version: 1\ncheckpoint: ./wan\ndefaults: { method: rtn, scheme: W4A4 }\n';
  const settings = 'decoder: taew.safetensors, width: 96, height: 64, frames: 9';
  writeFileSync(join(folder, VIDEO), `${base}preview: { prompts: [prompts/fox.safetensors], ${settings}, steps: 6, compareSteps: 2 }\n`);
  const prompts = Array.from({ length: 24 }, () => 'prompts/fox.safetensors').join(', ');
  writeFileSync(join(folder, LONG_VIDEO), `${base}preview: { prompts: [${prompts}], ${settings}, steps: 60, mode: free }\n`);
}

async function choose(workbench: Workbench, label: string, option: string): Promise<void> {
  const dropdown = workbench.webview.locator(`vscode-dropdown[aria-label="${label}"]`);
  await dropdown.click();
  await dropdown.getByRole('option', { name: option, exact: true }).click();
}

/** Width, in percent, that a wipe shows of the reference. */
function wipeOf(view: Locator): Promise<number> {
  return view.evaluate((box: HTMLElement) => parseFloat(box.style.getPropertyValue('--wipe')));
}

describe('Preview panel', function suite() {
  this.timeout(180_000);
  let workbench: Workbench;

  before(async () => {
    workbench = await open({ prepare: addConfigs });
    await workbench.openFile(EXAMPLE);
    await workbench.run('QuantScope: Preview Quantized Model');
    await workbench.previewed();
  });
  after(() => workbench.close());

  it('shows both pictures, enlarged in whole pixels', async () => {
    const view = workbench.webview;
    assert.deepEqual(await view.locator('.picture figcaption').allInnerTexts(), ['Full precision', EXAMPLE]);
    const images = view.locator('.picture img');
    assert.equal(await images.count(), 2);
    for (const image of await images.all()) {
      const [natural, rendering] = await image.evaluate((element: HTMLImageElement) => [element.naturalWidth, getComputedStyle(element).imageRendering] as const);
      assert.ok(natural > 0);
      assert.equal(rendering, 'pixelated');
    }
  });

  it('says what was quantized, and every metric with its direction', async () => {
    const view = workbench.webview;
    assert.match(await view.locator('.scope').innerText(), /42 of 56 layers · 84\.31 % of the weights · [\d.]+ bits average/);
    const rows = (await view.locator('.metrics tbody tr').allInnerTexts()).map((row) => row.replace(/\s+/g, ' '));
    assert.match(rows.join('\n'), /^Latent cosine ↑ higher is better [−\d.]+\nLatent PSNR ↑ higher is better [−\d.]+ dB\nImage PSNR ↑ higher is better [−\d.]+ dB\nImage SSIM ↑ higher is better [−\d.]+\nOutput error, median of the steps ↓ lower is better [\d.]+/);
    await workbench.screenshot('preview');
  });

  it('goes through the compared steps by keyboard, from the curve too', async () => {
    const view = workbench.webview;
    const points = view.locator('.curves .curve-plot').first().locator('.point');
    const count = await points.count();
    assert.ok(count > 1);
    const range = view.getByRole('slider', { name: 'Step' });
    const last = await range.inputValue();
    await points.nth(count - 1).focus();
    await workbench.page.keyboard.press('ArrowLeft');
    await view.locator(`.point.selected:focus`).waitFor();
    assert.equal(await range.inputValue(), String(Number(last) - 1));
    await range.focus();
    await workbench.page.keyboard.press('ArrowRight');
    assert.equal(await range.inputValue(), last);
  });

  it('wipes by keyboard and by pointer', async () => {
    const view = workbench.webview;
    await choose(workbench, 'View', 'Wipe');
    const box = view.locator('.wipe');
    await box.waitFor();
    assert.equal(await wipeOf(box), 50);
    await view.getByRole('slider', { name: /^Wipe/ }).focus();
    await workbench.page.keyboard.press('ArrowLeft');
    await workbench.page.keyboard.press('ArrowLeft');
    assert.equal(await wipeOf(box), 48);
    const size = await box.boundingBox();
    assert.ok(size !== null);
    await workbench.page.mouse.click(size.x + size.width * 0.3, size.y + size.height / 2);
    assert.equal(await wipeOf(box), 30);
    await workbench.screenshot('preview-wipe');
  });

  it('maps the difference with its scale', async () => {
    const view = workbench.webview;
    await choose(workbench, 'View', 'Difference');
    const canvas = view.locator('.picture canvas');
    await canvas.waitFor();
    const largest = Number(await canvas.getAttribute('data-largest'));
    assert.ok(largest > 0 && largest <= 255, String(largest));
    assert.match(await canvas.getAttribute('aria-label') ?? '', new RegExp(`largest ${largest}, mean`));
    assert.equal(await canvas.evaluate((element: HTMLCanvasElement) => new Set(element.getContext('2d')?.getImageData(0, 0, element.width, element.height).data).size > 4), true);
    await choose(workbench, 'Difference scale', 'Scale: 0 to 255');
    await view.locator('.ramp-ticks', { hasText: '255' }).waitFor();
  });

  it('has a table with the same steps', async () => {
    const view = workbench.webview;
    const count = await view.locator('.curves .curve-plot').first().locator('.point').count();
    await view.getByRole('button', { name: 'Table' }).click();
    assert.equal(await view.locator('.steps tbody tr').count(), count);
    await view.locator('.steps .link').first().click();
    await view.locator('.steps tr[aria-current="step"] .link:focus').waitFor();
    assert.equal(await view.getByRole('slider', { name: 'Step' }).inputValue(), '0');
    await workbench.screenshot('preview-difference');
  });

  it('asks before a long run, fills while it runs, and stays usable when it is cancelled', async () => {
    await workbench.editor.click();
    await workbench.openFile(LONG);
    await workbench.run('QuantScope: Preview Quantized Model');
    await workbench.webview.locator('.busy', { hasText: 'Waiting for your answer' }).waitFor();
    const question = workbench.page.locator('.notification-toast', { hasText: 'This preview takes about' });
    await question.waitFor();
    await question.getByRole('button', { name: 'Run', exact: true }).click();
    const view = workbench.webview;
    await view.locator('#root[data-state="running"] .picture img').first().waitFor();
    await view.getByRole('button', { name: 'Cancel' }).click();
    await view.locator('#root[data-state="cancelled"]').waitFor();
    assert.match(await view.locator('.notice.warning').innerText(), /Cancelled.*partial/s);
    assert.ok(await view.locator('.picture img').count() > 0);
    await view.getByRole('button', { name: 'Run Again' }).waitFor();
    await workbench.screenshot('preview-cancelled');
  });

  it('compares two configs, told apart by more than colour', async () => {
    await workbench.editor.click();
    await workbench.openFile(EXAMPLE);
    await workbench.run('QuantScope: Compare Two Configs');
    await workbench.page.locator('.quick-input-list .monaco-list-row', { hasText: OTHER }).click();
    const view = workbench.webview;
    await workbench.previewed(`#root[data-state="finished"] .scope:has-text("${OTHER}")`);
    await choose(workbench, 'View', 'Side by Side');
    await view.getByRole('button', { name: 'Table' }).click();
    const [first, second] = await view.locator('.curves .curve-plot').first().locator('path.curve-line').evaluateAll((lines) => lines.map((line) => getComputedStyle(line).strokeDasharray));
    assert.notEqual(first, second);
    assert.equal(await view.locator('.picture img').count(), 3);
    await workbench.screenshot('preview-compare');
  });

  it('copies the numbers as Markdown', async () => {
    await workbench.page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await workbench.webview.getByRole('button', { name: 'Copy as Markdown' }).click();
    await workbench.webview.getByRole('button', { name: 'Copied' }).waitFor();
    await workbench.editor.click();
    const text = await workbench.page.evaluate(() => navigator.clipboard.readText());
    assert.match(text, /^### Quantized preview: glyph-dit\.quant\.yaml and other\.quant\.yaml/);
  });

  it('saves the picture the user picks', async () => {
    await workbench.webview.getByRole('button', { name: 'Save Picture…' }).click();
    await workbench.page.locator('.quick-input-list .monaco-list-row', { hasText: 'Full precision' }).click();
    // The dialog takes Enter once it has listed the folder and filled in the name it proposes.
    const proposed = 'glyph-dit-reference-item1-step5.png';
    await workbench.page.locator('.quick-input-list .monaco-list-row', { hasText: '.vscode' }).waitFor();
    await workbench.page.waitForFunction((name) => document.querySelector<HTMLInputElement>('.quick-input-widget input')?.value.endsWith(name), proposed);
    await workbench.page.keyboard.press('Enter');
    await workbench.webview.locator('[role="status"]', { hasText: `Saved as ${proposed}` }).waitFor({ state: 'attached' });
    const target = join(workbench.folder, proposed);
    assert.deepEqual([...readFileSync(target).subarray(0, 4)], [0x89, 0x50, 0x4e, 0x47]);
  });

  it('jumps to the config', async () => {
    await workbench.webview.getByRole('button', { name: 'Go to Config' }).last().click();
    await workbench.page.locator(`.tab.active[data-resource-name="${OTHER}"]`).waitFor();
  });

  it('is there again after a reload of the window, with its numbers, without running', async () => {
    const reloaded = workbench.page.waitForEvent('load');
    await workbench.run('Developer: Reload Window');
    await reloaded;
    const view = workbench.webview;
    await view.locator('#root[data-state="finished"][data-pictures="0"] .metrics').waitFor();
    assert.match(await view.locator('.notice').innerText(), /Run Again/);
    await view.getByRole('button', { name: 'Run Again' }).click();
    await workbench.previewed('#root[data-state="finished"] .picture img');
  });

  it('starts from the sensitivity panel, in the same column', async () => {
    await workbench.editor.click();
    await workbench.openFile(OTHER);
    await workbench.run('QuantScope: Show Sensitivity');
    const tab = workbench.page.locator('.tab', { hasText: `Sensitivity: ${OTHER}` });
    await tab.waitFor();
    await workbench.webview.locator('vscode-button:not([disabled])', { hasText: 'Preview' }).waitFor();
    await workbench.webview.getByRole('button', { name: 'Preview' }).click();
    const view = workbench.webview;
    await workbench.previewed(`#root[data-state="finished"] .scope:has-text("${OTHER}")`);
    assert.equal(await view.locator('.scope').count(), 1);
    assert.equal(await workbench.page.locator('.editor-group-container').count(), 2);
  });
});

describe('Preview panel with a video', function suite() {
  this.timeout(180_000);
  let workbench: Workbench;

  before(async () => {
    workbench = await open({ prepare: addVideo });
    await workbench.openFile(VIDEO);
    await workbench.run('QuantScope: Preview Quantized Model');
    await workbench.previewed();
  });
  after(() => workbench.close());

  const sources = (): Promise<(string | null)[]> => workbench.webview.locator('.picture img').evaluateAll((images) => images.map((image) => image.getAttribute('src')));

  it('shows prompt, size, frames and decoder, and pictures of that shape', async () => {
    const view = workbench.webview;
    assert.equal(await view.locator('.item-title').innerText(), PROMPT);
    const facts = await view.locator('.summary .fact').allInnerTexts();
    for (const fact of ['96 × 64 pixels', '9 frames', 'decoder taew.safetensors']) {
      assert.ok(facts.includes(fact), facts.join());
    }
    for (const image of await view.locator('.picture img').all()) {
      const { width = 0, height = 1 } = await image.boundingBox() ?? {};
      assert.ok(Math.abs(width / height - 1.5) < 0.02, `${width} × ${height}`);
    }
  });

  it('moves through the frames by keyboard, every picture in step', async () => {
    const view = workbench.webview;
    const range = view.getByRole('slider', { name: 'Frame' });
    const first = await sources();
    await range.focus();
    await workbench.page.keyboard.press('ArrowRight');
    assert.equal(await range.getAttribute('aria-valuetext'), 'frame 2 of 9');
    const second = await sources();
    assert.equal(first.length, 2);
    first.forEach((source, index) => assert.notEqual(second[index], source));
    await workbench.page.keyboard.press('ArrowLeft');
    assert.deepEqual(await sources(), first);
    await workbench.screenshot('preview-video');
  });

  it('plays once and slowly where less motion is wanted, and pauses', async () => {
    const view = workbench.webview;
    const range = view.getByRole('slider', { name: 'Frame' });
    await range.focus();
    await workbench.page.keyboard.press('End');
    await view.getByRole('button', { name: 'Play' }).click();
    assert.equal(await range.inputValue(), '0');
    await view.locator('.player output', { hasText: 'frame 3 of 9' }).waitFor();
    await view.getByRole('button', { name: 'Pause' }).click();
    await view.getByRole('button', { name: 'Play' }).waitFor();
    assert.ok(Number(await range.inputValue()) < 8);
    await range.focus();
    await workbench.page.keyboard.press(' ');
    await view.getByRole('button', { name: 'Pause' }).waitFor();
    await view.getByRole('button', { name: 'Play' }).waitFor();
    assert.equal(await range.inputValue(), '8');
  });

  it('maps the difference of each frame', async () => {
    const view = workbench.webview;
    await choose(workbench, 'View', 'Difference');
    const canvas = view.locator('.picture canvas');
    await canvas.waitFor();
    const pixels = (): Promise<string> => canvas.evaluate((element: HTMLCanvasElement) => element.toDataURL());
    const [last, label] = [await pixels(), await canvas.getAttribute('aria-label')];
    await view.getByRole('slider', { name: 'Frame' }).focus();
    await workbench.page.keyboard.press('Home');
    await view.locator(`.picture canvas:not([aria-label="${label}"])`).waitFor();
    assert.notEqual(await pixels(), last);
    assert.equal(await canvas.evaluate((element: HTMLCanvasElement) => element.width), 96);
    await workbench.screenshot('preview-video-difference');
  });

  it('saves the frame in view', async () => {
    const view = workbench.webview;
    await workbench.page.keyboard.press('ArrowRight');
    await view.getByRole('button', { name: 'Save Picture…' }).click();
    await workbench.page.locator('.quick-input-list .monaco-list-row', { hasText: 'Full precision' }).click();
    await workbench.page.locator('.quick-input-list .monaco-list-row', { hasText: '.vscode' }).waitFor();
    await workbench.page.waitForFunction(() => document.querySelector<HTMLInputElement>('.quick-input-widget input')?.value.endsWith('/video-reference-item1-step6-frame2.png'));
    await workbench.page.keyboard.press('Escape');
  });

  it('shows the frames that are there while it runs', async () => {
    await workbench.editor.click();
    await workbench.openFile(LONG_VIDEO);
    await workbench.run('QuantScope: Preview Quantized Model');
    const view = workbench.webview;
    // On a slow machine the estimate asks first.
    const question = workbench.page.locator('.notification-toast', { hasText: 'This preview takes about' }).getByRole('button', { name: 'Run', exact: true });
    const picture = view.locator('#root[data-state="running"] .picture img').first();
    await Promise.race([picture.waitFor(), question.click().catch(() => undefined)]);
    await picture.waitFor();
    await view.getByRole('slider', { name: 'Frame' }).focus();
    await workbench.page.keyboard.press('End');
    await view.locator('.player output', { hasText: 'frame 9 of 9' }).waitFor();
    await workbench.screenshot('preview-video-running');
    await view.getByRole('button', { name: 'Cancel' }).click();
    await view.locator('#root[data-state="cancelled"]').waitFor();
    assert.match(await view.locator('.notice.warning').innerText(), /partial/);
  });
});
