import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EXAMPLE, open } from './vscode';
import type { Workbench } from './vscode';

/** 64 free runs take minutes. */
const LONG = 'long.quant.yaml';
const DEPLOYED = `${EXAMPLE}, as deployed`;

describe('Preview panel as deployed', function suite() {
  this.timeout(300_000);
  let workbench: Workbench;

  before(async () => {
    const classes = Array.from({ length: 64 }, (_, index) => index % 10).join(', ');
    const long = `version: 1\ncheckpoint: ./glyph-dit\ndefaults: { method: rtn, scheme: W4A4 }\npreview: { classes: [${classes}], steps: 60, mode: free }\n`;
    workbench = await open({ prepare: (folder) => writeFileSync(join(folder, LONG), long) });
    await workbench.openFile(EXAMPLE);
    await workbench.run('QuantScope: Preview Quantized Model');
    await workbench.previewed();
  });
  after(() => workbench.close());

  const captions = (): Promise<string[]> => workbench.webview.locator('.picture figcaption').allInnerTexts();
  async function choose(label: string, option: string): Promise<void> {
    const dropdown = workbench.webview.locator(`vscode-dropdown[aria-label="${label}"]`);
    await dropdown.click();
    await dropdown.getByRole('option', { name: option, exact: true }).click();
  }

  it('one press runs the integer kernels and puts their picture beside fake quantization', async () => {
    const view = workbench.webview;
    assert.equal(await view.locator('.deployed').isVisible(), false);
    const pressed = view.locator('vscode-button', { hasText: 'As Deployed' });
    assert.equal(await pressed.getAttribute('aria-pressed'), 'false');
    await pressed.focus();
    await workbench.page.keyboard.press('Enter');
    await workbench.previewed('#root[data-state="finished"] .deployed:visible');
    assert.equal(await pressed.getAttribute('aria-pressed'), 'true');
    assert.deepEqual(await captions(), ['Full precision', EXAMPLE, DEPLOYED]);
    assert.equal(await view.locator('.picture img').count(), 3);
    assert.equal(await view.locator('.metrics').first().locator('thead th').last().innerText().then((text) => text.trim()), DEPLOYED);
  });

  it('says how far the two are apart, at the end and at each step', async () => {
    const view = workbench.webview;
    const section = view.locator('.deployed');
    assert.match(await section.locator('.scope').innerText(), /as deployed\s+36 layers on integers, 6 on floats\.$/);
    assert.match(await section.innerText(), /8-bit integers near their levels, which loses at most [\d.]+e−5 of the energy of the weights/);
    const rows = (await section.locator('.metrics tbody tr').allInnerTexts()).map((row) => row.replace(/\s+/g, ' '));
    assert.match(rows.join('\n'), /^Latent cosine ↑ higher is better 0\.\d+\nLatent PSNR ↑ higher is better [\d.]+ dB\nImage PSNR ↑ higher is better [\d.]+ dB\nImage SSIM ↑ higher is better 0\.\d+\nOutput error, median of the steps ↓ lower is better [\d.e−]+$/);
    const steps = section.locator('.steps tbody tr');
    assert.equal(await steps.count(), 4);
    await steps.first().locator('.link').click();
    await section.locator('.steps tr[aria-current="step"] .link:focus').waitFor();
    assert.equal(await view.getByRole('slider', { name: 'Step' }).inputValue(), '0');
    await workbench.screenshot('preview-deployed');
  });

  it('lists the layers that cannot run on integers with the reason, by keyboard', async () => {
    const view = workbench.webview;
    const group = view.locator('.deployed details');
    assert.deepEqual(await group.locator('summary').allInnerTexts(), ['6 layers on floats, because the layer keeps its activations as floats']);
    await group.locator('summary').focus();
    await workbench.page.keyboard.press('Enter');
    assert.deepEqual(await group.locator('li').allInnerTexts(), [0, 1, 2, 3, 4, 5].map((block) => `transformer_blocks.${block}.norm1.linear`));
    await group.locator('li').last().scrollIntoViewIfNeeded();
    await workbench.screenshot('preview-deployed-layers');
  });

  it('maps the difference of the two executions', async () => {
    const view = workbench.webview;
    await choose('View', 'Difference');
    await choose('Candidate', DEPLOYED);
    const canvas = view.locator('.picture canvas');
    await view.locator(`.picture canvas[aria-label^="Difference between full precision and ${DEPLOYED}"]`).waitFor();
    const far = Number(await canvas.getAttribute('data-largest'));
    await choose('Compared with', 'Against: fake quantization');
    await view.locator(`.picture canvas[aria-label^="Difference between fake quantization and ${DEPLOYED}"]`).waitFor();
    const near = Number(await canvas.getAttribute('data-largest'));
    assert.ok(near > 0 && near < far, `${near} and ${far} levels`);
    assert.deepEqual(await captions(), [`Difference: ${DEPLOYED} against fake quantization`]);
    await workbench.screenshot('preview-deployed-difference');
  });

  it('a second press hides it without running anything, and a third brings it back', async () => {
    const view = workbench.webview;
    const pressed = view.locator('vscode-button', { hasText: 'As Deployed' });
    await choose('View', 'Side by Side');
    await pressed.click();
    await view.locator('vscode-button[aria-pressed="false"]', { hasText: 'As Deployed' }).waitFor();
    assert.deepEqual([await captions(), await view.locator('.deployed').isVisible(), await view.locator('.metrics:visible thead th').count()], [['Full precision', EXAMPLE], false, 1]);
    await pressed.click();
    await view.locator('#root[data-state="finished"] .deployed:visible').waitFor();
    assert.deepEqual(await captions(), ['Full precision', EXAMPLE, DEPLOYED]);
    await workbench.screenshot('preview-deployed-side');
  });

  it('is still on after a reload of the window, with its numbers, and runs again so', async () => {
    const reloaded = workbench.page.waitForEvent('load');
    await workbench.run('Developer: Reload Window');
    await reloaded;
    const view = workbench.webview;
    await view.locator('#root[data-state="finished"][data-pictures="0"] .deployed:visible').waitFor();
    assert.equal(await view.locator('vscode-button', { hasText: 'As Deployed' }).getAttribute('aria-pressed'), 'true');
    assert.match(await view.locator('.deployed .scope').innerText(), /36 layers on integers, 6 on floats/);
    await view.getByRole('button', { name: 'Run Again' }).click();
    await workbench.previewed('#root[data-state="finished"] .picture:nth-child(3) img');
    assert.deepEqual(await captions(), ['Full precision', EXAMPLE, DEPLOYED]);
  });

  it('copies both comparisons as Markdown', async () => {
    await workbench.page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await workbench.webview.getByRole('button', { name: 'Copy as Markdown' }).click();
    await workbench.webview.getByRole('button', { name: 'Copied' }).waitFor();
    await workbench.editor.click();
    const text = await workbench.page.evaluate(() => navigator.clipboard.readText());
    assert.match(text, /#### As deployed, against fake quantization\n\nglyph-dit\.quant\.yaml, as deployed: 36 layers on integers, 6 on floats\./);
  });

  it('starts a run in progress over, with both executions', async () => {
    await workbench.openFile(LONG);
    await workbench.run('QuantScope: Preview Quantized Model');
    const view = workbench.webview;
    const question = workbench.page.locator('.notification-toast', { hasText: 'This preview takes about' }).getByRole('button', { name: 'Run', exact: true });
    await question.click();
    await view.locator('#root[data-state="running"] .picture img').first().waitFor();
    assert.deepEqual(await captions(), ['Full precision', LONG]);
    await view.locator('vscode-button', { hasText: 'As Deployed' }).click();
    await view.locator('.busy', { hasText: 'Waiting for your answer' }).waitFor();
    await question.click();
    await view.locator('#root[data-state="running"] .picture img').first().waitFor();
    assert.deepEqual(await captions(), ['Full precision', LONG, `${LONG}, as deployed`]);
    await view.getByRole('button', { name: 'Cancel' }).click();
    await view.locator('#root[data-state="cancelled"]').waitFor();
  });
});
