/**
 * All methods on the trained example, attention and feed-forward layers quantized, the rest kept: error of the weights and of the layers' outputs, the picture (forced preview, all classes), true bits, time.
 * Run: npm run bench:methods [-- --write]   (--write replaces the table in docs/results.md)
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { URI } from 'vscode-uri';
import { gatherStatistics } from '../server/src/calibration/statistics';
import type { LayerStatistics } from '../server/src/calibration/statistics';
import { CheckpointStore } from '../server/src/checkpoint';
import { readValues } from '../server/src/checkpoint/values';
import { loadConfig } from '../server/src/config/load';
import type { LoadedConfig } from '../server/src/config/load';
import { patternsFor } from '../server/src/config/template';
import { EngineClient } from '../server/src/engine/client';
import { methods } from '../server/src/methods';
import { openPipeline } from '../server/src/preview/pipelines';
import { preview } from '../server/src/preview/service';
import type { Plan } from '../server/src/protocol';
import { sharedBytes } from '../server/src/config/packedSize';
import { LayerProbe } from '../server/src/quantize/evaluate';
import { refOf } from '../server/src/quantize/files';
import { calibrationDefaults, prepareRecipes, requestFor } from '../server/src/quantize/recipes';

const root = resolve(__dirname, '..');
const examples = join(root, 'examples');
const schemes = ['W8A8', 'W4A8', 'W4A4', 'W3A3', 'W2A4'];
const classes = Array.from({ length: 10 }, (_, label) => label);
/** AdaRound as in the paper takes hours; so many iterations are a first look, and the table says so. */
const adaRoundIterations = 300;

/** What stands behind a name where it is not the preset alone: a look at AdaRound, and OrbitQuant with the solver of the calibrated methods beside it. */
const variants = new Map([
  ['ptq4dit', `{ name: ptq4dit, solver: { kind: adaround, iterations: ${adaRoundIterations} } }`],
  ['orbitquant + gptq', '{ name: orbitquant, solver: { kind: gptq } }'],
]);

/** What papers do to the layer behind GELU: PTQ4DiT does not balance it, SVDQuant shifts its inputs. */
const behindGelu = new Map([
  ['ptq4dit', `{ name: ptq4dit, smooth: false, solver: { kind: adaround, iterations: ${adaRoundIterations} } }`],
  ['svdquant', '{ name: svdquant, activations: { shift: 0.171875 } }'],
]);

interface Row { method: string; scheme: string; bits: number; weight: number; output: number; latentDb: number | null; pictureDb: number | null; seconds: number }

async function main(): Promise<void> {
  const work = mkdtempSync(join(tmpdir(), 'quantscope-methods-'));
  const engine = new EngineClient({ hostPath: join(root, 'dist/engine.js'), addonPath: join(root, 'native/build/quantscope.node'), threads: 0, log: () => undefined });
  try {
    const samples = await inputSamples(engine, work);
    const rows: Row[] = [];
    for (const method of [...methods.keys(), ...[...variants.keys()].filter((name) => !methods.has(name))]) {
      for (const scheme of schemes) {
        const row = await measure(method, scheme, samples, engine, work);
        rows.push(row);
        console.log(line(row));
      }
    }
    const text = table(rows);
    console.log(`\n${text}`);
    if (process.argv.includes('--write')) {
      const path = join(root, 'docs/results.md');
      writeFileSync(path, readFileSync(path, 'utf8').replace(/(<!-- methods -->\n)[\s\S]*?(<!-- end -->)/, `$1${text}\n$2`));
    }
  } finally {
    await engine.dispose();
    rmSync(work, { recursive: true, force: true });
  }
}

