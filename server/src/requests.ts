/** The custom requests of protocol.ts, one file per feature in requests/. What they share is the server, seen through `RequestContext`. */
import { registerAnalysis } from './requests/analysis';
import { registerCheckpoints } from './requests/checkpoints';
import { registerDiagnosis } from './requests/diagnosis';
import { registerExplain } from './requests/explain';
import type { RequestContext } from './requests/context';
import { registerConversion } from './requests/conversion';
import { registerPreviews } from './requests/previews';
import { registerReport } from './requests/report';

export function registerRequests(context: RequestContext): void {
  [registerAnalysis, registerCheckpoints, registerPreviews, registerDiagnosis, registerReport, registerConversion, registerExplain].forEach((register) => register(context));
}
