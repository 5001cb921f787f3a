import { dirotq } from './dirotq';
import { duquant } from './duquant';
import { gptq } from './gptq';
import { lrqdit } from './lrqdit';
import type { Method } from './method';
import { orbitquant } from './orbitquant';
import { ptq4dit } from './ptq4dit';
import { qdit } from './qdit';
import { quarot } from './quarot';
import { rtn } from './rtn';
import { smoothquant } from './smoothquant';
import { svdquant } from './svdquant';
import { viditq } from './viditq';

/** In the order they are offered: without data first, then by what they need. */
export const methods: ReadonlyMap<string, Method> = new Map(
  [orbitquant, rtn, qdit, smoothquant, viditq, gptq, quarot, duquant, svdquant, dirotq, lrqdit, ptq4dit].map((method) => [method.name, method]),
);
