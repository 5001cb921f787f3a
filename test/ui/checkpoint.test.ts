import assert from 'node:assert/strict';
import { CHECKPOINT, open, themes } from './vscode';
import type { Workbench } from './vscode';

for (const theme of themes) {
  describe(`Checkpoint editor, ${theme}`, function suite() {
    this.timeout(120_000);
    let workbench: Workbench;

    before(async () => {
      workbench = await open({ theme });
      await workbench.openFile(CHECKPOINT);
      await workbench.webview.locator('.grid-lines .grid-row').first().waitFor();
    });
    after(() => workbench.close());

    it('says what the file holds', async () => {
      const summary = await workbench.webview.locator('.summary').innerText();
      assert.match(summary, /DiTTransformer2DModel/);
      assert.match(summary, /\d+ tensors/);
      assert.match(summary, /BF16/);
    });

    it('filters the tensors by name and shape', async () => {
      const view = workbench.webview;
      await view.getByRole('textbox', { name: 'Filter tensors' }).fill('blocks.3 attn1 weight');
      await view.locator('.count', { hasText: /^\d+ of \d+ tensors/ }).waitFor();
      const names = await view.locator('.grid-lines [role=gridcell]:first-child').allInnerTexts();
      assert.ok(names.length > 0 && names.every((name) => /blocks\.3\.attn1.*weight/.test(name)), names.join(', '));
    });

    it('shows the histogram of the tensor that Enter picks', async () => {
      const view = workbench.webview;
      const grid = view.getByRole('grid', { name: 'Tensors' });
      await grid.focus();
      await workbench.page.keyboard.press('ArrowDown');
      await workbench.page.keyboard.press('Enter');
      await view.locator('.histogram path.series').waitFor();
      const side = await view.locator('.side').innerText();
      assert.match(side, /blocks\.3\.attn1/);
      assert.match(side, /Standard deviation\s+[\d.]+/);
      await workbench.screenshot('checkpoint');
    });
  });
}
