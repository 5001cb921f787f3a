/** The text of a new config for a checkpoint: the method's own layer policy, written as rules a person can read and change. */
import { methods } from '../methods';
import { schemeOf } from '../methods/method';
import type { Checkpoint, Role } from '../protocol';
import { matchList } from './match';

/**
 * The policy of the method for this architecture, one rule per entry that has layers here.
 * @param relativePath of the checkpoint as the config will name it.
 */
export function newConfigText(checkpoint: Checkpoint, relativePath: string, method: string, scheme: string): string {
  const bits = schemeOf(scheme);
  const rules = ((bits && methods.get(method)?.policy(checkpoint.architecture, bits)) ?? []).flatMap(({ name, roles, wider, settings }) => {
    const patterns = patternsFor(checkpoint, roles, wider);
    return patterns.length > 0 ? [`  - name: ${name}`, `    layers: [${patterns.map((pattern) => JSON.stringify(pattern)).join(', ')}]`, ...settings.map((line) => `    ${line}`)] : [];
  });
  return [
    'version: 1',
    `checkpoint: ${/^[\w./-]+$/.test(relativePath) ? relativePath : JSON.stringify(relativePath)}`,
    `defaults: { method: ${method}, scheme: ${scheme} }`,
    ...(rules.length > 0 ? ['rules:', ...rules] : []),
    '',
  ].join('\n');
}

/** Few patterns that take exactly the layers of these roles with more than `wider` inputs. */
export function patternsFor(checkpoint: Checkpoint, roles: readonly Role[], wider = 0): string[] {
  return patternsOf(checkpoint, checkpoint.layers.filter((layer) => roles.includes(layer.role) && layer.inFeatures > wider).map((layer) => layer.name));
}

const remembered = new WeakMap<Checkpoint, Map<string, string[]>>();

/** Few patterns that take exactly these layers: block and other numbers become `*` where that adds no foreign layer. Remembered: the same layers come again with every keystroke. */
export function patternsOf(checkpoint: Checkpoint, layers: readonly string[]): string[] {
  const known = remembered.get(checkpoint) ?? new Map<string, string[]>();
  remembered.set(checkpoint, known);
  const key = layers.join('\n');
  const patterns = known.get(key) ?? search(checkpoint, layers);
  if (known.size >= 256) {
    known.clear();
  }
  known.set(key, patterns);
  return patterns;
}

function search(checkpoint: Checkpoint, layers: readonly string[]): string[] {
  const wanted = new Set(layers);
  const patterns: string[] = [];
  const covered = new Set<string>();
  for (const name of wanted) {
    if (covered.has(name)) {
      continue;
    }
    const exact = candidates(name).map((pattern) => ({ pattern, matches: names(checkpoint, pattern) })).filter(({ matches }) => matches.every((match) => wanted.has(match)));
    // The most layers; of two that take the same, the more exact: it still holds when the model gains a layer.
    const best = exact.reduce((a, b) => (b.matches.length >= a.matches.length ? b : a));
    patterns.push(best.pattern);
    best.matches.forEach((match) => covered.add(match));
  }
  return patterns;
}

/** From general to exact: everything under the first segments, then numbered segments as `*`, then the name itself. */
function candidates(name: string): string[] {
  const segments = name.split('.');
  const starred = segments.map((segment) => (/^\d+$/.test(segment) ? '*' : segment));
  return [
    ...segments.slice(0, -1).map((_, index) => `${starred.slice(0, index + 1).join('.')}.**`),
    starred.join('.'),
    // Only the first number is the block; later ones (`net.2`) tell layers apart.
    segments.map((segment, index) => (index === segments.findIndex((each) => /^\d+$/.test(each)) ? '*' : segment)).join('.'),
    name,
  ];
}

function names(checkpoint: Checkpoint, pattern: string): string[] {
  return Array.from(matchList(checkpoint, [pattern]), (index) => checkpoint.layers[index]?.name ?? '');
}
