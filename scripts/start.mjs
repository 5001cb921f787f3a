// `npm start`: sets up what is missing, builds, analyzes the bundled example, writes its report and opens VS Code with the extension when `code` is there.
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { main, root, run, say, setup } from './setup.mjs';

const config = 'examples/glyph-dit.quant.yaml';

await main(async () => {
  await setup();
  run(process.execPath, ['bin/quantscope.js', 'analyze', config]);
  run(process.execPath, ['bin/quantscope.js', 'report', config, '--out', 'report.html']);
  if (spawnSync('code', ['--version'], { stdio: 'ignore' }).status === 0) {
    spawn('code', [`--extensionDevelopmentPath=${root}`, join(root, 'examples'), join(root, config)], { stdio: 'ignore', detached: true }).unref();
    say('Opening VS Code with the extension…');
  } else {
    say(`VS Code's "code" command is not on the PATH; to open the editor: code --extensionDevelopmentPath="${root}" "${join(root, 'examples')}"`);
  }
});
