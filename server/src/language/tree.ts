/** Which key or value of the syntax tree stands at a position, and which schema and which rule it belongs to. */
import { schema } from '../config/schema';
import type { Schema } from '../config/schema';
import type { Located, Rule } from '../config/parse';
import { find } from '../config/tree';
import type { Entry, MapNode, TreeNode } from '../config/tree';
import type { Position, Range } from '../protocol';
import type { Step } from './place';
import type { Model } from './model';

export interface Place {
  path: readonly Step[];
  /** The innermost key that leads here. */
  entry: Entry | undefined;
  node: TreeNode;
  /** The position is on the key itself. */
  onKey: boolean;
  range: Range;
}

export function placeAt(root: TreeNode | null, position: Position): Place | undefined {
  let node = root;
  let entry: Entry | undefined;
  const path: Step[] = [];
  while (node && contains(node.range, position)) {
    const outer: TreeNode = node;
    if (outer.kind === 'map') {
      // What an alias brought in has the alias' range all over: there is nothing to tell apart inside.
      if (outer.entries.some((each) => same(each.keyRange, outer.range))) {
        return { path, entry, node: outer, onKey: false, range: outer.range };
      }
      const key = outer.entries.find((each) => contains(each.keyRange, position) && !same(each.keyRange, outer.range));
      if (key) {
        return { path: [...path, key.key], entry: key, node: key.value, onKey: true, range: key.keyRange };
      }
      entry = outer.entries.find((each) => contains(each.value.range, position) && !same(each.value.range, outer.range));
      if (!entry) {
        return undefined;
      }
      path.push(entry.key);
      node = entry.value;
    } else if (outer.kind === 'list') {
      if (outer.items.some((item) => same(item.range, outer.range))) {
        return { path, entry, node: outer, onKey: false, range: outer.range };
      }
      const index = outer.items.findIndex((item) => contains(item.range, position) && !same(item.range, outer.range));
      if (index < 0) {
        return undefined;
      }
      path.push(index);
      node = outer.items[index] ?? null;
    } else {
      return { path, entry, node: outer, onKey: false, range: outer.range };
    }
  }
  return undefined;
}

/** The part of the schema that describes the value at a path. */
export function schemaAt(path: readonly Step[]): Schema | undefined {
  return path.reduce<Schema | undefined>((at, step) => (typeof step === 'number' ? at?.items : at?.properties && Object.hasOwn(at.properties, step) ? at.properties[step] : undefined), schema);
}

/** The values a schema lists, with a text for each; the string form of values that may also be a mapping included. */
export function listedValues(at: Schema): { value: string; text: string | undefined }[] {
  // Examples say more than the few words a number may also be.
  const { then } = at;
  const [values, texts] = at.enum ? [at.enum, at.enumDescriptions] : then?.enum && (then.enumDescriptions || !at.examples) ? [then.enum, then.enumDescriptions] : [[], undefined];
  return values.map((value, index) => ({ value: String(value), text: texts?.[index] }));
}

/** One for each rule of the config, in the same order. */
export function ruleNodes(root: TreeNode | null): MapNode[] {
  const rules = find(root, 'rules')?.value;
  return rules?.kind === 'list' ? rules.items.filter((item) => item.kind === 'map') : [];
}

export interface FoundPattern { rule: Rule; pattern: Located<string> }

export function patternAt(model: Model, position: Position): FoundPattern | undefined {
  for (const rule of model.parsed.config.rules) {
    const pattern = contains(rule.range, position) ? rule.layers.find((each) => contains(each.range, position)) : undefined;
    if (pattern) {
      return { rule, pattern };
    }
  }
  return undefined;
}

export function contains({ start, end }: Range, position: Position): boolean {
  return compare(start, position) <= 0 && compare(position, end) <= 0;
}

export function compare(a: Position, b: Position): number {
  return a.line - b.line || a.character - b.character;
}

function same(a: Range, b: Range): boolean {
  return compare(a.start, b.start) === 0 && compare(a.end, b.end) === 0;
}
