// Runs in the extension host of a real VS Code: mocha over every file named here. Results leave as one JSON line each; test/ui/host.test.ts reads them.
import Mocha from 'mocha';

/** One line on the console for each test, after this prefix. */
export interface HostResult { title: string; state: 'passed' | 'failed'; error?: string }

export async function run(): Promise<void> {
  const mocha = new Mocha({ ui: 'bdd', timeout: 60_000, reporter: ToConsole });
  mocha.suite.emit('pre-require', globalThis, '', mocha);
  await import('./activation.test');
  await import('./language.test');
  await import('./analyze.test');
  await import('./checkpoint.test');
  await import('./dialects.test');
  await import('./explain.test');
  await import('./newConfig.test');
  await import('./convert.test');
  await import('./preview.test');
  await import('./capture.test');
  await import('./diagnose.test');
  await import('./engine.test');
  const failures = await new Promise<number>((done) => mocha.run(done));
  if (failures > 0) {
    throw new Error(`${failures} tests failed in the extension host.`);
  }
}

class ToConsole extends Mocha.reporters.Base {
  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    super(runner, options);
    const say = (test: Mocha.Runnable, state: HostResult['state'], error?: Error): void => {
      const result: HostResult = { title: test.fullTitle(), state, ...(error === undefined ? {} : { error: error.stack ?? error.message }) };
      // eslint-disable-next-line no-console -- the console is the only way out of the extension host
      console.log(`HOST-TEST ${JSON.stringify(result)}`);
    };
    runner.on('pass', (test) => say(test, 'passed'));
    runner.on('fail', (test, error: Error) => say(test, 'failed', error));
  }
}
