/**
 * Does the recommended plan look better than what people do without an allocator? All plans of a size on the trained example, judged by forced previews of all classes from seeds that nothing was chosen by.
 * Run: npm run bench:allocation [-- --write] [--cache folder]   (--write replaces the tables in docs/results.md; with --cache a stopped run goes on)
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { URI } from 'vscode-uri';
import { allocatable, allocate, layersToMeasure, randomChoices, solve } from '../server/src/analysis/allocate/allocation';
import type { Allocatable } from '../server/src/analysis/allocate/allocation';
import { planOf, pointOf } from '../server/src/analysis/allocate/choices';
import type { Choices } from '../server/src/analysis/allocate/choices';
import { outputLosses, propagatedLosses, weightLosses } from '../server/src/analysis/allocate/losses';
import type { Losses } from '../server/src/analysis/allocate/losses';
import { runPlans } from '../server/src/analysis/allocate/measure';
import type { Sample } from '../server/src/analysis/allocate/measure';
import { readOptions } from '../server/src/analysis/allocate/options';
import { average, verify } from '../server/src/analysis/allocate/verify';
import { ReportCache } from '../server/src/analysis/cache';
import { CheckpointStore } from '../server/src/checkpoint';
import { loadConfig } from '../server/src/config/load';
import type { LoadedConfig } from '../server/src/config/load';
import { EngineClient } from '../server/src/engine/client';
import type { SampleMean } from '../server/src/protocol';
import { requestFor } from '../server/src/quantize/recipes';

const root = resolve(__dirname, '..');
const examples = join(root, 'examples');
/** Losses are measured with the config's seed 0, finalists run with the two after it, calibration begins at 1000. */
const judging = Array.from({ length: 8 }, (_, i) => 100 + i);
const verifying = { finalists: 10, seeds: 2 };
const randomSeeds = [0, 1, 2, 3, 4];
const usual = ['W2A4', 'W3A4', 'W4A4', 'W8A8', 'keep'];
/** With activations at 4 bits everywhere, plans differ in their bytes alone. */
const sameActivations = ['W2A4', 'W3A4', 'W4A4', 'W6A4', 'W8A4'];

interface Row { name: string; bytes: number; bits: number; overSeeds: SampleMean; behind: SampleMean | null; wins: number; samples: number }
interface Section { title: string; rows: Row[] }
/** Several plans count as one by the mean of their samples. */
interface Contender { name: string; plans: Choices[] }

class Comparison {
  private constructor(private readonly engine: EngineClient, private readonly folder: string, private readonly loaded: LoadedConfig & { plan: NonNullable<LoadedConfig['plan']> }, private readonly possible: Allocatable,
    private readonly losses: { sensitivity: Losses; outputs: Losses; weights: Losses }) {}

  static async of(options: readonly string[], engine: EngineClient, folder: string): Promise<Comparison> {
    const text = readFileSync(join(examples, 'glyph-dit.quant.yaml'), 'utf8').replace(/^preview:.*$/m, 'preview: { classes: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], steps: 20, guidance: 2, seed: 0, mode: forced, compareSteps: 5 }');
    const path = join(examples, 'bench.quant.yaml');
    const { plan, checkpoint, ...rest } = await loadConfig(TextDocument.create(URI.file(path).toString(), 'quantconfig', 1, text), path, new CheckpointStore());
    if (!plan || !checkpoint) {
      throw new Error(rest.problems.map(({ message }) => message).join('; '));
    }
    const loaded = { ...rest, plan, checkpoint };
    const { config } = loaded.parsed;
    const possible = allocatable(plan, config, checkpoint, readOptions(options, config.defaults), undefined);
    const request = { plan, options: layersToMeasure(possible) };
    const preparation = requestFor(loaded, examples, { folder });
    return new Comparison(engine, folder, loaded, possible, {
      sensitivity: await propagatedLosses(request, { loaded, base: examples, cacheFolder: folder }, engine),
      outputs: await outputLosses(request, preparation, engine), weights: await weightLosses(request, preparation, engine, new ReportCache(join(folder, 'reports'))),
    });
  }

  /** Bytes of the checkpoint with one option for all layers that are chosen for. */
  uniform(option: string): number {
    return pointOf(this.possible, this.losses.sensitivity, new Map(this.possible.groups.flatMap(({ layers }) => layers.map(({ name }) => [name, option] as const)))).bytes;
  }

