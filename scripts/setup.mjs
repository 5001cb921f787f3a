// Installs what is missing and builds: npm packages, Debian packages, the native addon, the bundles. Every step looks first and does nothing when nothing is to do.
// Only Node's own modules are used here: on a fresh clone there is nothing else.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = resolve(fileURLToPath(import.meta.url), '../..');

/** What the build needs, how to see that it is there, and the Debian package that brings it. */
const tools = {
  build: [
    { package: 'cmake', found: () => onPath('cmake') },
    { package: 'g++', found: () => onPath('c++') || onPath('g++') },
    { package: 'ninja-build', found: () => onPath('ninja') || onPath('make') },
    { package: 'libhwy-dev', found: () => header('hwy/highway.h') },
    { package: 'libopenblas-pthread-dev', found: () => openblas() },
  ],
  test: [
    { package: 'libgtest-dev', found: () => header('gtest/gtest.h') },
    { package: 'python3-numpy', found: () => ['python3', '/usr/bin/python3'].some((program) => succeeds(program, ['-c', 'import numpy'])) },
    { package: 'fonts-dejavu-core', found: () => existsSync('/usr/share/fonts') },
    { package: 'chromium', found: () => onPath('chromium') || onPath('google-chrome') },
    { package: 'neovim', found: () => onPath('nvim') },
    // NEON's kernels, on processors without it.
    { package: 'g++-aarch64-linux-gnu', found: () => process.arch === 'arm64' || onPath('aarch64-linux-gnu-g++') },
    { package: 'qemu-user', found: () => process.arch === 'arm64' || onPath('qemu-aarch64') },
  ],
};

export const cudaLibrary = 'libquantscope_cuda.so';

/** A message for the user instead of a stack. */
export class SetupError extends Error {}

export function say(text) {
  process.stderr.write(`${text}\n`);
}

export function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], ...options });
  if (error || status !== 0) {
    throw new SetupError(`"${[command, ...args].join(' ')}" failed${error ? ` (${error.message})` : ` with exit code ${status}`}; its output is above.`);
  }
}

function succeeds(program, args) {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0;
}

function onPath(program) {
  return succeeds(process.platform === 'win32' ? 'where' : 'which', [program]);
}

export function header(name) {
  return ['/usr/include', '/usr/local/include', '/opt/homebrew/include', ...(process.env.CPATH ?? '').split(':').filter(Boolean)].some((folder) => existsSync(join(folder, name)));
}

/** The static library of the pthread variant, where Debian or another system puts it. */
function openblas() {
  return ['/usr/lib/x86_64-linux-gnu/openblas-pthread', '/usr/lib/aarch64-linux-gnu/openblas-pthread', '/usr/lib', '/usr/local/lib', '/opt/homebrew/opt/openblas/lib'].some((folder) => existsSync(join(folder, 'libopenblas.a')));
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 9)) {
    throw new SetupError(`QuantScope needs Node.js 20.9 or newer; this is ${process.version}.`);
  }
}

function installNpmPackages() {
  const stamp = join(root, 'node_modules/.quantscope-lockfile');
  const hash = createHash('sha256').update(readFileSync(join(root, 'package-lock.json'))).digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === hash) {
    return;
  }
  say('Installing npm packages…');
  run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']);
  writeFileSync(stamp, hash);
}

