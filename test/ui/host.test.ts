import assert from 'node:assert/strict';
import type { HostResult } from '../host/index';
import { open } from './vscode';

describe('In the extension host', function suite() {
  this.timeout(300_000);

  it('every test passes', async () => {
    const results: HostResult[] = [];
    const log: string[] = [];
    let finished: (code: number) => void = () => undefined;
    const exit = new Promise<number>((resolve) => {
      finished = resolve;
    });
    const workbench = await open({
      runHostTests: {
        log: (line) => {
          log.push(line);
          const result = /HOST-TEST (\{.*\})/.exec(line)?.[1];
          if (result !== undefined) {
            results.push(JSON.parse(result) as HostResult);
          }
        },
        exit: (code) => finished(code),
      },
    });
    const code = await exit;
    await workbench.screenshot('host');
    await workbench.close();
    const failed = results.filter(({ state }) => state === 'failed');
    const lines = results.map(({ title, state, error }) => `      ${state === 'passed' ? '✔' : '✖'} ${title}${error === undefined ? '' : `\n${error}`}`);
    process.stdout.write(`${lines.join('\n')}\n      ${results.length - failed.length} passing in the extension host\n`);
    assert.ok(results.length > 0, `no test ran:\n${log.join('\n')}`);
    assert.deepEqual(failed.map(({ title }) => title), []);
    assert.equal(code, 0, log.join('\n'));
  });
});
