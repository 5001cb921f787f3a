import type { Method } from './method';
import { orbitquant } from './orbitquant';
import { rtn } from './rtn';

export const methods: ReadonlyMap<string, Method> = new Map([orbitquant, rtn].map((method) => [method.name, method]));
