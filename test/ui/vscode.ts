/**
 * A real VS Code for tests: code-server's VS Code server and a headless chromium, with the built extension loaded from this repository.
 * One server and one browser serve the whole run; each `open` gets a page of its own on a copy of examples/. Importing this file starts and stops them.
 * Every wait here is for an event or for an element.
 */
import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { chromium } from 'playwright-core';
import type { Browser, FrameLocator, Locator, Page } from 'playwright-core';

const root = resolve(__dirname, '../..');
/** The folder with package.json and dist/: this repository, or an unpacked VSIX to test instead. */
const extension = process.env['QUANTSCOPE_EXTENSION'] ?? root;
const artifacts = join(root, 'test-artifacts');

/** By the ends of screenshots' names; a window starts with the first. `kind` is the class that VS Code gives to the workbench, and what webviews are told. */
const THEMES = {
  dark: { title: 'Default Dark Modern', kind: ['vs-dark', 'vscode-dark'] },
  light: { title: 'Default Light Modern', kind: ['vs', 'vscode-light'] },
  'high-contrast': { title: 'Default High Contrast', kind: ['hc-black', 'vscode-high-contrast'] },
} as const;
export type Theme = keyof typeof THEMES;

/** For any one wait, milliseconds: where other work takes the processors, a window needs a minute to load. */
const PATIENCE = 120_000;

/** What is opened, relative to examples/. */
export const EXAMPLE = 'glyph-dit.quant.yaml';
export const CHECKPOINT = 'glyph-dit/transformer/diffusion_pytorch_model.safetensors';

export interface OpenOptions {
  /** Changes the copy of examples/ before VS Code sees it; Quick Open does not find files that appear later. */
  prepare?: (folder: string) => void | Promise<void>;
  /** Runs dist/test-host in the extension host; see test/host. */
  runHostTests?: { log: (line: string) => void; exit: (code: number) => void };
}

let browser: Browser;
let server: ChildProcess;
let address: string;
let scratch: string;

before('start VS Code', async function start() {
  this.timeout(300_000);
  if (!existsSync(join(extension, 'dist/client.js'))) {
    throw new Error('The extension is not built: run `node scripts/build.mjs --tests` first.');
  }
  const tools = JSON.parse(execFileSync(process.execPath, [join(root, 'scripts/setup-vscode.mjs')], { encoding: 'utf8' })) as { server: string; chromium: string };
  scratch = realpathSync(mkdtempSync(join(tmpdir(), 'quantscope-ui-')));
  writeUserSettings();
  server = spawn(process.execPath, [
    tools.server, '--host', '127.0.0.1', '--port', '0', '--without-connection-token', '--accept-server-license-terms', '--telemetry-level', 'off',
    '--user-data-dir', join(scratch, 'user'), '--extensions-dir', join(scratch, 'extensions'), '--server-data-dir', join(scratch, 'server'),
    // Extension hosts leave their sockets in the folder for temporary files.
  ], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, TMPDIR: scratch, XDG_RUNTIME_DIR: scratch } });
  address = await serverAddress(server);
  browser = await chromium.launch({
    executablePath: tools.chromium,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
});

after('stop VS Code', async function stop() {
  this.timeout(60_000);
  await browser?.close();
  if (server !== undefined && server.exitCode === null) {
    const gone = once(server, 'exit');
    server.kill();
    await gone;
  }
  if (scratch !== undefined) {
    rmSync(scratch, { recursive: true, force: true, maxRetries: 5 });
  }
});

/** The port is chosen by the system. Without a line that names it, the server's whole output is the error. */
async function serverAddress(child: ChildProcess): Promise<string> {
  let output = '';
  return new Promise((found, fail) => {
    const read = (chunk: Buffer): void => {
      output += chunk.toString();
      const url = /Web UI available at (http:\/\/localhost:\d+)/.exec(output)?.[1];
      if (url !== undefined) {
        found(url);
      }
    };
    child.stdout?.on('data', read);
    child.stderr?.on('data', read);
    child.on('exit', (code) => fail(new Error(`The VS Code server ended with code ${code}:\n${output}`)));
  });
}

/** Settings of the application scope cannot be set in a workspace. */
function writeUserSettings(): void {
  const folder = join(scratch, 'user/User');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'settings.json'), JSON.stringify({ 'security.workspace.trust.enabled': false }));
}

/** A copy of examples/ with the settings that keep screenshots the same. */
function copyWorkspace(): string {
  const folder = mkdtempSync(join(scratch, 'workspace-'));
  cpSync(join(root, 'examples'), folder, { recursive: true });
  mkdirSync(join(folder, '.vscode'), { recursive: true });
  writeFileSync(join(folder, '.vscode/settings.json'), JSON.stringify({
    'workbench.colorTheme': THEMES.dark.title, 'workbench.startupEditor': 'none', 'workbench.tips.enabled': false, 'window.commandCenter': false,
    'workbench.layoutControl.enabled': false, 'editor.minimap.enabled': false, 'editor.cursorBlinking': 'solid', 'git.enabled': false,
    'chat.commandCenter.enabled': false, 'extensions.ignoreRecommendations': true, 'files.simpleDialog.enable': true,
  }));
  return folder;
}

