/** Few patterns a person can read for a set of layers, in our language or in that of another tool. */
import { compileGlob } from '../glob';

/** How a tool's patterns look and what they take. */
export interface PatternLanguage {
  /** Patterns that take the name, and what else is like it. Those that do not take it after all do no harm. */
  candidates(name: string): readonly string[];
  compile(pattern: string): (name: string) => boolean;
}

/** Our own: docs/config.md. */
export const globs: PatternLanguage = {
  candidates: globCandidates,
  compile(pattern) {
    const glob = compileGlob(pattern);
    return (name) => glob.test(name);
  },
};

/** Patterns and what they match, for one list of names. */
export class PatternIndex {
  private readonly matches = new Map<string, readonly number[]>();

  constructor(private readonly names: readonly string[], private readonly language = globs) {
    for (const pattern of new Set(names.flatMap((name) => language.candidates(name)))) {
      const takes = language.compile(pattern);
      this.matches.set(pattern, [...names.keys()].filter((index) => takes(names[index] ?? '')));
    }
  }

  /**
   * As `cover`, for languages in which a name need not be a pattern of its own: what no pattern takes alone is taken by the one that takes the fewest others besides.
   * @returns also what is taken that was neither wanted nor allowed, and what no pattern takes at all
   */
  coverNearest(wanted: ReadonlySet<string>, allowed: ReadonlySet<string>): { patterns: string[]; beyond: string[]; missing: string[] } {
    const patterns = this.cover(wanted, allowed);
    const [beyond, missing] = [new Set<string>(), new Set(wanted)];
    const take = (pattern: string): void => this.taken(pattern).forEach((name) => {
      missing.delete(name);
      if (!wanted.has(name) && !allowed.has(name)) {
        beyond.add(name);
      }
    });
    patterns.forEach(take);
    for (const name of [...missing]) {
      const others = (pattern: string): number => this.taken(pattern).filter((each) => !wanted.has(each) && !allowed.has(each) && !beyond.has(each)).length;
      const [best] = missing.has(name) ? this.language.candidates(name).filter((pattern) => this.taken(pattern).includes(name)).map((pattern) => ({ pattern, others: others(pattern) })).sort((a, b) => a.others - b.others) : [];
      if (best) {
        patterns.push(best.pattern);
        take(best.pattern);
      }
    }
    return { patterns, beyond: [...beyond], missing: [...missing] };
  }

  private taken(pattern: string): string[] {
    return (this.matches.get(pattern) ?? []).map((index) => this.names[index] ?? '');
  }

  /**
   * Patterns that together take all of `wanted` and nothing but `wanted` and `allowed`: greedily the one that takes the most that is still missing,
   * of equal ones the more exact. In our own language every name is a pattern, so there always are some.
   */
  cover(wanted: ReadonlySet<string>, allowed: ReadonlySet<string>): string[] {
    const usable = [...this.matches].filter(([, indices]) => indices.every((index) => wanted.has(this.names[index] ?? '') || allowed.has(this.names[index] ?? '')))
      .map(([pattern, indices]) => ({ pattern, takes: indices.map((index) => this.names[index] ?? '').filter((name) => wanted.has(name)), exact: exactness(pattern) })).sort((a, b) => b.exact - a.exact || (a.pattern < b.pattern ? -1 : 1));
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
export function globCandidates(name: string): string[] {
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
