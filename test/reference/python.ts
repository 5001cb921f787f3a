import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';

/** Debian's python3-numpy belongs to Debian's python3; another python3 may come first on the PATH. */
const python = ['python3', '/usr/bin/python3'].find((program) => spawnSync(program, ['-c', 'import numpy'], { stdio: 'ignore' }).status === 0) ?? 'python3';

/** Runs a numpy program of this folder: JSON in, JSON out. */
export function numpy<T>(program: string, input: unknown = null, ...args: string[]): T {
  return JSON.parse(execFileSync(python, [join(__dirname, program), ...args], { input: JSON.stringify(input), maxBuffer: 1 << 30, encoding: 'utf8' })) as T;
}
