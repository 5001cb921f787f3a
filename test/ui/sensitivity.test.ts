import assert from 'node:assert/strict';
import { EXAMPLE, open } from './vscode';
import type { Workbench } from './vscode';

describe('Sensitivity panel', function suite() {
  this.timeout(120_000);
  let workbench: Workbench;

  before(async () => {
    workbench = await open();
    await workbench.openFile(EXAMPLE);
    await workbench.run('QuantScope: Analyze Layers');
    await workbench.webview.locator('#root[data-state="measured"]').waitFor();
  });
  after(() => workbench.close());

  it('draws one bar for each layer and a cell for each role of a block', async () => {
    const view = workbench.webview;
    const bars = view.locator('.bars .mark');
    await bars.first().waitFor();
    const count = await bars.count();
    assert.ok(count > 30, `${count} bars`);
    assert.match(await view.locator('.summary').innerText(), new RegExp(`\\b${count} layers`));
    assert.match(await bars.first().locator('.value').textContent() ?? '', /^×\d/);
    assert.ok(await view.locator('.heatmap .cell').count() > 30);
    await view.locator('.heatmap .legend-entry').first().waitFor();
  });

  it('shows the numbers and the marginals of a clicked layer', async () => {
    const view = workbench.webview;
    const mark = view.locator('.bars .mark').first();
    const name = await mark.getAttribute('data-name') ?? '';
    await mark.click();
    await view.locator('.detail h2', { hasText: name }).waitFor();
    assert.match(await view.locator('.detail .facts').innerText(), /SQNR \(higher is better\)\s+[\d.]+ dB/);
    assert.equal(await view.locator('.detail path.series').count(), 2);
    assert.equal(await view.locator('.detail path.curve').count(), 1);
    assert.equal(await view.locator('.heatmap .cell.selected').count(), 1);
    await workbench.screenshot('sensitivity');
  });

  it('moves the selection by keyboard and jumps to the rule with Enter', async () => {
    const view = workbench.webview;
    const marks = view.locator('.bars .mark');
    await marks.first().focus();
    await workbench.page.keyboard.press('ArrowDown');
    const second = await marks.nth(1).getAttribute('data-name') ?? '';
    await view.locator(`.bars .mark.selected[data-name="${second}"]`).waitFor();
    await view.locator('.detail h2', { hasText: second }).waitFor();
    await workbench.page.keyboard.press('Enter');
    await workbench.page.locator('.editor-instance .monaco-editor.focused').waitFor();
    await workbench.page.locator('.editor-instance .monaco-editor .selected-text').first().waitFor();
  });

  it('has a table with the same layers', async () => {
    const view = workbench.webview;
    const count = await view.locator('.bars .mark').count();
    await view.getByRole('button', { name: 'Table' }).click();
    const grid = view.getByRole('grid', { name: 'Layers' });
    await grid.locator('.grid-lines .grid-row').first().waitFor();
    assert.equal(await grid.getAttribute('aria-rowcount'), String(count + 1));
    assert.equal(await grid.locator('[aria-sort="descending"]').innerText(), 'Ratio ↓'.replace(' ↓', ''));
    await workbench.screenshot('sensitivity-table');
  });

  it('is there again after a reload of the window, as it was left', async () => {
    const reloaded = workbench.page.waitForEvent('load');
    await workbench.run('Developer: Reload Window');
    await reloaded;
    await workbench.webview.getByRole('grid', { name: 'Layers' }).locator('.grid-row[aria-selected="true"]').waitFor();
    // The new server looks for what was measured once it has the plan.
    await workbench.webview.locator('#root[data-state="measured"]').waitFor();
  });
});
