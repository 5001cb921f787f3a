// `npm run package [-- target]`: a platform VSIX in build/. Everything is inside; an install runs no scripts.
// The native addon is the one built on this machine, so the target must be this machine's. The CUDA library comes along where there is an nvcc.
import { cpSync, mkdirSync, rmSync, writeFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildCuda, cudaLibrary, main, root, run, say, setup, SetupError, whyNoCuda } from './setup.mjs';

export const hostTarget = `${process.platform}-${process.arch}`;
export const targets = ['linux-x64', 'linux-arm64', 'win32-x64', 'darwin-arm64', 'darwin-x64'];

/** Builds nothing: stages what is built and packs it. @param cuda path of the CUDA library, if there is one @returns the path of the VSIX. */
export function packageVsix(target = hostTarget, cuda = undefined) {
  if (!targets.includes(target)) {
    throw new SetupError(`There is no target "${target}"; there are ${targets.join(', ')}.`);
  }
  if (target !== hostTarget) {
    throw new SetupError(`The native addon of ${target} is built on such a machine; this one is ${hostTarget}. Run this script there.`);
  }
  const staging = join(root, 'build/package', target);
  rmSync(staging, { recursive: true, force: true });
  mkdirSync(join(staging, 'native'), { recursive: true });
  for (const name of ['dist', 'bin', 'syntaxes', 'schemas', 'docs', 'README.md', 'LICENSE', 'THIRD_PARTY_NOTICES.md', '.vscodeignore', 'package.nls.json']) {
    cpSync(join(root, name), join(staging, name), { recursive: true });
  }
  cpSync(join(root, 'native/build/quantscope.node'), join(staging, 'native/quantscope.node'));
  if (cuda !== undefined) {
    cpSync(cuda, join(staging, 'native', cudaLibrary));
  }
  const { scripts: _scripts, devDependencies: _development, dependencies: _bundled, private: _private, ...manifest } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  writeFileSync(join(staging, 'package.json'), JSON.stringify(manifest, null, 2));
  const vsix = join(root, 'build', `quantscope-${target}.vsix`);
  run(process.execPath, [join(root, 'node_modules/@vscode/vsce/vsce'), 'package', '--no-dependencies', '--target', target, '--out', vsix, '--allow-missing-repository', '--no-rewrite-relative-links', '--no-update-package-json'],
    { cwd: staging, stdio: ['ignore', 'ignore', 'inherit'] });
  return vsix;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(async () => {
    await setup();
    const why = whyNoCuda();
    const cuda = why === null ? await buildCuda() : undefined;
    say(`Packaged ${cuda === undefined ? `without CUDA (${why})` : 'with CUDA'}: ${packageVsix(process.argv[2], cuda)}`);
  });
}
