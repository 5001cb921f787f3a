/**
 * 500 random edits on long files: a config of ours with a rule for every linear layer of FLUX.1-dev (2,000 lines), ModelOpt's hf_quant_config.json with an entry for each, and a Python script with a list of layers. Times from a keystroke to its diagnostics and
 * to its completion, on the path the server takes: the edit, text to tree, plan or entries, answer. Every other edit takes the one before back, as undo does, so that files are broken and whole in turn.
 * Keystrokes come one after another, but the clock by which the server looks at the checkpoint's files again goes on as if a person typed them.
 * Times are given as time on the clock and as time of processors, which other work on the machine touches less.
 * Run: node --import=tsx bench/edits.bench.ts
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { URI } from 'vscode-uri';
import { CheckpointStore } from '../server/src/checkpoint';
import type { PieceMemory } from '../server/src/config/pieces';
import type { Dialect } from '../server/src/config/dialects/dialect';
import { complete } from '../server/src/language/completion';
import { diagnostics } from '../server/src/language/diagnostics';
import { completeDialect } from '../server/src/language/dialects/completion';
import { buildDialectModels, modelAt } from '../server/src/language/dialects/model';
import { buildModel } from '../server/src/language/model';
import type { LayerReport, Range } from '../server/src/protocol';
import { longConfig, longLayerMap, longScript, randomEdit } from '../test/fixtures/edits';
import { random } from '../test/fixtures/random';
import { writeSparseFlux } from '../test/fixtures/sparse';
import { quantile, row } from './row';

const edits = 500;
/** Other edits before. */
const warmUp = 100;
const seed = 1;
/** Milliseconds between keystrokes, by which the server remembers what it saw of the files. */
const pace = 120;
let typed = 0;
const targets = { diagnostics: 16, completion: 30 };

/** Milliseconds. */
interface Spent { clock: number; processor: number }
/** One keystroke. */
type Step = (document: TextDocument, offset: number) => Promise<{ diagnostics: Spent; completion: Spent; found: number }>;

function now(): Spent {
  const { user, system } = process.cpuUsage();
  return { clock: performance.now(), processor: (user + system) / 1000 };
}

function between(from: Spent, to: Spent): Spent {
  return { clock: to.clock - from.clock, processor: to.processor - from.processor };
}

/** @param built when the model was there, from which both answers come. */
function answered(started: Spent, built: Spent, diagnose: () => number, offer: () => unknown): Awaited<ReturnType<Step>> {
  const found = diagnose();
  const told = now();
  offer();
  const [building, offering] = [between(started, built), between(told, now())];
  return { diagnostics: between(started, told), completion: { clock: building.clock + offering.clock, processor: building.processor + offering.processor }, found };
}

async function measure(name: string, uri: string, languageId: string, text: string, step: Step): Promise<boolean> {
  let document = TextDocument.create(uri, languageId, 0, text);
  const type = async (from: number, count: number): Promise<Awaited<ReturnType<Step>>[]> => {
    const next = random(from);
    const measured: Awaited<ReturnType<Step>>[] = [];
    let undo: { range: Range; text: string } | undefined;
    for (let i = 1; i <= count; i++) {
      const change = undo ?? randomEdit(document, next);
      const removed = document.getText(change.range);
      const { start } = change.range;
      const at = document.offsetAt(start);
      document = TextDocument.update(document, [change], document.version + 1);
      typed++;
      undo = undo ? undefined : { range: { start, end: document.positionAt(at + change.text.length) }, text: removed };
      measured.push(await step(document, at + change.text.length));
    }
    return measured;
  };
  await type(seed + 1, warmUp); // opens the checkpoint, compiles the schema and the code
  const measured = await type(seed, edits);
  if (document.getText() !== text) {
    throw new Error('the text is not what it was before its edits were undone');
  }
  process.stdout.write(`${name}: ${text.split('\n').length} lines, ${edits} edits, ${(measured.reduce((sum, { found }) => sum + found, 0) / edits).toFixed(1)} findings each on average\n`);
  return (['diagnostics', 'completion'] as const).map((what) => {
    const [clock, processor] = (['clock', 'processor'] as const).map((kind) => measured.map((each) => each[what][kind]));
    const told = (values: readonly number[] = []): string => `p50 ${quantile(values, 0.5).toFixed(1)} ms, p95 ${quantile(values, 0.95).toFixed(1)} ms`;
    const met = quantile(clock ?? [], 0.95) < targets[what];
    row({ what: `keystroke to ${what}, ${name}, ${text.split('\n').length} lines`, measured: `${told(clock)} (processor time ${told(processor)})`, target: `p95 < ${targets[what]} ms`, met });
    return met;
  }).every(Boolean);
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'quantscope-bench-'));
  try {
    await writeSparseFlux(folder);
    const store = new CheckpointStore(8, () => typed * pace);
    const reports = new Map<string, LayerReport>();
    const memory: PieceMemory = { kept: [] };
    const ours: Step = async (document, offset) => {
      const started = now();
      const model = await buildModel(document, store, reports, undefined, memory);
      return answered(started, now(), () => diagnostics(model, undefined).length, () => complete(model, document.positionAt(offset), { snippets: true, listFolder: () => [] }));
    };
    let before: Dialect | undefined; // as the server remembers it
    const theirs: Step = async (document, offset) => {
      const started = now();
      const models = await buildDialectModels(document, store, () => Promise.resolve({ beside: join(folder, 'transformer'), files: [], packages: new Map() }), before);
      before = models[0]?.dialect ?? before;
      const model = modelAt(models, document.positionAt(offset));
      return answered(started, now(), () => models.flatMap((each) => diagnostics(each, undefined)).length, () => model && completeDialect(model, document.positionAt(offset), { snippets: true }));
    };
    const met = [await measure('a config of ours', URI.file(join(folder, 'flux.quant.yaml')).toString(), 'quantconfig', longConfig('./transformer'), ours),
      await measure('hf_quant_config.json of ModelOpt', URI.file(join(folder, 'hf_quant_config.json')).toString(), 'json', longLayerMap(), theirs),
      await measure('a Python script', URI.file(join(folder, 'quantize.py')).toString(), 'python', longScript(), theirs)];
    process.exitCode = met.every(Boolean) ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

void main();
