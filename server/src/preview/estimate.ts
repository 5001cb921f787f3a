/** What a preview will cost, from its floating point operations and a rate measured on this machine. */
import type { Engine } from '../engine/client';
import type { Program } from '../engine/graph';
import { forwardDevice } from '../models/forward';
import type { PreviewEstimate } from '../protocol';
import { programFlops } from './flops';
import type { Pipeline } from './pipelines';
import { comparedSteps } from './preview';
import { cachedTrajectory, trajectoryKey } from './trajectory';

/**
 * @param candidates how many plans are compared with one reference
 * @param calibration floating point operations of the runs that statistics are still to be gathered from
 */
export async function estimatePreview(pipeline: Pipeline, candidates: number, folder: string | null, engine: Engine, calibration = 0): Promise<PreviewEstimate> {
  const { settings } = pipeline;
  const compared = comparedSteps(settings).length;
  const device = await forwardDevice(engine);
  let model = 0;
  let referenceCached = true;
  for (const item of pipeline.items.keys()) {
    const cached = await cachedTrajectory(folder, trajectoryKey(pipeline, item, engine, device), settings.steps);
    referenceCached &&= cached !== undefined;
    model += pipeline.flops(item) * ((cached ? 0 : settings.steps) + candidates * (settings.mode === 'free' ? settings.steps : compared));
  }
  // Every compared step is decoded for both sides; free runs decode the finished samples as well.
  const decode = pipeline.decodeFlops() * pipeline.items.length * (1 + candidates) * (compared + (settings.mode === 'free' ? 1 : 0));
  const flops = model + decode + calibration;
  const rate = await measuredRate(engine);
  const seconds = flops / rate;
  const once = calibration > 0 ? [`About ${Math.max(1, Math.round((100 * calibration) / flops))} % of it is calibration, done once and kept.`] : [];
  const suggestion = [...once, ...(seconds > 20 ? [cheaper(pipeline, decode / flops)] : [])].join(' ');
  return { seconds, flops, rate, referenceCached, calibrationFlops: calibration, suggestion: suggestion === '' ? null : suggestion };
}

/** @param decoding share of the decoder */
function cheaper({ settings: { mode, classes, prompts, steps, width, height, frames, decoder }, calls, halfSize }: Pipeline, decoding: number): string {
  const ideas = [
    ...(mode === 'free' ? ['mode: forced compares at a few steps of one stored run'] : []),
    ...(decoder === 'vae' && decoding > 0.2 ? [`a tiny decoder saves most of the ${Math.round(100 * decoding)} % spent on decoding`] : []),
    ...(calls > 1 ? ['running without guidance halves the work'] : []),
    ...(classes.length > 1 ? ['fewer classes'] : []),
    ...(prompts.length > 1 ? ['fewer prompts'] : []),
    ...(frames > 1 ? [`frames: 1 instead of ${frames}`] : []),
    ...(halfSize === null ? [] : [`width: ${halfSize.width} and height: ${halfSize.height} instead of ${width} × ${height}`]),
    ...(steps > 10 ? [`steps: 10 instead of ${steps}`] : []),
  ];
  return ideas.length > 0 ? `Cheaper: ${ideas.join('; ')}.` : 'Nothing in the settings makes this cheaper.';
}

const rates = new WeakMap<Engine, Promise<number>>();

/** Operations per second of a GEMM-bound program that needs no weights, where previews run; measured once per engine. */
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
  const request = { inputs: { q: values, k: values, v: values }, recipes: {}, capture: null, device: 'bfloat16' as const };
  await graph.run(request); // warm: threads, pages
  const started = performance.now();
  await graph.run(request);
  return (programFlops(program) / Math.max(1e-3, performance.now() - started)) * 1000;
}
