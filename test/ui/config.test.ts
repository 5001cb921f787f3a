import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EXAMPLE, open, themes } from './vscode';
import type { Workbench } from './vscode';

/** A rule that matches nothing, for the squiggle. */
function addUselessRule(folder: string): void {
  const config = join(folder, EXAMPLE);
  writeFileSync(config, readFileSync(config, 'utf8').replace('budget:', '  - name: matches nothing\n    layers: [no_such_layer.*]\n    keep: bf16\nbudget:'));
}

for (const theme of themes) {
  describe(`Config in the editor, ${theme}`, function suite() {
    this.timeout(120_000);
    let workbench: Workbench;

    before(async () => {
      workbench = await open({ theme, prepare: addUselessRule });
      await workbench.openFile(EXAMPLE);
    });
    after(() => workbench.close());

    it('shows what each rule takes beside it', async () => {
      const hint = workbench.editor.locator('.view-line', { hasText: /\d+\slayers?\s·\s[\d.]+\s%\s·\s[\d.]+\sbits/ });
      await hint.first().waitFor();
      assert.ok(await hint.count() > 1);
    });

    it('underlines a pattern that matches nothing', async () => {
      await workbench.editor.locator('.squiggly-warning').first().waitFor();
      assert.equal(await workbench.editor.locator('.squiggly-error').count(), 0);
      await workbench.screenshot('config');
    });

    it('says in the status bar that it is healthy', async () => {
      await workbench.page.locator('.statusbar-item[id="quantscope.quantscope.quantscope.health"], .statusbar-item', { hasText: 'QuantScope' }).first().waitFor();
    });
  });
}
