/** Few patterns a person can read for a set of layers. */
import { compileGlob } from '../../../config/glob';

/** Patterns and what they match, for one list of names. */
export class PatternIndex {
  private readonly matches = new Map<string, readonly number[]>();

  constructor(private readonly names: readonly string[]) {
    for (const pattern of new Set(names.flatMap(candidates))) {
      const glob = compileGlob(pattern);
      this.matches.set(pattern, [...names.keys()].filter((index) => glob.test(names[index] ?? '')));
    }
  }

  /**
   * Patterns that together take all of `wanted` and nothing but `wanted` and `allowed`: greedily the one that takes the most that is still missing,
   * of equal ones the more exact. Every name is a pattern of its own, so there always are some.
   */
  cover(wanted: ReadonlySet<string>, allowed: ReadonlySet<string>): string[] {
    const usable = [...this.matches].filter(([, indices]) => indices.every((index) => wanted.has(this.names[index] ?? '') || allowed.has(this.names[index] ?? '')))
      .map(([pattern, indices]) => ({ pattern, takes: indices.map((index) => this.names[index] ?? '').filter((name) => wanted.has(name)) })).sort((a, b) => exactness(b.pattern) - exactness(a.pattern) || (a.pattern < b.pattern ? -1 : 1));
    const missing = new Set(wanted);
    const chosen: typeof usable = [];
    while (missing.size > 0) {
      const gain = ({ takes }: (typeof usable)[number]): number => takes.reduce((sum, name) => sum + (missing.has(name) ? 1 : 0), 0);
      let [most, found] = [0, usable[0]];
      for (const each of usable) {
        const more = each.takes.length > most ? gain(each) : 0;
        [most, found] = more > most ? [more, each] : [most, found];
      }
      if (!found || most === 0) {
        break;
      }
      chosen.push(found);
      found.takes.forEach((name) => missing.delete(name));
    }
    // What later patterns have made needless.
    const needed = chosen.filter(({ takes }, i) => !takes.every((name) => chosen.some((other, j) => j > i && other.takes.includes(name))));
    return needed.map(({ pattern }) => pattern);
  }
}

function exactness(pattern: string): number {
  return pattern.replaceAll('*', '').length - (pattern.match(/\*\*/g) ?? []).length;
}

/** From general to exact: everything, everything under a path, one layer of every block, similar names in one place, the name itself. */
function candidates(name: string): string[] {
  const segments = name.split('.');
  const block = segments.findIndex((segment) => /^\d+$/.test(segment));
  const anyBlock = segments.map((segment, index) => (index === block ? '*' : segment));
  const forms = block < 0 ? [segments] : [segments, anyBlock];
  return ['**', ...forms.flatMap((form) => [
    form.join('.'),
    ...form.slice(0, -1).flatMap((segment, index) => (segment === '*' ? [] : [`${form.slice(0, index + 1).join('.')}.**`])),
    ...form.slice(1).map((_, index) => `**.${form.slice(index + 1).join('.')}`),
    ...similar(form.at(-1) ?? '').map((last) => [...form.slice(0, -1), last].join('.')),
  ])];
}

/** `to_q` → `to_*`, `*_q`; `add_k_proj` → `add_*_proj` and so on. */
function similar(segment: string): string[] {
  const words = segment.split('_');
  return words.length > 1 ? words.map((_, index) => words.map((word, i) => (i === index ? '*' : word)).join('_')) : [];
}
