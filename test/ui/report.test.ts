import assert from 'node:assert/strict';
import { EXAMPLE, open } from './vscode';
import type { Workbench } from './vscode';

describe('Report and status', function suite() {
  this.timeout(120_000);
  let workbench: Workbench;

  before(async () => {
    workbench = await open();
    await workbench.openFile(EXAMPLE);
  });
  after(() => workbench.close());

  it('tells the state of server and engine, with links to log, restart and settings', async () => {
    const item = workbench.page.locator('.statusbar-item', { hasText: 'QuantScope' });
    await item.hover();
    const hover = workbench.page.locator('.workbench-hover', { hasText: 'Restart' });
    await hover.waitFor();
    assert.match(await hover.innerText(), /Log.*Restart.*Settings/s);
    await workbench.screenshot('status');
  });

  it('shows the evidence report in a panel that may run nothing', async () => {
    await workbench.run('QuantScope: Open Report');
    const policy = workbench.webview.locator('meta[http-equiv="Content-Security-Policy"]').first();
    await policy.waitFor({ state: 'attached' });
    assert.match(await policy.getAttribute('content') ?? '', /^default-src 'none'/);
    await workbench.webview.locator('table').first().waitFor();
    assert.match(await workbench.webview.locator('body').innerText(), /glyph-dit/);
    await workbench.screenshot('report');
  });
});
