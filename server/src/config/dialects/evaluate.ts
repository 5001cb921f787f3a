/** What a file of another tool does to a checkpoint: every entry with its matches, every layer with its treatment, and the traps that all tools share. */
import { quoted } from '../../checkpoint/errors';
import type { Checkpoint, Layer } from '../../protocol';
import { nearest } from '../nearest';
import { remembering } from '../remembered';
import { lastBlocksLeft, noSuchBlock } from './blocks';
import { problem, replaceBy } from './dialect';
import type { Decision, DialectEntry, DialectProblem, EntryResult, ParsedDialect } from './dialect';

export interface Evaluation {
  /** Entries of the file, then those that the tool adds. */
  entries: EntryResult[];
  decisions: Decision[];
  problems: DialectProblem[];
}

export function evaluate(parsed: ParsedDialect, checkpoint: Checkpoint): Evaluation {
  parsed.prepare?.(checkpoint);
  const written = parsed.entries;
  const entries = [...written, ...parsed.builtin?.(checkpoint) ?? []];
  const named = layersByName(checkpoint);
  const matches = entries.map((entry) => (entry.only === undefined ? checkpoint.layers : named.get(entry.only) ?? []).filter((layer) => entry.takes(layer)));
  const taking = new Map<Layer, DialectEntry[]>();
  entries.forEach((entry, i) => !entry.aside && matches[i]?.forEach((layer) => {
    const known = taking.get(layer);
    if (known) {
      known.push(entry);
    } else {
      taking.set(layer, [entry]);
    }
  }));
  const decide = parsed.decide ?? ((_: Layer, [first]: readonly DialectEntry[]) => ({ entry: first ?? null, treatment: first?.treatment ?? parsed.otherwise }));
  const decisions = checkpoint.layers.map((layer): Decision => ({ layer, ...decide(layer, taking.get(layer) ?? []) }));
  // A list may hold a thousand entries, and an editor asks at every letter: everything is counted in one pass.
  const decided = new Map<DialectEntry, number>();
  decisions.forEach(({ entry, also }) => new Set([entry, also]).forEach((by) => by && decided.set(by, (decided.get(by) ?? 0) + 1)));
  const total = checkpoint.layers.reduce((sum, layer) => sum + layer.params, 0);
  const results = entries.map((entry, i): EntryResult => ({
    text: entry.text, range: entry.range, treatment: entry.treatment, builtin: entry.builtin ?? null, matchedLayers: matches[i]?.length ?? 0,
    matchedParamsPercent: share(matches[i] ?? [], total), decidedLayers: decided.get(entry) ?? 0,
  }));
  const context = { parsed, checkpoint, decided, byLayer: new Map(decisions.map((decision) => [decision.layer, decision])), first: new Map<string, DialectEntry>() };
  const problems = checkpoint.layers.length === 0 ? [] : written.flatMap((entry, i) => entryProblems(entry, matches[i] ?? [], context));
  const left = lastBlocksLeft(checkpoint, decisions);
  const last = left ? [problem('dialect/last-blocks', 'warning', left.entry.range, left.sentence)] : [];
  return { entries: results, decisions, problems: [...problems, ...last, ...parsed.traps?.(checkpoint, decisions) ?? []] };
}

const byName = new WeakMap<Checkpoint, ReadonlyMap<string, Layer[]>>();

function layersByName(checkpoint: Checkpoint): ReadonlyMap<string, Layer[]> {
  const named = byName.get(checkpoint) ?? new Map(checkpoint.layers.map((layer) => [layer.name, [layer]]));
  byName.set(checkpoint, named);
  return named;
}

/** Percent of all linear weights. */
export function share(layers: readonly Layer[], total: number): number {
  return total === 0 ? 0 : (100 * layers.reduce((sum, layer) => sum + layer.params, 0)) / total;
}

export function describeShare(layers: readonly Layer[], checkpoint: Checkpoint): string {
  const total = checkpoint.layers.reduce((sum, layer) => sum + layer.params, 0);
  return `${layers.length} ${layers.length === 1 ? 'layer' : 'layers'}, ${share(layers, total).toFixed(2)} % of the weights`;
}

interface Context {
  parsed: ParsedDialect;
  checkpoint: Checkpoint;
  /** How many layers each entry decides. */
  decided: ReadonlyMap<DialectEntry, number>;
  byLayer: ReadonlyMap<Layer, Decision>;
  /** Entries seen so far, by what they say. */
  first: Map<string, DialectEntry>;
}