export async function open({ prepare, runHostTests }: OpenOptions = {}): Promise<Workbench> {
  const folder = copyWorkspace();
  await prepare?.(folder);
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, reducedMotion: 'reduce' });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const remote = (path: string): string => `vscode-remote://${new URL(address).host}${path}`;
  const payload = [['extensionDevelopmentPath', remote(extension)], ['skipWelcome', 'true']];
  if (runHostTests !== undefined) {
    payload.push(['extensionTestsPath', remote(join(extension, 'dist/test-host/index'))]);
    await page.exposeFunction('codeAutomationLog', (_type: string, values: unknown[]) => runHostTests.log(values.map(String).join(' ')));
    await page.exposeFunction('codeAutomationExit', runHostTests.exit);
  }
  const url = new URL(address);
  url.searchParams.set('folder', folder);
  url.searchParams.set('payload', JSON.stringify(payload));
  await page.goto(url.toString());
  await page.locator('.monaco-workbench').waitFor();
  return new Workbench(page, folder);
}

export class Workbench {
  constructor(readonly page: Page, readonly folder: string) {}

  get editor(): Locator {
    return this.page.locator('.editor-instance .monaco-editor').first();
  }

  /** Opens a file by its name through Quick Open. A config has the focus afterwards, on which the palette's commands depend. */
  async openFile(name: string): Promise<void> {
    await this.pick('Control+P', name);
    await this.page.locator(`.tab.active[data-resource-name="${name.slice(name.lastIndexOf('/') + 1)}"]`).waitFor();
    if (name.endsWith('.yaml')) {
      await this.page.locator('.editor-instance .monaco-editor.focused').waitFor();
      await this.page.locator('[id="status.editor.mode"]', { hasText: 'Quantization Config' }).waitFor();
    }
  }

  /** Runs a command by its title through the command palette. */
  async run(title: string): Promise<void> {
    await this.pick('F1', `>${title}`);
  }

  private async pick(key: string, text: string): Promise<void> {
    const input = this.page.locator('.quick-input-widget input');
    await this.page.locator('.monaco-workbench .part.editor').waitFor();
    await this.page.keyboard.press(key);
    await input.fill(text);
    await this.page.locator('.quick-input-list .monaco-list-row.focused', { hasText: text.replace(/^>|.*\//g, '') }).first().waitFor();
    await this.page.keyboard.press('Enter');
    // What was picked may ask something in the same box at once, which then never was hidden.
    await this.page.waitForFunction((typed) => {
      const box = document.querySelector<HTMLInputElement>('.quick-input-widget input');
      return box === null || box.offsetParent === null || box.value !== typed;
    }, text);
  }

  /** Waits for a picture or number of a preview just started. Where the machine is so slow that the estimate asks first, the answer is Run. */
  async previewed(what = '#root[data-state="finished"]'): Promise<void> {
    const run = this.page.locator('.notification-toast', { hasText: 'This preview takes about' }).getByRole('button', { name: 'Run', exact: true });
    let over = false;
    const answer = async (): Promise<void> => {
      while (!over) {
        await run.click({ timeout: 1000 }).catch(() => undefined);
      }
    };
    const answering = answer();
    await this.webview.locator(what).first().waitFor().finally(() => {
      over = true;
    });
    await answering;
  }

  /** The page inside the webview that is shown last. */
  get webview(): FrameLocator {
    return this.page.frameLocator('iframe.webview.ready').last().frameLocator('#active-frame');
  }

  /** test-artifacts/<name>-<theme>.png for every theme, in the window as it is: what it shows has to change its colours, not to be made anew. `look` may see more in each. */
  async screenshot(name: string, look?: (theme: Theme) => Promise<void>): Promise<void> {
    mkdirSync(artifacts, { recursive: true });
    const [first, ...others] = Object.keys(THEMES) as [Theme, ...Theme[]];
    for (const theme of [...others, first]) {
      await this.dress(theme);
      await look?.(theme);
      await this.page.screenshot({ path: join(artifacts, `${name}-${theme}.png`) });
    }
  }

  /** Waits until the window and the webviews in it have the theme's colours. */
  private async dress(theme: Theme): Promise<void> {
    const { title, kind: [workbench, webview] } = THEMES[theme];
    const settings = join(this.folder, '.vscode/settings.json');
    writeFileSync(settings, JSON.stringify({ ...JSON.parse(readFileSync(settings, 'utf8')) as object, 'workbench.colorTheme': title }));
    await this.page.locator(`.monaco-workbench.${workbench}`).waitFor();
    for (const frame of await this.page.locator('iframe.webview.ready:visible').all()) {
      await frame.contentFrame().frameLocator('#active-frame').locator(`body[data-vscode-theme-kind="${webview}"]`).waitFor({ state: 'attached' });
    }
  }

  async close(): Promise<void> {
    await this.page.context().close();
  }
}
