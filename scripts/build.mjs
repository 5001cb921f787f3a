// Bundles client, server, engine host, command line tool and webviews into dist/. `--watch` keeps going, `--tests` adds the in-host tests.
import { context, build } from 'esbuild';
import { readdirSync, rmSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = resolve(fileURLToPath(import.meta.url), '../..');

const shared = { absWorkingDir: root, bundle: true, sourcemap: true, logLevel: 'warning', legalComments: 'linked' };
const node = { ...shared, platform: 'node', format: 'cjs', target: 'node20', mainFields: ['module', 'main'] };
const views = join(root, 'webview/src/views');

/** One bundle per process of docs/architecture.md, one per webview. */
function bundles(withTests) {
  const list = [
    { ...node, entryPoints: { client: 'client/src/extension.ts' }, outdir: 'dist', external: ['vscode'] },
    { ...node, entryPoints: { server: 'server/src/main.ts', engine: 'server/src/engine/host.ts', cli: 'server/src/cli/main.ts' }, outdir: 'dist', external: ['*.node'] },
    {
      ...shared,
      entryPoints: readdirSync(views).filter((name) => name.endsWith('.ts')).map((name) => ({ in: join(views, name), out: basename(name, '.ts') })),
      outdir: 'dist/webview', platform: 'browser', format: 'iife', target: 'es2022', minify: true, loader: { '.css': 'css' },
    },
  ];
  if (withTests) {
    list.push({ ...node, entryPoints: { index: 'test/host/index.ts' }, outdir: 'dist/test-host', external: ['vscode', 'mocha'] });
  }
  return list;
}

export async function buildAll({ tests = false } = {}) {
  rmSync(join(root, 'dist'), { recursive: true, force: true });
  await Promise.all(bundles(tests).map((options) => build(options)));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const tests = process.argv.includes('--tests');
  if (process.argv.includes('--watch')) {
    for (const options of bundles(tests)) {
      await (await context(options)).watch();
    }
  } else {
    await buildAll({ tests });
  }
}