function entryProblems(entry: DialectEntry, matches: readonly Layer[], { parsed, checkpoint, decided, byLayer, first }: Context): DialectProblem[] {
  const says = `${entry.text}\n${entry.treatment.label}`;
  const twin = first.get(says);
  if (twin) {
    return [{ ...problem('dialect/repeated', 'warning', entry.range, `${quoted(entry.text)} stands in line ${twin.range.start.line + 1} already.`), related: [{ message: 'The first one.', range: twin.range }] }];
  }
  first.set(says, entry);
  const silence = { error: 'The tool stops with an error.', logged: 'The tool passes over it with no more than a line in its log.', ignored: 'The tool passes over it without a word.' }[parsed.unmatched];
  const tooHigh = noSuchBlock(entry.text, checkpoint);
  if (matches.length === 0) {
    return entry.elsewhere ? [] : [nothing(tooHigh ? { ...entry, matchesNothing: tooHigh } : entry, parsed, checkpoint, silence)];
  }
  const wider = [...tooHigh ? [problem('dialect/no-such-block', 'warning', entry.range, `${tooHigh} The rest of ${quoted(entry.text)} takes ${describeShare(matches, checkpoint)}.`)] : [], ...entry.isPath ? beyondThePath(entry, matches, checkpoint) : []];
  if (entry.aside || decided.has(entry)) {
    return wider;
  }
  const deciding = matches[0] && byLayer.get(matches[0])?.entry;
  // Entries that say the same do not shadow each other.
  return !deciding || deciding.treatment.label === entry.treatment.label ? wider : [...wider, { ...problem('dialect/shadowed', 'warning', entry.range,
    `Other entries decide all ${matches.length} layers that this one takes; for ${quoted(matches[0]?.name ?? '')} it is ${deciding.builtin ? `${quoted(deciding.text)} (${deciding.builtin})` : `${quoted(deciding.text)} in line ${deciding.range.start.line + 1}`}.`),
    ...(deciding.builtin ? {} : { related: [{ message: 'This entry decides.', range: deciding.range }] }) }];
}

function nothing(entry: DialectEntry, parsed: ParsedDialect, checkpoint: Checkpoint, silence: string): DialectProblem {
  const close = entry.isPath && !entry.matchesNothing ? suggestion(entry.text, checkpoint) : undefined;
  return problem('dialect/matches-nothing', parsed.unmatched === 'error' ? 'error' : 'warning', entry.range,
    `${quoted(entry.text)} takes no layer of this checkpoint. ${entry.matchesNothing ?? ''}${entry.matchesNothing ? ' ' : ''}${silence}${close ? ` Did you mean ${quoted(close)}?` : ''}`,
    close ? replaceBy(entry.range, close) : undefined);
}

/** A module of the checkpoint that is written nearly like it. */
const suggestion = remembering((text, checkpoint: Checkpoint) => nearest(text, runsOf(text.split('.').length, checkpoint)));

const knownRuns = new WeakMap<Checkpoint, Map<number, string[]>>();

/** Runs of so many segments in the names of a checkpoint. */
function runsOf(segments: number, checkpoint: Checkpoint): string[] {
  const runs = knownRuns.get(checkpoint) ?? new Map<number, string[]>();
  knownRuns.set(checkpoint, runs);
  const paths = runs.get(segments) ?? [...new Set(checkpoint.layers.flatMap(({ name }) => {
    const parts = name.split('.');
    return parts.slice(segments - 1).map((_, i) => parts.slice(i, i + segments).join('.'));
  }))];
  runs.set(segments, paths);
  return paths;
}

/** Layers that the rule takes outside of the module that the entry names. Nothing where the entry names no module of the checkpoint. */
function beyondThePath(entry: DialectEntry, matches: readonly Layer[], checkpoint: Checkpoint): DialectProblem[] {
  const inside = (name: string): boolean => name === entry.text || name.startsWith(`${entry.text}.`);
  const beyond = matches.filter(({ name }) => !inside(name));
  const meant = matches.length - beyond.length;
  if (beyond.length === 0 || meant === 0) {
    return [];
  }
  const numbered = /(?:^|\.)\d+$/.test(entry.text);
  return [problem(numbered ? 'dialect/unanchored-index' : 'dialect/takes-more', 'warning', entry.range,
    `${quoted(entry.text)} takes ${describeShare(matches, checkpoint)}, but only ${meant} of them ${meant === 1 ? 'is' : 'are'} the module of that name: also ${beyond.length} others, such as ${quoted(beyond[0]?.name ?? '')}. ` +
    'The tool does not anchor names at their start.')];
}
