// `npm test [-- stage…]`: sets up what is missing and runs every test; closes with one line "N passed, M failed".
import { spawn } from 'node:child_process';
import { buildCuda, buildNative, main, root, run, say, setup, whyNoCuda } from './setup.mjs';

/** Each stage prints what its runner prints and says how many tests passed and failed. */
const stages = {
  lint: () => Promise.all([check('Types', 'npx', ['tsc', '-b']), check('Lint', 'npx', ['eslint', '.'])]),
  native: async () => {
    const tested = await ctest('native/build');
    await aside.neon;
    return [tested, await mocha(['test/native/neon.test.ts'])];
  },
  // Most of the second half waits for processes that it started: the two share the processors well.
  unit: () => bothAtOnce(['test/unit/**/*.test.ts', 'test/lsp/**/*.test.ts'], ['test/cli/**/*.test.ts', 'test/package/**/*.test.ts']),
  reference: () => mocha(['test/reference/**/*.test.ts']),
  ui: () => {
    run(process.execPath, ['scripts/setup-vscode.mjs']);
    return mocha(['test/ui/**/*.test.ts']);
  },
  cuda: async () => {
    await aside.cuda;
    return mocha(['test/native/cuda.test.ts']);
  },
  sanitizers: async () => {
    await aside.sanitizers;
    return ctest('native/build-asan');
  },
};

/** The longest builds, by the stage that waits for them. They need both processors only when the tests before leave them alone, so they run beside those, one after the other. */
const aside = {};
function buildAside(names) {
  // The compiler of a processor with NEON, where this one has none.
  const neon = ['-DQUANTSCOPE_KERNELS=ON', '-DCMAKE_COMPILE_WARNING_AS_ERROR=ON', ...process.arch === 'arm64' ? [] : ['-DCMAKE_TOOLCHAIN_FILE=test/standalone/aarch64.cmake']];
  aside.neon = names.includes('native') ? buildNative('native/build-arm64', neon, { aside: true }) : Promise.resolve();
  // Without nvcc the stage says so: then kernels are compiled for the emulator alone.
  const cuda = names.includes('cuda') && whyNoCuda() === null;
  const next = aside.neon.catch(() => undefined);
  aside.cuda = cuda ? next.then(() => buildCuda({ aside: true })) : next;
  // Little optimization: most of the time goes into compiling, and the lines of a report stay true.
  const sanitized = ['-DQUANTSCOPE_TESTS=ON', '-DQUANTSCOPE_SANITIZE=ON', '-DQUANTSCOPE_ADDON=OFF', '-DCMAKE_BUILD_TYPE=RelWithDebInfo', '-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -g1'];
  aside.sanitizers = names.includes('sanitizers') ? aside.cuda.catch(() => undefined).then(() => buildNative('native/build-asan', sanitized, { aside: true })) : Promise.resolve();
  Object.values(aside).forEach((build) => build.catch(() => undefined)); // its stage says why
}

/** Runs a program, shows its output as it comes (or as a whole, when `shown` says so), returns it for counting. */
function stream(command, args, shown) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, FORCE_COLOR: '0' } });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      output += text;
      if (!shown) {
        process.stdout.write(text);
      }
    });
    child.once('error', reject);
    child.once('close', async (status) => {
      if (shown) {
        await shown;
        process.stdout.write(output);
      }
      resolve({ status, output });
    });
  });
}

async function check(name, command, args) {
  const { status, output } = await stream(command, args);
  say(`${name}: ${status === 0 ? 'ok' : 'failed'}`);
  return status === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1, why: output };
}

async function ctest(folder) {
  const { status, output } = await stream('ctest', ['--test-dir', folder, '--output-on-failure', '--progress', '--timeout', '300', '-j2']);
  const [, failed, total] = /(\d+) tests failed out of (\d+)/.exec(output) ?? [];
  return counted(`ctest in ${folder}`, status, Number(total) - Number(failed), Number(failed), output.split('\n').filter((line) => line.includes('***')).join('\n'));
}

async function mocha(patterns, shown) {
  const { status, output } = await stream('npx', ['mocha', '--import=tsx', '--forbid-only', '--forbid-pending', ...patterns], shown);
  const total = (word) => [...output.matchAll(new RegExp(`^ *(\\d+) ${word}`, 'gm'))].reduce((sum, match) => sum + Number(match[1]), 0);
  return counted(patterns.join(' '), status, total('passing'), total('failing'), /^ *\d+ failing\n[^]*/m.exec(output)?.[0]);
}

/** The output of the second stands behind that of the first. */
function bothAtOnce(first, second) {
  const running = mocha(first);
  return Promise.all([running, mocha(second, running)]);
}

/** A runner that ended badly without naming a failed test, or ran none, is a failure too. */
function counted(name, status, passed, failed, why) {
  if (!(passed > 0) || (status !== 0 && !(failed > 0))) {
    return { passed: passed || 0, failed: Math.max(1, failed || 0), why: `${name}: ended with exit code ${status} after ${passed || 0} passed tests\n${why ?? ''}` };
  }
  return { passed, failed, why };
}

await main(async () => {
  const names = process.argv.slice(2).length > 0 ? process.argv.slice(2) : Object.keys(stages);
  const unknown = names.find((name) => !(name in stages));
  if (unknown) {
    say(`There is no test stage "${unknown}"; there are ${Object.keys(stages).join(', ')}.`);
    return 2;
  }
  await setup({ tests: true });
  buildAside(names);
  const results = [];
  for (const name of names) {
    const started = performance.now();
    say(`\n── ${name} ──`);
    results.push(...[await stages[name]()].flat());
    say(`── ${name}: ${((performance.now() - started) / 1000).toFixed(0)} s`);
  }
  // Once more, where it is found: the output of the other stages stands behind it.
  results.filter(({ why }) => why).forEach(({ why }) => process.stdout.write(`\n${why.slice(0, 20_000)}`));
  const sum = (key) => results.reduce((total, result) => total + result[key], 0);
  process.stdout.write(`\n${sum('passed')} passed, ${sum('failed')} failed\n`);
  return sum('failed') === 0 ? 0 : 1;
});
