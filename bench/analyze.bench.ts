/**
 * Weight diagnostics of FLUX.1-dev with random weights (11.9 G of them in 504 layers, 23.8 GB in BF16), as the editor asks the built language server for them.
 * Sampled: 64 rows of every layer. The file has its full size and its real header, and values in the sampled rows alone, which is all that is read.
 * Full: an engine that runs already, and one of the 19 double and two of the 38 single blocks in their real widths, beside everything outside of blocks; files are in the page cache. Layers are
 * measured one after the other, so time goes with weights, and the time for all of them is extrapolated. With the argument `whole` all blocks are written and
 * measured instead: 24 GB of disk, and reading them counts.
 * Run: node --import=tsx bench/analyze.bench.ts [whole]
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AnalyzeResult } from '../server/src/protocol';
import { writeFullSize, writeSampledRows } from '../test/fixtures/fullSize';
import { quantile, row } from './row';
import { costOf, startServer } from './server';
import type { Cost } from './server';

const MODEL = 'FLUX.1-dev';
const ROWS = 64;
const SAMPLED_TARGET = 2;
/** Weights a second of processor time. */
const RATE_TARGET = 0.5e9;
const config = 'version: 1\ncheckpoint: ./transformer\ndefaults: { method: orbitquant, scheme: W4A4 }\n';

const seconds = (value: number): string => `${value.toFixed(value < 10 ? 2 : 1)} s`;

/** Each round in a new server with an empty cache. @param started one row of each layer is measured first: else the start of the engine counts, as it does for a user's first question */
async function measure(folder: string, sampleRows: number | undefined, rounds: number, started: boolean): Promise<{ costs: Cost[]; weights: number }> {
  const costs: Cost[] = [];
  let weights = 0;
  for (let round = 0; round < rounds; round++) {
    const server = await startServer(join(folder, `cache-${round}`));
    try {
      const uri = await server.open(join(folder, 'a.quant.yaml'), config);
      if (started) {
        await server.request('quantscope/analyze', { uri, sampleRows: 1 });
      }
      let result: AnalyzeResult | undefined;
      costs.push(await costOf(server, async () => {
        result = await server.request('quantscope/analyze', { uri, ...(sampleRows === undefined ? {} : { sampleRows }) });
      }));
      assert.ok(result && result.layers.length === result.plan.layers.length && result.cached === 0, 'layers are missing, or were measured before');
      assert.ok(result.layers.every(({ zeroRows }) => zeroRows === 0), 'rows were read that hold no values');
      weights = result.plan.totals.params;
    } finally {
      await server.end();
      rmSync(join(folder, `cache-${round}`), { recursive: true, force: true });
    }
  }
  return { costs, weights };
}

async function main(): Promise<void> {
  const whole = process.argv[2] === 'whole';
  const folder = mkdtempSync(join(tmpdir(), 'quantscope-bench-'));
  const transformer = join(folder, 'transformer');
  try {
    writeSampledRows(transformer, MODEL, ROWS);
    const sampled = await measure(folder, ROWS, 5, false);
    const wall = quantile(sampled.costs.map((cost) => cost.wall), 0.5);
    row({
      what: `analyze ${MODEL}, random weights, ${ROWS} rows of each of its 504 layers, new server`, target: `< ${SAMPLED_TARGET} s`, met: wall < SAMPLED_TARGET,
      measured: `median ${seconds(wall)}, processor time ${seconds(quantile(sampled.costs.map((cost) => cost.processor), 0.5))}`,
    });
    rmSync(transformer, { recursive: true });

    writeFullSize(transformer, MODEL, whole ? {} : { num_layers: 1, num_single_layers: 2 });
    const full = await measure(folder, undefined, whole ? 1 : 3, true);
    const [measuredWall, processor] = [quantile(full.costs.map((cost) => cost.wall), 0.5), quantile(full.costs.map((cost) => cost.processor), 0.5)];
    const rate = full.weights / processor;
    const scale = sampled.weights / full.weights;
    row({
      what: `analyze ${MODEL}, random weights, every row${whole ? '' : `, ${(100 / scale).toFixed(1)} % of its weights`}`, target: '≥ 0.5 G weights/s per core', met: rate >= RATE_TARGET,
      measured: `${seconds(measuredWall)}, processor time ${seconds(processor)}: ${(rate / 1e9).toFixed(2)} G weights/s per core${whole ? '' : `; all ${(sampled.weights / 1e9).toFixed(1)} G extrapolated: ${seconds(measuredWall * scale)}, processor time ${seconds(processor * scale)}`}`,
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

void main();
