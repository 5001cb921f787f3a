// `npm run bench`: prints the measurements of docs/performance.md; `npm run bench:methods` and `npm run bench:allocation` the tables of docs/results.md. Nothing here passes or fails: machines are noisy.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { buildNative, header, installDebianPackages, main, root, say, setup } from './setup.mjs';

await main(async () => {
  await setup();
  const [only, ...args] = process.argv.slice(2);
  if (only) {
    const { status } = spawnSync(process.execPath, ['--import=tsx', `bench/${only}.ts`, ...args], { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
    return status ?? 1;
  }
  installDebianPackages([{ package: 'libbenchmark-dev', found: () => header('benchmark/benchmark.h') }]);
  await buildNative('native/build', ['-DQUANTSCOPE_BENCH=ON']);
  for (const name of readdirSync(join(root, 'bench')).filter((file) => file.endsWith('.bench.ts'))) {
    say(`\n── bench/${name} ──`);
    spawnSync(process.execPath, ['--import=tsx', `bench/${name}`], { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  }
  say('\n── native ──');
  spawnSync(join(root, 'native/build/bench/quantscope_bench'), { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
});
