/** What the model runs of a report will cost, before they start. */
import type { Engine } from '../../engine/client';
import { estimate as estimatePreview } from '../../preview/service';
import { comparedSteps } from '../../preview/preview';
import type { ReportEstimate } from '../../protocol';
import { openSubject } from '../sensitivity';
import { unitsOf } from '../sensitivity/units';
import { seedsFrom } from './comparison';
import { isOfSection, previewConfig, rankingRequest } from './gather';
import type { EvidenceRequest } from './gather';
import { knownRanking } from './ranking';

/** Runs no model and fits nothing. Seconds of pictures and sensitivities; measuring weights comes on top. A model that cannot run costs nothing, and its report says why. @throws EngineError */
export async function estimateReport(request: EvidenceRequest, engine: Engine): Promise<ReportEstimate> {
  try {
    const { seconds, rate } = await pictureCost(request, engine);
    const ranking = request.sensitivity === 'none' ? 0 : (await rankingFlops(request, engine)) / rate;
    return { seconds: seconds + ranking, sensitivitySeconds: ranking };
  } catch (error) {
    if (isOfSection(error)) {
      return { seconds: 0, sensitivitySeconds: 0 };
    }
    throw error;
  }
}

/** Statistics are gathered once, whatever the number of seeds. */
async function pictureCost({ preview: wanted, ...request }: EvidenceRequest, engine: Engine): Promise<{ seconds: number; rate: number }> {
  const { config: { preview, calibration } } = request.loaded.parsed;
  let [seconds, rate] = [0, 1];
  for (const [i, seed] of seedsFrom(preview?.value.seed ?? 0, wanted?.seeds ?? 1, calibration?.value ?? {}).entries()) {
    const each = await estimatePreview([previewConfig(request)], request.cacheFolder, engine, { seed, ...(wanted?.mode ? { mode: wanted.mode } : {}) });
    seconds += each.seconds - (i > 0 ? each.calibrationFlops / each.rate : 0);
    rate = each.rate;
  }
  return { seconds: wanted ? seconds : 0, rate };
}

/** A suffix is half a pass on average, and every block runs one more with nothing swapped. */
async function rankingFlops(request: EvidenceRequest, engine: Engine): Promise<number> {
  const asked = rankingRequest(request, request.cacheFolder);
  const { pipeline, layers } = await openSubject(asked, request.cacheFolder ?? '', engine);
  const count = (by: typeof asked.by): number => unitsOf(layers, by, {}).length;
  const pass = pipeline.flops(0);
  if (request.sensitivity === 'measure') {
    return pass * pipeline.items.length * comparedSteps(pipeline.settings).length * (count(asked.by) / 2 + count('block') / 2 + 1);
  }
  return await knownRanking(asked, engine) !== undefined ? 0 : pass * (count('block') + count('role') + 1);
}