async function measure(method: string, scheme: string, samples: ReadonlyMap<string, LayerStatistics>, engine: EngineClient, work: string): Promise<Row> {
  const loaded = await configFor(method, scheme);
  const plan = loaded.plan as Plan;
  const started = performance.now();
  const prepared = await prepareRecipes(requestFor(loaded, examples, { folder: work }), engine);
  const seconds = (performance.now() - started) / 1000;
  let [weight, output, params] = [0, 0, 0];
  for (const [name, { recipe }] of prepared) {
    const layer = plan.layers.find((each) => each.name === name);
    const sample = samples.get(name)?.sample;
    if (!layer || !sample) {
      continue;
    }
    const { relativeMse } = await engine.dequantizeLayer({ layer: name, weight: refOf(layer.tensor), recipe, out: join(work, 'weight.safetensors') });
    const rows = (await readValues({ ...sample, name, bytes: 4 * (sample.shape[0] ?? 0) * layer.inFeatures })).data;
    weight += layer.params * relativeMse;
    output += layer.params * await new LayerProbe(engine, layer, rows).outputError(recipe);
    params += layer.params;
  }
  const { candidates: [candidate] } = await preview([{ uri: URI.file(join(examples, 'bench.quant.yaml')).toString(), loaded }], { cacheFolder: work }, engine);
  const quantized = plan.layers.filter(({ name }) => prepared.has(name));
  const bits = (8 * (sharedBytes(quantized) + quantized.reduce((sum, layer) => sum + layer.packedBytes, 0))) / quantized.reduce((sum, layer) => sum + layer.params, 0);
  return { method, scheme, bits, weight: weight / params, output: output / params, latentDb: candidate?.metrics.latentPsnrDb ?? null, pictureDb: candidate?.metrics.psnrDb ?? null, seconds };
}

async function configFor(method: string, scheme: string): Promise<LoadedConfig> {
  const store = new CheckpointStore();
  const checkpoint = await store.get(join(examples, 'glyph-dit'));
  const options = variants.get(method) ?? method;
  const text = ['version: 1', 'checkpoint: ./glyph-dit', `defaults: { method: ${options}, scheme: ${scheme} }`, 'rules:',
    `  - layers: ${JSON.stringify(patternsFor(checkpoint, ['modulation', 'embedder', 'final']))}`, '    keep: original',
    ...(behindGelu.has(method) ? ['  - layers: ["**.ff.net.2"]', `    method: ${behindGelu.get(method) ?? ''}`] : []), ''].join('\n');
  const settings = `preview: { classes: [${classes.join(', ')}], steps: 20, guidance: 2, seed: 0, mode: forced, compareSteps: 5 }\n`;
  const path = join(examples, 'bench.quant.yaml');
  const loaded = await loadConfig(TextDocument.create(URI.file(path).toString(), 'quantconfig', 1, text + settings), path, store);
  const errors = loaded.problems.filter((problem) => problem.severity === 'error');
  if (!loaded.plan || errors.length > 0) {
    throw new Error(`${method} ${scheme}: ${errors.map((problem) => problem.message).join('; ')}`);
  }
  return loaded;
}

/** Rows of every layer's input, from the calibration runs. */
async function inputSamples(engine: EngineClient, work: string): Promise<ReadonlyMap<string, LayerStatistics>> {
  const { plan, checkpoint } = await configFor('rtn', 'W4A4');
  const settings = { ...calibrationDefaults, trajectories: 2, seed: 5000 };
  const pipelines = await Promise.all([1, 6].map((label, i) => openPipeline(checkpoint as NonNullable<typeof checkpoint>, { classes: [label], steps: settings.steps, guidance: 2, seed: settings.seed + i }, examples)));
  return gatherStatistics({ pipelines, settings, needs: new Map((plan as Plan).layers.map(({ name }) => [name, new Set(['activation-samples'] as const)])), folder: join(work, 'held-out'), job: {} }, engine);
}

function line({ method, scheme, bits, weight, output, latentDb, pictureDb, seconds }: Row): string {
  const db = (value: number | null): string => (value === null ? 'equal' : value.toFixed(1));
  return `| ${method} | ${scheme} | ${bits.toFixed(2)} | ${weight.toPrecision(3)} | ${output.toPrecision(3)} | ${db(latentDb)} | ${db(pictureDb)} | ${seconds.toFixed(1)} |`;
}

function table(rows: readonly Row[]): string {
  return [
    '| method | scheme | true bits | weight error ↓ | output error ↓ | latent PSNR dB ↑ | picture PSNR dB ↑ | seconds to solve |', '|---|---|---|---|---|---|---|---|',
    ...schemes.flatMap((scheme) => rows.filter((row) => row.scheme === scheme).sort((a, b) => (b.latentDb ?? Infinity) - (a.latentDb ?? Infinity)).map(line)),
  ].join('\n');
}

void main();
