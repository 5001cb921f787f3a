// Installs what the tests in a real VS Code need: code-server's VS Code server in a cache folder outside the dependency tree, and Debian's chromium and
// ripgrep.
// Prints one line of JSON, { server, chromium }: the server's entry script and the browser. The second run finds the stamp and takes no time.
//
// Only lib/vscode of code-server is used, so its own dependencies are not installed, and none of the server's native modules is compiled:
// without node-pty it has no terminal and without spdlog it logs to the console, which is all that tests need.
import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';

const VERSION = '4.100.3';
const folder = process.env.QUANTSCOPE_CACHE ?? join(homedir(), '.cache', 'quantscope', `code-server-${VERSION}`);
const stamp = join(folder, `installed-${VERSION}`);
const server = join(folder, 'lib', 'vscode', 'out', 'server-main.js');

function say(text) {
  process.stderr.write(`setup-vscode: ${text}\n`);
}

function run(command, args, cwd) {
  execFileSync(command, args, { cwd, stdio: ['ignore', 'ignore', 'inherit'] });
}

function onPath(names) {
  const folders = (process.env.PATH ?? '').split(delimiter);
  for (const name of names) {
    for (const candidate of folders) {
      try {
        accessSync(join(candidate, name), constants.X_OK);
        return join(candidate, name);
      } catch {
        // Not in this folder; the next one may have it.
      }
    }
  }
  return undefined;
}

/** Unpacks next to the final place and renames, so that an interrupted run leaves nothing half done under the final name. */
function installServer() {
  if (existsSync(stamp)) {
    return;
  }
  say(`installing code-server ${VERSION} into ${folder}`);
  mkdirSync(dirname(folder), { recursive: true });
  const work = mkdtempSync(`${folder}-`);
  try {
    run('npm', ['pack', `code-server@${VERSION}`, '--silent'], work);
    run('tar', ['-xzf', `code-server-${VERSION}.tgz`], work);
    const unpacked = join(work, 'package');
    run('npm', ['install', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund', '--silent'], join(unpacked, 'lib', 'vscode'));
    writeFileSync(join(unpacked, `installed-${VERSION}`), '');
    rmSync(folder, { recursive: true, force: true });
    renameSync(unpacked, folder);
  } catch (error) {
    throw new Error(`code-server ${VERSION} could not be installed (${error.message}). Check that \`npm ping\` reaches the registry and that \`tar\` is installed.`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

const CHROMIUM = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

/** Quick Open and findFiles run ripgrep, whose npm package downloads it from GitHub; Debian's does as well. */
function systemTools() {
  const find = () => ({ chromium: process.env.QUANTSCOPE_CHROMIUM ?? onPath(CHROMIUM), ripgrep: onPath(['rg']) });
  let tools = find();
  if ((tools.chromium === undefined || tools.ripgrep === undefined) && process.getuid?.() === 0 && onPath(['apt-get']) !== undefined) {
    say('installing chromium and ripgrep through apt-get');
    run('apt-get', ['update', '-qq']);
    run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'chromium', 'ripgrep']);
    tools = find();
  }
  if (tools.chromium === undefined || tools.ripgrep === undefined) {
    throw new Error('chromium and rg must be on the PATH. Debian: `sudo apt-get install chromium ripgrep`. Another browser can be named in QUANTSCOPE_CHROMIUM.');
  }
  return tools;
}

function linkRipgrep(ripgrep) {
  const place = join(folder, 'lib', 'vscode', 'node_modules', '@vscode', 'ripgrep', 'bin', 'rg');
  if (!existsSync(place)) {
    mkdirSync(dirname(place), { recursive: true });
    rmSync(place, { force: true });
    symlinkSync(ripgrep, place);
  }
}

try {
  const { chromium, ripgrep } = systemTools();
  installServer();
  linkRipgrep(ripgrep);
  process.stdout.write(`${JSON.stringify({ server, chromium })}\n`);
} catch (error) {
  say(error.message);
  process.exitCode = 1;
}
