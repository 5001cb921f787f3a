import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EXAMPLE, open } from './vscode';
import type { Workbench } from './vscode';

/** Jobs of the engine, on a machine that does other things as well. */
const job = { timeout: 200_000 };

/** One item and two steps: the same walk as with the example's own config, in a fraction of the time. */
function quick(folder: string): void {
  const path = join(folder, EXAMPLE);
  writeFileSync(path, readFileSync(path, 'utf8').replace(/preview: .*/, 'preview: { classes: [3], steps: 6, guidance: 2, seed: 0, compareSteps: 2 }'));
  const settings = join(folder, '.vscode/settings.json');
  // In a browser VS Code saves by itself, which would hide that a command does not.
  writeFileSync(settings, JSON.stringify({ ...JSON.parse(readFileSync(settings, 'utf8')) as object, 'files.autoSave': 'off' }));
}

describe('Which layers break and the cheapest fix', function suite() {
  this.timeout(400_000);
  let workbench: Workbench;

  before(async () => {
    workbench = await open({ prepare: quick });
    await workbench.openFile(EXAMPLE);
  });
  after(() => workbench.close());

  const text = (): Promise<string> => workbench.page.locator('.editor-instance .view-lines').first().innerText().then((lines) => lines.replaceAll('\u00a0', ' '));

  it('ranks layers: estimates at first, then measured numbers with controls in words', async () => {
    await workbench.run('QuantScope: Show Sensitivity');
    const view = workbench.webview;
    await view.getByText('Nothing is ranked yet').waitFor();
    // Estimates may be there for an instant only.
    await view.locator('#root').evaluate((root) => new MutationObserver(() => {
      if (root.querySelector('.bars .bar.estimate') !== null && /^≈ /.test(root.querySelector('.bars .value')?.textContent ?? '')) {
        root.setAttribute('data-seen', 'estimates');
      }
    }).observe(root, { subtree: true, childList: true }));
    await workbench.editor.click();
    await workbench.run('QuantScope: Rank Layers by Effect');
    await view.locator('#root[data-seen="estimates"]').waitFor(job);
    await workbench.screenshot('rank-estimates');
    await view.locator('#root[data-ranking="finished"]').waitFor(job);
    assert.equal(await view.locator('.bars .mark').count(), 42);
    assert.equal(await view.locator('.bars .bar.estimate').count(), 0);
    assert.equal(await view.locator('.heatmap .cell').count(), 42 * 2);
    assert.match(await view.locator('.controls').textContent() ?? '', /gave the stored output bit for bit[\s\S]*Additivity: the parts add up to [\s\S]*Matched noise/);
  });

  it('links bars, heat map, detail and config', async () => {
    const view = workbench.webview;
    await view.locator('.bars .mark').first().focus();
    await workbench.page.keyboard.press('ArrowDown');
    const name = await view.locator('.bars .mark').nth(1).getAttribute('data-name') ?? '';
    await view.locator(`.bars .mark.selected[data-name="${name}"]`).waitFor();
    assert.match(await view.locator('.heatmap .cell.selected').getAttribute('aria-label') ?? '', new RegExp(`^${name}, step`));
    assert.match((await view.locator('.detail').innerText()).replace(/\s+/g, ' '), /Measured \(lower is better\) [\d.e−]+ Rank 2 of 42/);
    await workbench.screenshot('rank');
    await workbench.page.keyboard.press('Enter');
    await workbench.page.locator('.editor-instance .monaco-editor.focused').waitFor();
    await workbench.page.locator('.editor-instance .monaco-editor .selected-text').first().waitFor();
  });

  it('finds no bad layer in a clean model', async () => {
    await workbench.run('QuantScope: Find First Bad Layer');
    await workbench.webview.getByText('No bad layer: weights are finite').waitFor(job);
  });

  it('has the ranking as a table', async () => {
    const view = workbench.webview;
    await view.getByRole('button', { name: 'Table' }).click();
    const grid = view.getByRole('grid', { name: 'Ranking' });
    await grid.locator('.grid-lines .grid-row').first().waitFor();
    assert.equal(await grid.getAttribute('aria-rowcount'), '43');
    await view.getByRole('button', { name: 'Table' }).click();
  });

  it('allocates from the lens on the budget: curve, plans by name, and what would change', async () => {
    const view = workbench.webview;
    await workbench.page.locator('.codelens-decoration a', { hasText: 'Allocate Bits' }).click();
    await view.locator('#root[data-allocation="finished"] .pareto .point.recommended').waitFor(job);
    assert.ok(await view.locator('.pareto .point').count() > 20);
    const labels = (await view.locator('.pareto .plan-label, .pareto .budget-label').allTextContents()).join(' | ');
    assert.match(labels, /recommended/);
    assert.match(labels, /your plan/);
    assert.match(labels, /uniform/);
    assert.match(labels, /budget \d\.\d+ MB/);
    await view.locator('.change-group').first().waitFor();
    assert.match(await view.locator('.text-diff').innerText(), /\+ +- name: allocated/);
    assert.doesNotMatch(await text(), /allocated/);
    await workbench.screenshot('allocation');
  });

  it('goes along the curve by keyboard, and links layers of the diff', async () => {
    const view = workbench.webview;
    await view.locator('.pareto .point.recommended').focus();
    await workbench.page.keyboard.press('ArrowDown');
    await view.locator('.pareto .point.selected:focus').waitFor();
    assert.doesNotMatch(await view.locator('.plan-about').innerText(), /^recommended/);
    await view.locator('.change-group summary').first().click();
    const link = view.locator('.change-group[open] .layer-link').first();
    await link.click();
    await view.locator('.detail h2', { hasText: await link.innerText() }).waitFor();
    assert.match(await view.locator('.detail').innerText(), /In the new plan\s+\S.* → /);
    await view.getByRole('button', { name: 'Table' }).click();
    const grid = view.getByRole('grid', { name: 'Plans' });
    await grid.locator('.grid-row', { hasText: 'your plan' }).waitFor();
    await workbench.screenshot('allocation-table');
    await view.getByRole('button', { name: 'Table' }).click();
  });

  it('is there again after a reload of the window', async () => {
    const reloaded = workbench.page.waitForEvent('load');
    await workbench.run('Developer: Reload Window');
    await reloaded;
    const view = workbench.webview;
    await view.locator('#root[data-allocation="finished"] .pareto .point.recommended').waitFor();
    assert.equal(await view.locator('#root').getAttribute('data-ranking'), 'finished');
    await view.locator('.finalists tbody tr').first().waitFor();
  });

  it('puts the plan into the config without saving it, and undo takes it back', async () => {
    const before = readFileSync(join(workbench.folder, EXAMPLE), 'utf8');
    const view = workbench.webview;
    await view.getByRole('button', { name: 'Apply to Config' }).click();
    await view.getByText('The config says this plan now').waitFor();
    assert.match(await text(), /- name: allocated/);
    assert.equal(readFileSync(join(workbench.folder, EXAMPLE), 'utf8'), before);
    await workbench.screenshot('allocation-applied');
    await workbench.page.locator('.editor-instance .monaco-editor.focused').waitFor();
    await workbench.page.keyboard.press('Control+Z');
    await view.locator('vscode-button:not([disabled])', { hasText: 'Apply to Config' }).waitFor();
    assert.doesNotMatch(await text(), /allocated/);
  });

  it('goes on with the plan to a preview and to the report', async () => {
    await workbench.page.keyboard.press('Control+Y');
    await workbench.page.locator('.editor-instance .view-lines', { hasText: 'allocated' }).waitFor();
    await workbench.run('QuantScope: Preview Quantized Model');
    const view = workbench.webview;
    await view.locator('#root[data-state="finished"] .picture img').first().waitFor(job);
    await workbench.screenshot('allocation-preview');
    await workbench.editor.click();
    await workbench.run('QuantScope: Open Report');
    await view.locator('h1', { hasText: 'Quantization evidence' }).waitFor(job);
    assert.match(await view.locator('main').innerText(), /allocated W\dA\d/);
    await workbench.screenshot('allocation-report');
  });
});
