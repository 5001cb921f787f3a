import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { modulatedChannel, rewrite } from '../fixtures/planted';
import { EXAMPLE, open } from './vscode';
import type { Workbench } from './vscode';

const FILE = 'glyph-dit.activations.safetensors';

describe('Capture view', function suite() {
  this.timeout(180_000);
  let workbench: Workbench;

  before(async () => {
    workbench = await open({ prepare: (folder) => rewrite(join(folder, 'glyph-dit'), modulatedChannel('transformer_blocks.2', 7, 200)) });
    await workbench.openFile(EXAMPLE);
    await workbench.run('QuantScope: Capture Activations');
    await acceptName(workbench, FILE);
    await workbench.webview.locator('#root[data-state="shown"] .heatmap .cell').first().waitFor();
  });
  after(() => workbench.close());

  it('shows every layer at every step, the highest first, the halves apart', async () => {
    const view = workbench.webview;
    assert.ok(existsSync(join(workbench.folder, FILE)));
    assert.equal(await view.locator('.heatmap .cell').count(), 56 * 4 * 2);
    assert.deepEqual(await view.locator('.heatmap .group').allTextContents(), ['conditional, step', 'unconditional, step']);
    const values = (await view.locator('.heatmap .cell').evaluateAll((cells) => cells.map((cell) => [cell.getAttribute('aria-label')?.split(',')[0] ?? '', Number(cell.getAttribute('aria-label')?.replace(/.*: /, ''))] as const)));
    const highest = new Map<string, number>();
    values.forEach(([layer, value]) => highest.set(layer, Math.max(highest.get(layer) ?? 0, value)));
    const order = [...highest.values()];
    assert.deepEqual(order, [...order].sort((a, b) => b - a));
  });

  it('says in words what stands out, and a click leads there', async () => {
    const view = workbench.webview;
    const options = view.getByRole('listbox', { name: '2 findings' }).getByRole('option');
    assert.match((await options.first().innerText()).replace(/\s+/g, ' '), /transformer_blocks\.2\.ff\.net\.0\.proj rotation does not Gaussianise its inputs: KS 0\.\d+ behind it \(conditional, .*channel 7 holds .* → smooth it or keep it/);
    await options.first().click();
    await view.locator('.heatmap .cell.selected[aria-label^="transformer_blocks.2.ff.net.0.proj, conditional, step 5"]').waitFor();
    await workbench.page.keyboard.press('ArrowDown');
    await view.locator('.heatmap .cell.selected[aria-label^="transformer_blocks.2.ff.net.0.proj, unconditional, step 5"]').waitFor();
    assert.equal(await options.nth(1).getAttribute('aria-selected'), 'true');
    const detail = view.locator('.detail');
    await detail.locator('.qq circle.quantile').first().waitFor();
    assert.match(await detail.locator('.channels tbody tr').first().innerText(), /^7\s.*salient, every step$/s);
    await workbench.screenshot('capture-finding');
  });

  it('reads quantiles by keyboard, before and after rotation, and has them as a table', async () => {
    const detail = workbench.webview.locator('.detail');
    const plot = detail.locator('.qq svg');
    assert.match(await plot.getAttribute('aria-label') ?? '', /after rotation/);
    await plot.focus();
    await workbench.page.keyboard.press('ArrowRight');
    await detail.locator('.qq .readout', { hasText: /^measured .* where the marginal has .* standard deviations$/ }).waitFor();
    await workbench.page.keyboard.press('Escape');
    await detail.getByRole('button', { name: 'Before Rotation' }).click();
    await detail.locator('.qq svg[aria-label*="before rotation"]').waitFor();
    const points = await detail.locator('.qq circle.quantile').count();
    await workbench.screenshot('capture-before-rotation');
    await detail.getByRole('button', { name: 'Quantiles as Table' }).click();
    await detail.locator('.quantile-table tbody tr').first().waitFor();
    assert.deepEqual([await detail.locator('.quantile-table tbody tr').count(), await plot.isVisible()], [points, false]);
    await detail.getByRole('button', { name: 'Quantiles as Table' }).click();
    await detail.getByRole('button', { name: 'Before Rotation' }).click();
    await plot.waitFor();
  });

  it('goes from cell to cell by keyboard, with the numbers beside', async () => {
    const view = workbench.webview;
    await view.locator('.heatmap .cell[tabindex="0"]').focus();
    await workbench.page.keyboard.press('ArrowDown');
    await workbench.page.keyboard.press('ArrowRight');
    const cell = view.locator('.heatmap .cell.selected:focus');
    await cell.waitFor();
    const [layer = '', half, step] = (await cell.getAttribute('aria-label') ?? '').split(', ');
    assert.equal(await view.locator('.detail h2').innerText(), layer);
    assert.match(await view.locator('.detail p.muted').innerText(), new RegExp(`^${half}, ${step}, t = `));
    assert.match((await view.locator('.detail').innerText()).replace(/\s+/g, ' '), /Largest magnitude [\d.]+ Range over channels ×[\d.]+ Range over the steps ×[\d.]+ Energy in one channel [\d.]+ % in channel \d+ .* NaN or infinite 0 Tokens \d+, as [\d.]+ independent ones/);
    await workbench.screenshot('capture');
  });

  it('narrows to a part of the model and another number', async () => {
    const view = workbench.webview;
    const field = view.locator('vscode-text-field input');
    await field.fill('blocks.0 ff');
    await view.locator('.toolbar', { hasText: '2 layers' }).waitFor();
    assert.equal(await view.locator('.heatmap .cell').count(), 2 * 4 * 2);
    await field.fill('');
    const dropdown = view.locator('vscode-dropdown[aria-label="Metric"]');
    await dropdown.click();
    await dropdown.getByRole('option', { name: 'Dynamic range over channels', exact: true }).click();
    await view.locator('.heatmap svg[aria-label$="Dynamic range over channels"]').waitFor();
    await workbench.screenshot('capture-range');
  });

  it('has a table with the same numbers', async () => {
    const view = workbench.webview;
    await view.getByRole('button', { name: 'Table', exact: true }).click();
    const grid = view.getByRole('grid', { name: 'Captured activations' });
    await grid.locator('.grid-lines .grid-row').first().waitFor();
    assert.equal(await grid.getAttribute('aria-rowcount'), String(56 * 4 * 2 + 1));
    assert.equal(await grid.locator('[aria-sort="descending"]').innerText(), 'Range');
    await grid.focus();
    await workbench.page.keyboard.press('Home');
    const selected = grid.locator('.grid-row[aria-selected="true"]');
    await selected.waitFor();
    const layer = await selected.locator('.tail').innerText();
    assert.equal(await view.locator('.detail h2').innerText(), layer);
    await workbench.screenshot('capture-table');
  });

  it('proposes a name that is free, and is there again after a reload of the window', async () => {
    const reloaded = workbench.page.waitForEvent('load');
    await workbench.run('Developer: Reload Window');
    await reloaded;
    await workbench.webview.locator('#root[data-state="shown"] .grid-row').first().waitFor();
    await workbench.editor.click();
    await workbench.openFile(EXAMPLE);
    await workbench.run('QuantScope: Capture Activations');
    await workbench.page.waitForFunction(() => document.querySelector<HTMLInputElement>('.quick-input-widget input')?.value.endsWith('/glyph-dit.activations-2.safetensors'));
    await workbench.page.keyboard.press('Escape');
  });

  it('opens a capture from its file', async () => {
    await workbench.page.locator('.tab', { hasText: `Activations: ${FILE}` }).locator('.codicon-close').click();
    await workbench.run('QuantScope: Open Capture');
    await acceptName(workbench, '', FILE);
    await workbench.webview.locator('#root[data-state="shown"]').waitFor();
    await workbench.page.locator('.tab', { hasText: `Activations: ${FILE}` }).waitFor();
  });
});

/** VS Code's own file dialog takes Enter once it has listed the folder; `name` is what it proposes, `pick` what to choose instead. */
async function acceptName({ page }: Workbench, name: string, pick?: string): Promise<void> {
  await page.locator('.quick-input-list .monaco-list-row', { hasText: '.vscode' }).waitFor();
  if (pick !== undefined) {
    await page.locator('.quick-input-list .monaco-list-row', { hasText: pick }).click();
    return;
  }
  await page.waitForFunction((end) => document.querySelector<HTMLInputElement>('.quick-input-widget input')?.value.endsWith(end), name);
  await page.keyboard.press('Enter');
}
