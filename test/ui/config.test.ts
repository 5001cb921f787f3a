import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { EXAMPLE, open, themes } from './vscode';
import type { Workbench } from './vscode';

for (const theme of themes) {
  describe(`Config in the editor, ${theme}`, function suite() {
    this.timeout(120_000);
    let workbench: Workbench;

    before(async () => {
      workbench = await open({ theme });
      appendFileSync(join(workbench.folder, EXAMPLE), '# A rule that matches nothing, for the squiggle.\n  - layers: [no_such_layer.*]\n    keep: bf16\n');
      await workbench.openFile(EXAMPLE);
    });
    after(() => workbench.close());

    it('shows what each rule takes beside it', async () => {
      const hint = workbench.editor.locator('.view-line', { hasText: /\d+\slayers?\s·\s[\d.]+\s%\s·\s[\d.]+\sbits/ });
      await hint.first().waitFor();
      assert.ok(await hint.count() > 1);
    });

    it('underlines a pattern that matches nothing', async () => {
      await workbench.editor.locator('.squiggly-warning, .squiggly-error').first().waitFor();
      await workbench.screenshot('config');
    });

    it('says in the status bar that it is healthy', async () => {
      await workbench.page.locator('.statusbar-item[id="quantscope.quantscope.quantscope.health"], .statusbar-item', { hasText: 'QuantScope' }).first().waitFor();
    });
  });
}
