import assert from 'node:assert/strict';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { couldBeDialect, couldBePython, isPython, readDialects } from '../../../../server/src/config/dialects';
import { dialectCodes } from '../../../../server/src/config/dialects/codes';
import type { Beside, ParsedDialect } from '../../../../server/src/config/dialects/dialect';
import { evaluate } from '../../../../server/src/config/dialects/evaluate';
import type { Evaluation } from '../../../../server/src/config/dialects/evaluate';
import { parseOf } from '../../../../server/src/config/dialects/load';
import { allowedBy } from '../../../../server/src/python/packages/allowed';
import type { Packages } from '../../../../server/src/python/packages/allowed';
import { readRequirements } from '../../../../server/src/python/packages/requirements';
import type { Checkpoint, Problem } from '../../../../server/src/protocol';

export function documentOf(text: string, name = 'config.json'): TextDocument {
  return TextDocument.create(`file:///project/${name}`, 'plaintext', 1, text);
}

/** A dialect file as it is read from disk, or the first config of a Python file. @param id null: any dialect. @throws when no dialect, or another one, is recognised */
export function parsed(id: string | null, text: string, name = 'config.json'): ParsedDialect {
  const document = documentOf(text, name);
  const [found] = readDialects(name, document);
  assert.equal((isPython(name, document) ? couldBePython : couldBeDialect)(text), true, 'recognised at a glance');
  if (!found || (id !== null && found.dialect.id !== id)) {
    throw new Error(`recognised as ${found?.dialect.id ?? 'nothing'}, not ${id}`);
  }
  return parseOf(found.dialect, found.file);
}

export function evaluated(id: string | null, text: string, checkpoint: Checkpoint, name?: string, beside: Beside = { files: [], packages: new Map() }): Evaluation & { all: Problem[] } {
  const dialect = parsed(id, text, name);
  const evaluation = evaluate(dialect, checkpoint);
  return { ...evaluation, all: [...dialect.problems, ...evaluation.problems, ...dialect.trapsBeside?.(beside) ?? []] };
}

/** `severity code [text under the range]`, one per problem. */
export function codes(text: string, problems: readonly Problem[]): string[] {
  return problems.map(({ severity, code, range }) => `${severity} ${code} [${range ? documentOf(text).getText(range) : ''}]`);
}

/** The text of a component's config.json. */
export function config(quantization: Record<string, unknown>): string {
  return JSON.stringify({ _class_name: 'FluxTransformer2DModel', quantization_config: quantization }, null, 2);
}

/** A trap: its code, a text that falls into it, the place it marks, and a text that does not, each on a checkpoint of its own where one is given. */
export type Trap = [code: string, bad: string, marked: string, good: string, goodCheckpoint?: Checkpoint | undefined, badCheckpoint?: Checkpoint | undefined, beside?: { good: Beside; bad: Beside }];

/** Versions as a requirements.txt with these lines allows them. */
export function requiring(...lines: string[]): Packages {
  return new Map(readRequirements(lines.join('\n')).requirements.map(({ name, specifiers, line }) => [name, allowedBy(specifiers, `${name}${specifiers} (requirements.txt, line ${line + 1})`)]));
}

/** A trap that one text falls into or not by what lies beside it: names of files, the tensors of its component, versions. */
export function besideTrap(code: string, text: string, marked: string, bad: BesideText, good: BesideText): Trap {
  const beside = (what: BesideText): Beside => ({ files: [], packages: new Map(), ...what instanceof Map ? { packages: what as Packages } : Array.isArray(what) ? { files: what as string[] } : 'tensors' in what ? { component: what } : what });
  return [code, text, marked, text, undefined, undefined, { good: beside(good), bad: beside(bad) }];
}
type BesideText = readonly string[] | Checkpoint | Packages | Partial<Beside>;

/** Declares one test per trap, and one that says that every code with this prefix has a trap. */
export function describeTraps(prefix: string, id: string | null, traps: readonly Trap[], checkpoint: Checkpoint, name?: string): void {
  for (const [code, bad, marked, good, goodCheckpoint, badCheckpoint, beside] of traps) {
    it(`${code}: ${marked}`, () => {
      const places = (text: string, problems: readonly Problem[]): string[] => problems.filter((problem) => problem.code === code).map(({ range }) => (range ? documentOf(text).getText(range) : ''));
      const { all } = evaluated(id, bad, badCheckpoint ?? checkpoint, name, beside?.bad);
      assert.ok(places(bad, all).includes(marked), `${JSON.stringify(codes(bad, all))} holds no ${code} at ${marked}`);
      assert.deepEqual(places(good, evaluated(null, good, goodCheckpoint ?? checkpoint, name, beside?.good).all), []);
    });
  }
  it(`every code of ${prefix} has a trap`, () => {
    assert.deepEqual(Object.keys(dialectCodes).filter((code) => code.startsWith(prefix) && !traps.some(([trap]) => trap === code)), []);
  });
}