export function installDebianPackages(list) {
  const missing = list.filter((tool) => !tool.found()).map((tool) => tool.package);
  if (missing.length === 0) {
    return;
  }
  const install = `apt-get install -y --no-install-recommends ${missing.join(' ')}`;
  if (!onPath('apt-get')) {
    throw new SetupError(`Missing: ${missing.join(', ')} (Debian's names). Install them with your system's package manager and run this again.`);
  }
  if (process.getuid?.() !== 0) {
    throw new SetupError(`Missing Debian packages. Run this once, then again what you just ran:\n  sudo ${install}`);
  }
  say(`Installing Debian packages: ${missing.join(', ')}…`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  run('apt-get', ['update', '-qq'], { env });
  run('apt-get', install.split(' ').slice(1).concat('-qq'), { env, stdio: ['ignore', 'ignore', 'inherit'] });
}

/** Configures once, builds what changed. CMake's chatter is shown only when it fails. @param aside gives way to everything else that runs @param target everything without one */
export async function buildNative(folder, options = [], { aside = false, target } = {}) {
  const directory = join(root, folder);
  const generator = onPath('ninja') ? ['-G', 'Ninja'] : [];
  const nice = aside && onPath('nice') ? ['nice', '-n', '15'] : [];
  const quiet = async (args) => {
    const [program, ...rest] = [...nice, 'cmake', ...args];
    const child = spawn(program, rest, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    [child.stdout, child.stderr].forEach((stream) => stream.setEncoding('utf8').on('data', (text) => { output += text; }));
    const status = await new Promise((done, fail) => child.once('error', fail).once('close', done));
    if (status !== 0) {
      throw new SetupError(`The native build failed: cmake ${args.join(' ')}\n${output}`);
    }
  };
  if (!existsSync(join(directory, 'CMakeCache.txt'))) {
    say(`Building the native engine (${folder})…`);
  }
  await quiet(['-S', 'native', '-B', folder, ...generator, ...options]);
  await quiet(['--build', folder, ...target ? ['--target', target] : [], '--parallel', String(Math.max(1, Number(process.env.QUANTSCOPE_JOBS) || 2))]);
}

/** Why libquantscope_cuda.so cannot be built here, half a sentence; null where it can. Looks where CMake does. */
export function whyNoCuda() {
  const folders = ['', ...[process.env.CUDA_HOME, process.env.CUDA_PATH, '/usr/local/cuda'].flatMap((home) => (home ? [join(home, 'bin/')] : []))];
  const versions = folders.map((folder) => spawnSync(`${folder}nvcc`, ['--version'], { encoding: 'utf8' })).filter(({ status }) => status === 0);
  const [, release, major, minor] = /release ((\d+)\.(\d+))/.exec(versions[0]?.stdout ?? '') ?? [];
  if (process.platform !== 'linux') {
    return 'CUDA is for Linux';
  }
  if (release === undefined) {
    return 'nvcc is not on this machine; CUDA toolkit 12.8 or newer has it';
  }
  return Number(major) < 12 || (Number(major) === 12 && Number(minor) < 8) ? `nvcc ${release} is too old for compute capability 12.0; CUDA toolkit 12.8 or newer is needed` : null;
}

/** In a folder of its own, by request alone: nvcc takes minutes. Needs no GPU. @returns the path of the library. */
export async function buildCuda(options = {}) {
  await buildNative('native/build-cuda', ['-DQUANTSCOPE_CUDA=ON', '-DQUANTSCOPE_ADDON=OFF'], { ...options, target: 'quantscope_cuda' });
  return join(root, 'native/build-cuda', cudaLibrary);
}

/** Beside the addon, where the engine looks for it. */
async function addCuda() {
  const why = whyNoCuda();
  if (why !== null) {
    throw new SetupError(`The CUDA library cannot be built: ${why}.`);
  }
  cpSync(await buildCuda(), join(root, 'native/build', cudaLibrary));
  say('The engine finds the CUDA library now; "node bin/quantscope.js doctor" says whether it is used. Run this again after an update.');
}

/** @param tests also what only the tests need. */
export async function setup({ tests = false } = {}) {
  checkNode();
  installNpmPackages();
  installDebianPackages(tests ? [...tools.build, ...tools.test] : tools.build);
  await buildNative('native/build', tests ? ['-DQUANTSCOPE_TESTS=ON'] : []);
  const { buildAll } = await import('./build.mjs');
  await buildAll({ tests });
}

/** Runs a script's main function; a SetupError is a message, anything else a stack. */
export async function main(work) {
  try {
    process.exitCode = (await work()) ?? 0;
  } catch (error) {
    say(error instanceof SetupError ? `\n${error.message}` : String(error?.stack ?? error));
    process.exitCode = 1;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(async () => {
    await setup({ tests: process.argv.includes('--tests') });
    if (process.argv.includes('--cuda')) {
      await addCuda();
    }
  });
}
