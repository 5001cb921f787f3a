/** `analyze` against an independent numpy program (oracle.py), every layer of the example, RTN and OrbitQuant at 2, 3 and 4 bits. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Checkpoint, LayerReport, Marginal } from '../../server/src/protocol';
import { numpy } from './python';

const root = resolve(__dirname, '../..');
const example = join(root, 'examples/glyph-dit');
interface OracleLayer { relativeMse: number; before: Marginal; after: Marginal; rho: number }

function quantscope<T>(...args: string[]): T {
  return JSON.parse(execFileSync(process.execPath, [join(root, 'bin/quantscope.js'), ...args, '--json'], { maxBuffer: 1 << 28, encoding: 'utf8' })) as T;
}

function close(actual: number, expected: number, tolerance: number, what: string): void {
  assert.ok(Math.abs(actual - expected) <= tolerance, `${what}: ${actual}, the oracle says ${expected}`);
}

describe('analyze agrees with numpy', function () {
  this.timeout(120_000);
  let folder = '';
  let checkpoint: Checkpoint;

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'quantscope-'));
    checkpoint = quantscope('inspect', example);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  for (const method of ['rtn', 'orbitquant']) {
    for (const bits of [2, 3, 4]) {
      it(`${method} at ${bits} bits`, () => {
        const config = join(folder, 'c.quant.yaml');
        writeFileSync(config, `version: 1\ncheckpoint: ${JSON.stringify(example)}\ndefaults: { method: ${method}, scheme: W${bits}A16 }\n`);
        const { layers } = quantscope<{ layers: LayerReport[] }>('analyze', config, '--cache', 'none');
        assert.equal(layers.length, checkpoint.layers.length);
        const tensors = new Map(checkpoint.tensors.map((tensor) => [tensor.name, tensor]));
        const request = { method, bits, layers: layers.map(({ name }) => ({ ...tensors.get(`${name}.weight`), name })) };
        const oracle = numpy<Record<string, OracleLayer>>('oracle.py', request);
        for (const { name, weight, marginal } of layers) {
          const expected = oracle[name];
          assert.ok(expected, name);
          close(weight.relativeMse / expected.relativeMse, 1, 1e-5, `${name} relative MSE`);
          close(marginal.rho / expected.rho, 1, 1e-5, `${name} ρ`);
          for (const side of ['before', 'after'] as const) {
            close(marginal[side].ks, expected[side].ks, 1e-4, `${name} KS ${side}`);
            close(marginal[side].wasserstein1, expected[side].wasserstein1, 2e-5, `${name} W1 ${side}`);
            close(marginal[side].excessKurtosis, expected[side].excessKurtosis, 1e-5, `${name} kurtosis ${side}`);
            close(marginal[side].maxAbs, expected[side].maxAbs, 1e-5, `${name} max ${side}`);
          }
        }
      });
    }
  }
});
