/** What a preview will cost, from its floating point operations and a rate measured on this machine. */
import type { Engine } from '../engine/client';
import type { Program } from '../engine/graph';
import type { Checkpoint, PreviewEstimate, PreviewSettings } from '../protocol';
import { openPipeline, programFlops } from './pipeline';
import { comparedSteps } from './preview';
import { cachedTrajectory, trajectoryKey } from './trajectory';

export async function estimatePreview(checkpoint: Checkpoint, settings: PreviewSettings, candidates: number, folder: string | null, engine: Engine): Promise<PreviewEstimate> {
  const pipeline = await openPipeline(checkpoint, settings);
  const cached = await Promise.all(pipeline.items.map((_, item) => cachedTrajectory(folder, trajectoryKey(checkpoint, settings, item, engine), settings.steps)));
  const missing = cached.filter((trajectory) => !trajectory).length;
  const compared = settings.mode === 'free' ? settings.steps : comparedSteps(settings).length;
  const flops = pipeline.flops * (missing * settings.steps + candidates * pipeline.items.length * compared);
  const rate = await measuredRate(engine);
  const seconds = flops / rate;
  return { seconds, flops, rate, referenceCached: missing === 0, suggestion: seconds > 20 ? cheaper(settings) : null };
}

function cheaper({ mode, guidance, classes, steps }: PreviewSettings): string {
  const ideas = [
    ...(mode === 'free' ? ['mode: forced compares at a few steps of one stored run'] : []),
    ...(guidance > 1 ? ['guidance: 1 halves the work'] : []),
    ...(classes.length > 1 ? ['fewer classes'] : []),
    ...(steps > 10 ? [`steps: 10 instead of ${steps}`] : []),
  ];
  return ideas.length > 0 ? `Cheaper: ${ideas.join('; ')}.` : 'Nothing in the settings makes this cheaper.';
}

const rates = new WeakMap<Engine, Promise<number>>();

/** Operations per second of a GEMM-bound program that needs no weights; measured once per engine. */
function measuredRate(engine: Engine): Promise<number> {
  let rate = rates.get(engine);
  if (!rate) {
    rate = measure(engine);
    rates.set(engine, rate);
    rate.catch(() => rates.delete(engine));
  }
  return rate;
}

async function measure(engine: Engine): Promise<number> {
  const [tokens, width] = [512, 1024];
  const program: Program = { buffers: Array.from({ length: 4 }, () => [tokens, width]), inputs: { q: 0, k: 1, v: 2 }, outputs: { out: 3 }, ops: [{ op: 'attention', q: 0, k: 1, v: 2, heads: 8, bias: null, out: 3 }] };
  const values = Float32Array.from({ length: tokens * width }, (_, i) => Math.sin(i));
  const graph = await engine.openGraph('rate', program);
  const request = { inputs: { q: values, k: values, v: values }, recipes: {}, capture: null };
  await graph.run(request); // warm: threads, pages
  const started = performance.now();
  await graph.run(request);
  return (programFlops(program) / Math.max(1e-3, performance.now() - started)) * 1000;
}
