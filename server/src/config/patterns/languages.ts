/** Our patterns in the languages of other tools, and those tools' own ways to name layers. */
import { compileFnmatch } from '../dialects/fnmatch';
import { globCandidates } from './cover';
import type { PatternLanguage } from './cover';

/** A glob as a regular expression without anchors, for every flavour that tools use. Holds neither commas nor equals signs, which split rules of some. */
export function regexOf(glob: string): string {
  return glob.replace(/\*+|[^*]+/g, (part) => (part === '*' ? '[^.]*' : part.startsWith('*') ? '.*' : part.replace(/[\\^$.|?+()[\]{}]/g, '\\$&')));
}

/** Python's fnmatch, whose star runs across dots. */
export const fnmatches: PatternLanguage = { candidates: (name) => globCandidates(name).map((glob) => glob.replace(/\*+/g, '*')), compile: compileFnmatch };

/** Names or parts of names, compared as a tool does. */
export function partsOfNames(takes: (entry: string, name: string) => boolean): PatternLanguage {
  return { candidates: partsOf, compile: (pattern) => (name) => takes(pattern, name) };
}

/** Every run of neighbouring segments, the longest first. */
function partsOf(name: string): string[] {
  const segments = name.split('.');
  return segments.flatMap((_, taken) => segments.slice(0, taken + 1).map((__, start) => segments.slice(start, start + segments.length - taken).join('.')));
}

/** A fixed vocabulary. */
export function vocabulary(keysOf: (name: string) => readonly string[]): PatternLanguage {
  return { candidates: keysOf, compile: (key) => (name) => keysOf(name).includes(key) };
}
