import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EXAMPLE, open, themes } from './vscode';
import type { Workbench } from './vscode';

/** One item and two steps: the same walk as with the example's own preview, in a fraction of the time. */
function quick(folder: string): void {
  const path = join(folder, EXAMPLE);
  writeFileSync(path, readFileSync(path, 'utf8').replace(/preview: .*/, 'preview: { classes: [3], steps: 6, guidance: 2, seed: 0, compareSteps: 2 }'));
}

for (const theme of themes) {
  describe(`Which layers break and the cheapest fix, ${theme}`, function suite() {
    this.timeout(240_000);
    let workbench: Workbench;

    before(async () => {
      workbench = await open({ theme, prepare: quick });
      await workbench.openFile(EXAMPLE);
    });
    after(() => workbench.close());

    const text = (): Promise<string> => workbench.page.locator('.editor-instance .view-lines').first().innerText().then((lines) => lines.replaceAll('\u00a0', ' '));

    if (theme === 'dark') {
      it('ranks layers: estimates at first, then measured numbers with controls in words', async () => {
        await workbench.run('QuantScope: Rank Layers by Effect');
        const view = workbench.webview;
        await view.locator('.bars .bar.estimate').first().waitFor();
        assert.match(await view.locator('.bars .mark').first().locator('.value').textContent() ?? '', /^≈ /);
        await workbench.screenshot('rank-estimates');
        await view.locator('#root[data-ranking="finished"]').waitFor();
        await view.locator('.controls').getByText('Zero swap').waitFor();
        assert.equal(await view.locator('.bars .mark').count(), 42);
        assert.equal(await view.locator('.bars .bar.estimate').count(), 0);
        assert.equal(await view.locator('.heatmap .cell').count(), 42 * 2);
        assert.match(await view.locator('.controls').innerText(), /gave the stored output bit for bit[\s\S]*Additivity: the parts add up to [\s\S]*Matched noise/);
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
        await workbench.webview.getByText('No bad layer: weights are finite').waitFor();
      });

      it('has the ranking as a table', async () => {
        const view = workbench.webview;
        await view.getByRole('button', { name: 'Table' }).click();
        const grid = view.getByRole('grid', { name: 'Ranking' });
        await grid.locator('.grid-lines .grid-row').first().waitFor();
        assert.equal(await grid.getAttribute('aria-rowcount'), '43');
        await view.getByRole('button', { name: 'Table' }).click();
      });
    }

    it('allocates from the lens on the budget: curve, plans by name, and what would change', async () => {
      const view = workbench.webview;
      if (theme === 'dark') {
        await workbench.page.locator('.codelens-decoration a', { hasText: 'Allocate Bits' }).click();
      } else {
        await workbench.run('QuantScope: Allocate Bits under the Budget');
      }
      await view.locator('#root[data-allocation="finished"] .pareto .point.recommended').waitFor();
      assert.ok(await view.locator('.pareto .point').count() > 20);
      const labels = (await view.locator('.pareto .plan-label').allTextContents()).join(' | ');
      assert.match(labels, /recommended/);
      assert.match(labels, /your plan/);
      assert.match(labels, /uniform/);
      assert.match(labels, /budget 1\.70 MB/);
      await view.locator('.change-group').first().waitFor();
      assert.match(await view.locator('.text-diff').innerText(), /\+ +- name: allocated/);
      assert.doesNotMatch(await text(), /allocated/);
      await workbench.screenshot('allocation');
    });

    if (theme === 'dark') {
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
        await workbench.webview.locator('#root[data-allocation="finished"] .pareto .point.recommended').waitFor();
        assert.equal(await workbench.webview.locator('#root').getAttribute('data-ranking'), 'finished');
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
    }
  });
}
