/** What a tool's file may hold at one place: the one source of what the parser checks and of what completion, hover and docs/dialects.md say. */
import type { Checkpoint, Layer, Severity } from '../../protocol';
import type { DialectCode } from './codes';

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** 'names': texts that choose layers, as a list or, where the tool takes that, as one text. 'any': several types, which the dialect looks into itself. */
export type FieldType = 'text' | 'flag' | 'number' | 'list' | 'map' | 'names' | 'any';

/** How a tool compares what stands in a list (or as a key) with the names of layers. */
export interface NameRule {
  /** In a sentence, where it is not the dialect's own. Markdown. */
  doc?: string;
  /** @throws RegexFault for an entry that is no pattern */
  takes(entry: string): (layer: Layer) => boolean;
  /** Entries that are worth offering, best first. */
  offers(checkpoint: Checkpoint | undefined): readonly string[];
}

export interface Field {
  type: FieldType;
  /** What the tool does with it. Markdown. */
  doc: string;
  /** Values as they are written (numbers too, where that matters) with what they mean; '' where the name says it. Of a map whose keys one chooses: usual keys. */
  values?: Readonly<Record<string, string>>;
  /** Other values pass. Without it they are refused. */
  open?: true;
  /** How a value outside of `values` is reported. */
  refusal?: readonly [code: DialectCode, severity: Severity];
  /** Usual values where there is no list of them. */
  examples?: readonly Json[];
  /** What the tool takes when it is missing. */
  default?: Json;
  required?: true;
  /** Read, but not worth offering: written by the tool itself, or a mistake with a message of its own. */
  silent?: true;
  /** Of a map. */
  fields?: FieldTable;
  /** Of a map whose keys one chooses. */
  each?: Field;
  /** Of a list, or of the values of a map's list. */
  items?: Field;
  /** What texts here choose: alone, in a list, or as the keys of a map with `each`. */
  names?: NameRule;
  /** Where this was read, for this map and what is in it. */
  source?: string;
}

export type FieldTable = Readonly<Record<string, Field>>;

/** The field that describes the value at a path, and the nearest source above it. */
export function fieldAt(root: Field, path: readonly (string | number)[]): { field: Field; source: string | undefined } | undefined {
  let [field, source]: [Field | undefined, string | undefined] = [root, root.source];
  for (const step of path) {
    field = typeof step === 'number' ? field?.items : field?.fields && Object.hasOwn(field.fields, step) ? field.fields[step] : field?.each;
    source = field?.source ?? source;
  }
  return field && { field, source };
}

/** Values without a text of their own. */
export function named(...values: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(values.map((value) => [value, '']));
}
