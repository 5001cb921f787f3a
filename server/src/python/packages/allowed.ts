/** Which versions of Python packages a project allows, as intervals, and what is certain of all of them. Versions are compared as PEP 440 says. */
import { compare, explain } from '@renovatebot/pep440';
import { parse } from '@renovatebot/pep440/lib/specifier';

/** @param place where it stands, as a message says it: `torchao==0.12.0 (../requirements.txt, line 3)` */
export interface Bound { version: string; inclusive: boolean; place: string }

/** Without `from` every older version is allowed, without `to` every newer one. */
export interface Allowed { from?: Bound | undefined; to?: Bound | undefined }

/** By normalised name. A package that is not there is not spoken of. */
export type Packages = ReadonlyMap<string, Allowed>;

/** Versions from `from` on and before `before`. */
export interface Versions { from?: string; before?: string }

/** As PEP 503 compares names. */
export function normalized(name: string): string {
  return name.toLowerCase().replace(/[-_.]+/g, '-');
}

/** @param specifiers as pip takes them: `>=0.9,<0.15`. What cannot be read allows everything. */
export function allowedBy(specifiers: string, place: string): Allowed {
  const bound = (version: string, inclusive: boolean): Bound => ({ version, inclusive, place });
  return (parse(specifiers) ?? []).map(({ operator, version, prefix }): Allowed => {
    switch (version === undefined ? undefined : operator) { // what === takes may be no version
      case '==': case '===': return prefix ? { from: bound(version, true), to: bound(successor(version, 0), false) } : { from: bound(version, true), to: bound(version, true) };
      case '~=': return { from: bound(version, true), to: bound(successor(version, 1), false) };
      case '>=': return { from: bound(version, true) };
      case '>': return { from: bound(version, false) };
      case '<=': return { to: bound(version, true) };
      case '<': return { to: bound(version, false) };
      default: return {}; // != takes one version out, which no trap depends on
    }
  }).reduce(both, {});
}

/** What two files that hold together allow; nothing is known where they contradict each other. */
export function both(a: Allowed, b: Allowed): Allowed {
  const [from, to] = [tighter(a.from, b.from, 1), tighter(a.to, b.to, -1)];
  const order = from && to ? compare(from.version, to.version) : -1;
  return order < 0 || (order === 0 && from?.inclusive && to?.inclusive) ? { from, to } : {};
}

/** What one of two files allows. */
export function either(a: Allowed, b: Allowed): Allowed {
  return { from: a.from && b.from && (tighter(a.from, b.from, 1) === a.from ? b.from : a.from), to: a.to && b.to && (tighter(a.to, b.to, -1) === a.to ? b.to : a.to) };
}

/** Where it is said, when every version that is allowed lies within; otherwise, and where nothing is known, undefined. */
export function certain(packages: Packages, name: string, { from, before }: Versions): string | undefined {
  const allowed = packages.get(name);
  const [low, high] = [allowed?.from, allowed?.to];
  const above = from === undefined || (low !== undefined && compare(low.version, from) >= 0);
  const below = before === undefined || (high !== undefined && (compare(high.version, before) < 0 || (!high.inclusive && compare(high.version, before) === 0)));
  const places = [from === undefined ? undefined : low?.place, before === undefined ? undefined : high?.place].filter((place) => place !== undefined);
  return above && below ? [...new Set(places)].join(' and ') : undefined;
}

/** @param side 1 for lower bounds, -1 for upper ones */
function tighter(a: Bound | undefined, b: Bound | undefined, side: 1 | -1): Bound | undefined {
  if (!a || !b) {
    return a ?? b;
  }
  const order = compare(a.version, b.version) * side;
  return order > 0 || (order === 0 && !a.inclusive) ? a : b;
}

/** The first version behind all that begin with the numbers of this one. @param dropped numbers at its end that are free */
function successor(version: string, dropped: number): string {
  const { epoch = 0, release = [] } = explain(version) ?? {};
  const kept = release.slice(0, Math.max(1, release.length - dropped));
  return `${epoch}!${kept.map((number, i) => (i === kept.length - 1 ? number + 1 : number)).join('.')}`;
}