  async section(title: string, budget: number): Promise<Section> {
    const { possible, losses, loaded, engine, folder } = this;
    const subject = { loaded, base: examples, folder };
    const allocation = allocate(possible, losses.sensitivity, budget);
    const verified = await verify({ ...subject, possible, losses: losses.sensitivity, allocation, others: [losses.outputs, losses.weights], ...verifying }, engine);
    const contenders: Contender[] = [
      { name: 'recommended', plans: [chosen(verified)] },
      { name: 'least sensitivity loss', plans: [chosen(allocation)] },
      ...(['outputs', 'weights'] as const).map((kind) => ({ name: `least loss of ${kind}`, plans: [solve(possible, losses[kind], budget) ?? new Map<string, string>()] })),
      ...allocation.baselines.filter(({ name }) => name !== 'random').map(({ name, layers }) => ({ name, plans: [new Map(Object.entries(layers))] })),
      { name: `random, mean of ${randomSeeds.length}`, plans: randomSeeds.flatMap((seed) => randomChoices(possible, losses.sensitivity, budget, seed) ?? []) },
    ];
    const distinct = new Map(contenders.flatMap(({ plans }) => plans.map((plan) => [keyOf(plan), plan] as const)));
    const { samples } = await runPlans({ ...subject, plans: [...distinct.values()].map((plan, i) => ({ name: String(i), plan: planOf(possible, plan) })), seeds: judging }, engine);
    const measured = new Map([...distinct.keys()].map((key, i) => [key, samples[i] ?? []]));
    const rows = contenders.map(({ name, plans }) => rowOf(name, plans.map((plan) => pointOf(possible, losses.sensitivity, plan).bytes), plans.map((plan) => measured.get(keyOf(plan)) ?? []), measured.get(keyOf(chosen(verified))) ?? [], this.bits));
    rows.forEach((row) => console.log(line(row)));
    return { title: `${title}: at most ${budget} bytes, ${this.bits(budget).toFixed(2)} bits. Recommended: "${verified.recommended ?? ''}"`, rows };
  }

  /** Per weight of the layers that are chosen for. */
  private readonly bits = (bytes: number): number => {
    const { groups, plan } = this.possible;
    const free = groups.flatMap(({ layers }) => layers);
    const rest = plan.totals.checkpointBytes - free.reduce((sum, { packedBytes }) => sum + packedBytes, 0);
    return (8 * (bytes - rest)) / free.reduce((sum, { params }) => sum + params, 0);
  };
}

function chosen({ plan }: { plan: { layers: readonly { name: string; option: string }[] } }): Choices {
  return new Map(plan.layers.map(({ name, option }) => [name, option]));
}

function keyOf(plan: Choices): string { return JSON.stringify([...plan].sort()); }

function rowOf(name: string, bytes: readonly number[], runs: readonly (readonly Sample[])[], best: readonly Sample[], bits: (bytes: number) => number): Row {
  const db = best.map((_, i) => runs.reduce((sum, samples) => sum + decibels(samples[i]), 0) / runs.length);
  const mean = bytes.reduce((sum, each) => sum + each, 0) / bytes.length;
  const gains = db.map((value, i) => decibels(best[i]) - value);
  const bySeed = judging.map((seed) => average(db.filter((_, i) => best[i]?.seed === seed))?.mean ?? NaN);
  return { name, bytes: Math.round(mean), bits: bits(mean), overSeeds: average(bySeed) as SampleMean, behind: gains.every((gain) => gain === 0) ? null : average(gains), wins: gains.filter((gain) => gain > 0).length, samples: gains.length };
}

function decibels(sample: Sample | undefined): number {
  if (typeof sample?.latentPsnrDb !== 'number') {
    throw new Error('A plan is equal to full precision, or not finite: there is nothing to compare.');
  }
  return sample.latentPsnrDb;
}

function line({ name, bytes, bits, overSeeds, behind, wins, samples }: Row): string {
  return `| ${name} | ${bytes} | ${bits.toFixed(2)} | ${overSeeds.mean.toFixed(2)} ± ${overSeeds.spread.toFixed(2)} | ${behind ? `${behind.mean.toFixed(2)} ± ${behind.spread.toFixed(2)} | ${wins} of ${samples}` : 'same plan |'} |`;
}

function table(sections: readonly Section[]): string {
  return sections.map(({ title, rows }) => [`${title}.`, '', '| plan | bytes | bits | latent PSNR dB ↑ | dB behind recommended | recommended is better in |', '|---|---|---|---|---|---|', ...rows.map(line)].join('\n')).join('\n\n');
}

async function main(): Promise<void> {
  const at = process.argv.indexOf('--cache');
  const kept = at < 0 ? undefined : process.argv[at + 1];
  const folder = kept === undefined ? mkdtempSync(join(tmpdir(), 'quantscope-allocation-')) : resolve(kept);
  const engine = new EngineClient({ hostPath: join(root, 'dist/engine.js'), addonPath: join(root, 'native/build/quantscope.node'), threads: 0, log: () => undefined });
  try {
    const comparison = await Comparison.of(usual, engine, folder);
    const [three, four] = [comparison.uniform('W3A4'), comparison.uniform('W4A4')];
    const between = Math.floor((three + four) / 2);
    const sections = [await comparison.section('Size of W3A4 everywhere', three), await comparison.section('Halfway', between), await comparison.section('Size of W4A4 everywhere', four)];
    sections.push(await (await Comparison.of(sameActivations, engine, folder)).section('Halfway, activations at 4 bits in all plans', between));
    const text = table(sections);
    console.log(`\n${text}`);
    if (process.argv.includes('--write')) {
      const path = join(root, 'docs/results.md');
      writeFileSync(path, readFileSync(path, 'utf8').replace(/(<!-- allocation -->\n)[\s\S]*?(<!-- end of allocation -->)/, `$1${text}\n$2`));
    }
  } finally {
    await engine.dispose();
    if (kept === undefined) {
      rmSync(folder, { recursive: true, force: true });
    }
  }
}

void main();
