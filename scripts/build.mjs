// Bundles client, server, engine host, command line tool and webviews into dist/. `--watch` keeps going, `--tests` adds the in-host tests.
import { context, build } from 'esbuild';
import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = resolve(fileURLToPath(import.meta.url), '../..');

const shared = { absWorkingDir: root, bundle: true, sourcemap: true, logLevel: 'warning', legalComments: 'linked', metafile: true };
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
  const built = await Promise.all(bundles(tests).map((options) => build(options)));
  writeFileSync(join(root, 'dist/LICENSES.txt'), licenses(built.flatMap(({ metafile }) => Object.keys(metafile.inputs))));
}

/** License texts of the packages in the bundles: few have theirs in a comment that the bundler keeps. @param paths of files, from the project's root */
function licenses(paths) {
  const folders = new Set(paths.flatMap((path) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(path)?.[0] ?? []));
  return [...folders].sort().map((folder) => {
    const { name, version, license, author, repository } = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
    const file = readdirSync(join(root, folder)).find((each) => /^(?:licen[sc]e|copying)/i.test(each));
    // Some say it in their manifest alone.
    const said = `By ${author?.name ?? author ?? name}, under the ${license} license; its text is in ${repository?.url ?? repository}.`;
    return `${'─'.repeat(80)}\n${name} ${version} (${license})\n\n${file === undefined ? said : readFileSync(join(root, folder, file), 'utf8').trim()}\n`;
  }).join('\n');
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
