import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CHECKPOINT, open } from './vscode';
import type { Workbench } from './vscode';

describe('Checkpoint editor', function suite() {
  this.timeout(120_000);
  let workbench: Workbench;

  before(async () => {
    workbench = await open({
      prepare: (folder) => writeFileSync(join(folder, 'damaged.safetensors'), Uint8Array.from([9, 0, 1, 255, 3, 200, 7, 128])),
    });
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

  it('says why a damaged file cannot be read', async () => {
    await workbench.openFile('damaged.safetensors');
    const notice = workbench.webview.locator('.notice.error');
    await notice.waitFor();
    assert.match(await notice.innerText(), /damaged\.safetensors/);
    await workbench.screenshot('checkpoint-damaged');
  });
});
