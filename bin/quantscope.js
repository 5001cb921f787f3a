#!/usr/bin/env node
// The command line tool is bundled into dist/cli.js; a fresh clone has none yet.
const { existsSync } = require('node:fs');
const { join } = require('node:path');

const bundle = join(__dirname, '../dist/cli.js');
if (existsSync(bundle)) {
  require(bundle);
} else {
  process.stderr.write('quantscope: not built yet. Run "npm start" once in the project folder.\n');
  process.exitCode = 2;
}
