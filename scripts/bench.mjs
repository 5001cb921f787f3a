// `npm run bench [-- name…]`: prints the measurements of docs/performance.md and closes with one table of them; `npm run bench:methods` and `npm run bench:allocation` the tables of docs/results.md.
// Nothing here passes or fails: machines are noisy. Rows of the table come from the benchmarks (bench/row.ts): lines of JSON in the file that QUANTSCOPE_BENCH_ROWS names.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildNative, header, installDebianPackages, main, root, say, setup } from './setup.mjs';

const NATIVE = 'native';
const tableOfKernels = join(root, 'native/build/bench/quantscope_table');
const names = readdirSync(join(root, 'bench')).flatMap((file) => (file.endsWith('.bench.ts') ? [file.replace('.bench.ts', '')] : []));

function run(command, args, env = {}) {
  return spawnSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, ...env } }).status ?? 1;
}

async function bench(name, env) {
  say(`\n── ${name} ──`);
  if (name === NATIVE) {
    installDebianPackages([{ package: 'libbenchmark-dev', found: () => header('benchmark/benchmark.h') }]);
    await buildNative('native/build', ['-DQUANTSCOPE_BENCH=ON']);
    const ended = run(join(root, 'native/build/bench/quantscope_bench'), [], env);
    // The targets, for the processor's best instructions and for AVX2 alone; OpenBLAS, their measure, listens to a variable of its own.
    const best = run(tableOfKernels, [], { ...env, OPENBLAS_CORETYPE: undefined });
    return Math.max(ended, best, process.arch === 'x64' ? run(tableOfKernels, [], { ...env, QUANTSCOPE_CPU: 'avx2', OPENBLAS_CORETYPE: 'Haswell' }) : 0);
  }
  return run(process.execPath, ['--import=tsx', `bench/${name}.bench.ts`], env);
}

/** One line of JSON for each row. */
function readRows(file) {
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line)) : [];
}

function table(rows) {
  const lines = [['what', 'measured', 'target', ''], ...rows.map(({ what, measured, target, met }) => [what, measured, target ?? '–', met === undefined ? '' : met ? 'met' : 'MISSED'])];
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  lines.splice(1, 0, widths.map((width) => '─'.repeat(width)));
  return lines.map((line) => line.map((cell, column) => cell.padEnd(widths[column])).join('  ').trimEnd()).join('\n');
}

await main(async () => {
  await setup();
  const [first, ...args] = process.argv.slice(2);
  if (first !== undefined && ![...names, NATIVE].includes(first) && existsSync(join(root, `bench/${first}.ts`))) {
    return run(process.execPath, ['--import=tsx', `bench/${first}.ts`, ...args]);
  }
  const wanted = first === undefined ? [...names, NATIVE] : [first, ...args];
  const unknown = wanted.find((name) => ![...names, NATIVE].includes(name));
  if (unknown !== undefined) {
    say(`There is no benchmark "${unknown}"; there are ${[...names, NATIVE].join(', ')}.`);
    return 2;
  }
  const folder = mkdtempSync(join(tmpdir(), 'quantscope-rows-'));
  try {
    const file = join(folder, 'rows');
    const ended = [];
    for (const name of wanted) {
      if (await bench(name, { QUANTSCOPE_BENCH_ROWS: file }) !== 0) {
        ended.push(name);
      }
    }
    process.stdout.write(`\n${table(readRows(file))}\n`);
    ended.forEach((name) => say(`${name} ended with an exit code: see what it printed.`));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return 0;
});
