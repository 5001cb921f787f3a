/** Reads the fields of one mapping and reports what a tool would refuse or pass over. */
import type { TextDocument } from 'vscode-languageserver-textdocument';
import type { Range, Severity } from '../../protocol';
import { nearest } from '../nearest';
import type { Located } from '../parse';
import { find } from '../tree';
import type { MapNode, Scalar, TreeNode } from '../tree';
import type { DialectCode } from './codes';
import { problem, replaceBy } from './dialect';
import type { DialectProblem } from './dialect';
import type { Field } from './field';

const nouns = { text: 'text in quotes', flag: 'true or false', number: 'a number', list: 'a list', map: 'a mapping' };

export class Fields {
  /**
   * @param where for messages: "quantization_config".
   * @param field what may stand in the mapping. Without it nothing is known of its keys.
   */
  constructor(readonly node: MapNode, readonly where: string, private readonly problems: DialectProblem[], private readonly document: TextDocument, readonly field?: Field) {}

  has(key: string): boolean {
    return find(this.node, key) !== undefined;
  }

  /** Of the value; of the whole mapping where the key is missing. */
  range(key: string): Range {
    return find(this.node, key)?.value.range ?? this.firstCharacter();
  }

  keyRange(key: string): Range {
    return find(this.node, key)?.keyRange ?? this.firstCharacter();
  }

  value(key: string): TreeNode | undefined {
    return find(this.node, key)?.value;
  }

  scalar(key: string): Scalar | undefined {
    const value = this.value(key);
    return value?.kind === 'scalar' ? value.value : undefined;
  }

  /** The value as it stands in the text. */
  source(key: string): string {
    return this.document.getText(this.range(key)).trim();
  }

  /** undefined also for one that the tool refuses. @param code of the problem then, where the field says none */
  text(key: string, code: DialectCode = 'dialect/value'): string | undefined {
    const value = this.typed(key, 'text', (scalar): scalar is string => typeof scalar === 'string');
    const { values, open, refusal: [own, severity] = [code, 'error'] as const } = this.fieldOf(key) ?? {};
    if (value === undefined || !values || open || Object.hasOwn(values, value)) {
      return value;
    }
    this.refuse(key, value, Object.keys(values), own, severity);
    return severity === 'error' ? undefined : value;
  }

  flag(key: string): boolean | undefined {
    return this.typed(key, 'flag', (scalar): scalar is boolean => typeof scalar === 'boolean');
  }

  number(key: string): number | undefined {
    return this.typed(key, 'number', (scalar): scalar is number => typeof scalar === 'number');
  }

  map(key: string): Fields | undefined {
    const value = this.value(key);
    if (value?.kind === 'map') {
      return this.inner(value, key, this.fieldOf(key));
    }
    if (value && !(value.kind === 'scalar' && value.value === null)) {
      this.wrongType(key, 'map');
    }
    return undefined;
  }

  /** As `map`, without a word where there is none. */
  peek(key: string): Fields | undefined {
    const value = this.value(key);
    return value?.kind === 'map' ? this.inner(value, key) : undefined;
  }

  /** Fields of another mapping of the same file. */
  inner(node: MapNode, where: string, field?: Field): Fields {
    return new Fields(node, where, this.problems, this.document, field);
  }

  list(key: string): readonly TreeNode[] | undefined {
    const value = this.value(key);
    if (value?.kind === 'list') {
      return value.items;
    }
    if (value && !(value.kind === 'scalar' && value.value === null)) {
      this.wrongType(key, 'list');
    }
    return undefined;
  }

  /** A list of texts. @param single a text alone stands for a list of one, as many tools take it. */
  names(key: string, single: boolean): Located<string>[] {
    const value = this.value(key);
    if (single && value?.kind === 'scalar' && typeof value.value === 'string') {
      return [{ value: value.value, range: value.range }];
    }
    return (this.list(key) ?? []).flatMap((item) => {
      if (item.kind === 'scalar' && typeof item.value === 'string') {
        return [{ value: item.value, range: item.range }];
      }
      if (!(item.kind === 'scalar' && item.value === null)) {
        this.report('dialect/type', 'error', item.range, `"${key}" lists names; this is none. Write it in quotes.`);
      }
      return [];
    });
  }

  /** Everything that the fields alone say: keys that the tool does not know, keys that are missing, values of a wrong type, values that it refuses. */
  check(severity: Severity, effect: string): void {
    const fields = this.field?.fields ?? {};
    for (const { key, keyRange } of this.node.entries) {
      if (!Object.hasOwn(fields, key) && !this.field?.each) {
        const close = nearest(key, Object.keys(fields));
        this.report('dialect/unknown-key', severity, keyRange, `"${key}" is no field of ${this.where}${close ? `; did you mean "${close}"?` : '.'} ${effect}`,
          close && !this.has(close) ? close : undefined);
      }
    }
    this.mustHave(...Object.keys(fields).filter((key) => fields[key]?.required));
    for (const [key, { type }] of Object.entries(fields)) {
      ({ text: () => this.text(key), flag: () => this.flag(key), number: () => this.number(key), list: () => this.list(key), map: () => this.map(key), names: () => undefined, any: () => undefined })[type]();
    }
  }

  mustHave(...keys: string[]): boolean {
    const missing = keys.filter((key) => !this.has(key));
    for (const key of missing) {
      this.report('dialect/missing-key', 'error', this.firstCharacter(), `${this.where} needs "${key}", which is missing.`);
    }
    return missing.length === 0;
  }

  /** @param range of the value, where it is one of several under the key */
  refuse(key: string, value: string, allowed: readonly string[], code: DialectCode, severity: Severity = 'error', range = this.range(key)): void {
    const close = nearest(value, allowed);
    this.report(code, severity, range, `"${key}" cannot be "${value}": ${allowed.join(', ')}.${close ? ` Did you mean "${close}"?` : ''}`, close);
  }

  /** Says a thing once, however often a field is read. @param replacement for what stands in the range, offered as a quick fix. */
  report(code: DialectCode, severity: Severity, range: Range, message: string, replacement?: string): void {
    if (!this.problems.some((known) => known.code === code && known.message === message && known.range.start.line === range.start.line && known.range.start.character === range.start.character)) {
      this.problems.push(problem(code, severity, range, message,
        replacement === undefined ? undefined : replaceBy(range, replacement)));
    }
  }

  private fieldOf(key: string): Field | undefined {
    return this.field?.fields && Object.hasOwn(this.field.fields, key) ? this.field.fields[key] : this.field?.each;
  }

  private typed<T extends Scalar>(key: string, noun: keyof typeof nouns, is: (scalar: Scalar) => scalar is T): T | undefined {
    const value = this.value(key);
    if (!value || (value.kind === 'scalar' && value.value === null)) {
      return undefined;
    }
    if (value.kind === 'scalar' && is(value.value)) {
      return value.value;
    }
    this.wrongType(key, noun);
    return undefined;
  }

  private wrongType(key: string, noun: keyof typeof nouns): void {
    this.report('dialect/type', 'error', this.range(key), `"${key}" must be ${nouns[noun]}.`);
  }

  private firstCharacter(): Range {
    const { start } = this.node.range;
    const end = this.document.offsetAt({ line: start.line, character: start.character + 1 }); // not beyond the line
    return { start, end: this.document.positionAt(end) };
  }
}
