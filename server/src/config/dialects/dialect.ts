/**
 * A dialect: the file in which one quantization tool is told what to do. Each is recognised by its content, read with the place of every entry, and applied to the
 * layers of a checkpoint by that tool's own rule as it is coded, not as it was perhaps meant.
 */
import type { TextDocument } from 'vscode-languageserver-textdocument';
import type { Checkpoint, EntryMatch, Layer, Problem, ProblemData, Range, Recipe, Severity } from '../../protocol';
import type { ConfigProblem } from '../codes';
import type { TreeNode } from '../tree';
import type { DialectCode } from './codes';
import type { Field, NameRule } from './field';
import type { Packages } from '../../python/packages/allowed';
import type { PythonSection } from './python/sections';
import type { Equivalent } from './recipes';

/** A file as detection sees it. `root` is null for plain text and for files that hold nothing that can be read. */
export interface DialectFile {
  /** Base name. */
  name: string;
  form: 'json' | 'yaml' | 'text' | 'python';
  document: TextDocument;
  root: TreeNode | null;
  /** What is wrong with the text as such. */
  problems: (DialectProblem | ConfigProblem)[];
  /** Where it stands, in a file that holds several: calls of Python, commands of a shell. */
  part?: { range: Range; /** What is about the whole config stands there: the class, the program. */ at: Range };
  /** Of Python. */
  python?: PythonSection;
}

export interface DialectProblem extends Problem { code: DialectCode; range: Range }

/** What happens to a layer. Bits are null where the file alone does not say. */
export interface Treatment {
  kind: 'keep' | 'quantize';
  /** In the tool's own words: "nf4", "int8 weights, int8 activations". */
  label: string;
  weightBits: number | null;
  activationBits: number | null;
  /** The same in our terms, where the file says how; absent for layers that stay as they are, and for what has no counterpart here. */
  recipe?: Recipe;
  /** What the tool does otherwise than `recipe`. */
  near?: readonly string[];
}

export const kept: Treatment = { kind: 'keep', label: 'kept', weightBits: 16, activationBits: 16 };

/** @param as the same in our terms. */
export function quantized(label: string, weightBits: number | null, activationBits: number | null = 16, as?: Equivalent): Treatment {
  return { kind: 'quantize', label, weightBits, activationBits, ...as };
}

/** One string of the file that chooses layers. */
export interface DialectEntry {
  /** As written. */
  text: string;
  range: Range;
  treatment: Treatment;
  /** The tool's own matching rule. */
  takes(layer: Layer): boolean;
  /** The one name that `takes` can take, where the rule is that simple: a file may name each of a thousand layers. */
  only?: string;
  /** A module path, whose plain reading is that module and what is inside it; anything else (glob, expression, class, role) has no other reading than its matches. */
  isPath: boolean;
  /** Not in the file: what the tool adds, and why. */
  builtin?: string;
  /** May be about things that are no linear layers, so that taking none is no finding. */
  elsewhere?: boolean;
  /** Says nothing about whether and how layers are quantized, only about what is done besides. */
  aside?: boolean;
  /** Why it takes nothing, where the text alone shows it, and what to write. */
  matchesNothing?: string;
}

export interface Decision {
  layer: Layer;
  treatment: Treatment;
  /** null: no entry takes the layer, `otherwise` holds. */
  entry: DialectEntry | null;
  /** Another one that decides a part of it, such as the activations. */
  also?: DialectEntry | null;
}

export interface ParsedDialect {
  entries: DialectEntry[];
  /** What happens to layers that no entry takes. */
  otherwise: Treatment;
  problems: (DialectProblem | ConfigProblem)[];
  /** What the tool does about an entry that takes nothing. */
  unmatched: 'ignored' | 'logged' | 'error';
  /** Called before entries are asked, where what they take depends on which layers there are. */
  prepare?(checkpoint: Checkpoint): void;
  /** Entries that the tool adds for this checkpoint. */
  builtin?(checkpoint: Checkpoint): DialectEntry[];
  /** What becomes of a layer, given the entries that take it in file order, the tool's own last. Without it the first decides. */
  decide?(layer: Layer, taking: readonly DialectEntry[]): Omit<Decision, 'layer'>;
  /** Traps that need the layers. */
  traps?(checkpoint: Checkpoint, decisions: readonly Decision[]): DialectProblem[];
  /** Traps that lie beside the file, whatever checkpoint its entries are counted on. */
  trapsBeside?(beside: Beside): DialectProblem[];
  /** What becomes of layers is not known, since it stands in files that cannot be read. */
  incomplete?: true;
  /** What the file says together with the configs that it names, where it is nothing without them. @param folder that the file lies in */
  withOthers?(folder: string): Promise<ParsedDialect>;
  /** Traps inside other files, of which little is read. */
  trapsInside?(inside: Inside): Promise<DialectProblem[]>;
}

/** What lies beside a file: names and headers, never data; and what its project says of versions. */
export interface Beside {
  /** Files of weights and defaults in its folder and in the folders inside it: relative, with `/`, sorted. */
  files: readonly string[];
  /** The weights that the file describes, where there are some that can be read. */
  component?: Checkpoint | undefined;
  packages: Packages;
}

export interface Inside {
  component?: Checkpoint | undefined;
  /** What entries are counted on, best the unquantized original. */
  checkpoint?: Checkpoint | undefined;
}

/** What hover and docs/dialects.md say of a dialect; Markdown. */
export interface DialectFacts {
  id: string;
  title: string;
  /** Which file, and by what it is recognised. */
  file: string;
  /** How the tool compares an entry with the name of a layer, in a sentence. */
  rule: string;
  /** What the tool does about an entry that takes nothing. */
  unmatched: string;
  /** What its own codes start with, slash included. */
  codes: readonly string[];
}

export interface Dialect extends DialectFacts {
  /** Says nothing of layers, so that it needs no checkpoint. */
  ofComponents?: true;
  /** Is about the packed weights themselves, so that they are no reason for a warning. */
  ofPacked?: true;
  /** What may stand in the file, from its root on. */
  root(file: DialectFile): Field;
  /** Of a text that is a list of rules: how their expressions are compared. */
  names?: NameRule;
  detect(file: DialectFile): boolean;
  /** Never throws. */
  parse(file: DialectFile): ParsedDialect;
}

/** An entry and what it does to a checkpoint. */
export interface EntryResult extends EntryMatch {
  treatment: Treatment;
  /** Layers whose treatment this entry decides. */
  decidedLayers: number;
  builtin: string | null;
}

export function problem(code: DialectCode, severity: Severity, range: Range, message: string, data?: ProblemData): DialectProblem {
  return { code, severity, range, message, ...(data ? { data } : {}) };
}

/** A quick fix that puts a JSON text in the place of what stands there. */
export function replaceBy(range: Range, text: string): ProblemData {
  return { fixes: [{ title: `Replace by ${JSON.stringify(text)}`, edits: [{ range, text: JSON.stringify(text) }] }] };
}
