/**
 * Time from a keystroke in a FLUX.1-dev config (504 layers) to its diagnostics, on the path the server takes: text, syntax tree, plan, diagnostics.
 * The checkpoint is a sparse folder with the real headers, and is looked at on the disk with every keystroke, as in the server.
 * Run: node --import=tsx bench/keystroke.bench.ts
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { URI } from 'vscode-uri';
import { CheckpointStore } from '../server/src/checkpoint';
import { diagnostics } from '../server/src/language/diagnostics';
import { inlayHints } from '../server/src/language/inlayHints';
import { buildModel } from '../server/src/language/model';
import type { LayerReport } from '../server/src/protocol';
import { writeSparseFlux } from '../test/fixtures/sparse';
import { quantile, row } from './row';

const TARGET_MS = 16;
const keystrokes = 400;

const text = `version: 1
checkpoint: ./transformer
defaults: { method: orbitquant, scheme: W4A4 }
rules:
  - name: modulation
    layers: ["**.norm*.linear"]
    scheme: W4A16
    method: { name: rtn, weights: { group: 64 } }
  - name: embedders
    layers: [x_embedder, context_embedder, "time_text_embed.**", "norm_out.**", proj_out]
    keep: bf16
  - name: feed-forward
    layers: ["transformer_blocks.*.ff.net.2", "single_transformer_blocks.*.proj_out", "!single_transformer_blocks.0.*"]
    scheme: W8A8
budget: { size: 6.9GB }
`;

/** Typed letter by letter, then deleted: every step is a config of its own, most of them half-typed. */
function edits(): string[] {
  const typed = (before: string, word: string): string[] => Array.from(word, (_, i) => before + word.slice(0, i + 1));
  const patterns = typed('["', '**.single*.attn.to_q').map((start) => text.replace('["**.norm*.linear"', `${start}", "**.norm*.linear"`));
  const names = typed('', 'transformer_blocks.12.attn.to_add_out').map((name) => text.replace('x_embedder, ', `${name}, x_embedder, `));
  const schemes = ['W', 'W3', 'W3A', 'W3A8', 'W2A4', 'W8A4', ''].map((scheme) => text.replace('scheme: W8A8', `scheme: ${scheme}`));
  return [...patterns, ...schemes, ...names, ...patterns.toReversed(), ...schemes, ...names.toReversed()];
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'quantscope-bench-'));
  try {
    await writeSparseFlux(folder);
    const uri = URI.file(join(folder, 'flux.quant.yaml')).toString();
    const store = new CheckpointStore();
    const reports = new Map<string, LayerReport>();
    const steps = edits();
    const everything = { start: { line: 0, character: 0 }, end: { line: 100, character: 0 } };
    const measured: { all: number; hints: number }[] = [];
    let found = 0;
    for (let version = 0; version < keystrokes; version++) {
      const document = TextDocument.create(uri, 'quantconfig', version, steps[version % steps.length] ?? text);
      const started = performance.now();
      const model = await buildModel(document, store, reports);
      found += diagnostics(model, undefined).length;
      const answered = performance.now();
      inlayHints(model, everything);
      measured.push({ all: answered - started, hints: performance.now() - answered });
      if (model.plan?.layers.length !== 504 && model.checkpoint) {
        throw new Error('the plan does not cover FLUX.1-dev');
      }
    }
    const [first, ...later] = measured;
    process.stdout.write(`first (opens the checkpoint, compiles the schema)   ${first?.all.toFixed(1).padStart(6) ?? ''} ms\n`);
    const all = later.map((each) => each.all);
    const p95 = print('keystroke to diagnostics', all);
    print('then inlay hints', later.map((each) => each.hints));
    process.stdout.write(`${steps.length} different texts, ${(found / keystrokes).toFixed(1)} diagnostics each on average\n`);
    row({ what: 'keystroke to diagnostics, FLUX.1-dev config, 504 linears', measured: `p50 ${quantile(all, 0.5).toFixed(1)} ms, p95 ${p95.toFixed(1)} ms`, target: `p95 < ${TARGET_MS} ms`, met: p95 < TARGET_MS });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function print(name: string, values: number[]): number {
  const at = (share: number): string => quantile(values, share).toFixed(2).padStart(6);
  process.stdout.write(`${name.padEnd(26)} p50 ${at(0.5)} ms   p95 ${at(0.95)} ms   max ${at(1)} ms   n ${values.length}\n`);
  return quantile(values, 0.95);
}

void main();
