/**
 * Preview of the bundled example with its own settings (3 classes, 20 steps, guidance 2, 4 of the steps compared), as the editor asks the built language server for it.
 * First: new server, nothing in the cache, the start of the engine included. Again: the full-precision run and what the method fitted are kept. As deployed: that, with the integer kernels
 * beside fake quantization. Run: node --import=tsx bench/preview.bench.ts
 */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { quantile, row } from './row';
import { costOf, root, startServer } from './server';
import type { Cost } from './server';

const EXAMPLE = 'glyph-dit.quant.yaml';
const rounds = 5;

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'quantscope-bench-'));
  const runs = { first: [] as Cost[], again: [] as Cost[], 'again, as deployed too': [] as Cost[] };
  try {
    cpSync(join(root, 'examples'), folder, { recursive: true });
    for (let round = 0; round < rounds; round++) {
      const server = await startServer(join(folder, `cache-${round}`));
      try {
        const uri = await server.open(join(folder, EXAMPLE), readFileSync(join(folder, EXAMPLE), 'utf8'));
        for (const [name, costs] of Object.entries(runs)) {
          const asDeployed = name.includes('deployed');
          costs.push(await costOf(server, async () => {
            const { candidates, reference } = await server.request('quantscope/preview', { candidates: [{ uri }], asDeployed, session: round });
            assert.deepEqual([candidates.length, reference.cached], [asDeployed ? 2 : 1, name !== 'first']);
          }));
        }
      } finally {
        await server.end();
      }
    }
    for (const [name, costs] of Object.entries(runs)) {
      const at = (key: keyof Cost, share: number): string => quantile(costs.map((cost) => cost[key]), share).toFixed(2);
      row({ what: `preview of the example, ${name}`, measured: `median ${at('wall', 0.5)} s (${at('wall', 0)} to ${at('wall', 1)}), processor time ${at('processor', 0.5)} s` });
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

void main();
