/** Renames rules and anchors. Comments are prose: a name in them stays as it is. */
import type { Position, Range, TextEdit } from 'vscode-languageserver-types';
import { schema } from '../config/schema';
import type { Model } from './model';
import { occurrenceAt, sameAs } from './occurrences';
import type { Occurrence } from './occurrences';
import { anchorUses, structureOf } from './structure';
import type { Structure } from './structure';
import { plainScalar } from './yamlText';

/** What the user has to be told. */
export class RenameError extends Error {}

type ConfigText = Pick<Model, 'document' | 'parsed'>;

/** What is renamed when the cursor is here. @throws RenameError */
export function prepareRename(model: ConfigText, position: Position): { range: Range; placeholder: string } {
  const structure = structureOf(model);
  const here = renameable(structure, position);
  return { range: here.kind === 'anchor' ? nameOf(here.range) : here.range, placeholder: here.kind === 'anchor' ? anchorName(here) : here.value };
}

/** @throws RenameError */
export function rename(model: ConfigText, position: Position, newName: string): TextEdit[] {
  const structure = structureOf(model);
  const here = renameable(structure, position);
  if (here.kind === 'anchor') {
    checkAnchor(structure, here, newName);
    return sameAs(here, structure).map(({ range }) => ({ range: nameOf(range), newText: newName }));
  }
  checkRule(structure, here, newName);
  const quote = /^["']/.exec(structure.document.getText(here.range))?.[0] ?? '';
  return [{ range: here.range, newText: written(newName, quote as '"' | '\'' | '') }];
}

function renameable(structure: Structure, position: Position): Occurrence {
  const here = occurrenceAt(structure, position);
  if (here?.kind !== 'anchor' && here?.kind !== 'rule') {
    throw new RenameError('Only the name of a rule, an anchor (&name) or its alias (*name) can be renamed. Put the cursor on one of them.');
  }
  if (here.kind === 'rule' && (here.range.start.line !== here.range.end.line)) {
    throw new RenameError('This name is written over several lines. Write it on one line first.');
  }
  return here;
}

function checkAnchor(structure: Structure, here: Occurrence, newName: string): void {
  if (!/^[\p{L}\p{N}_][\p{L}\p{N}_.-]*$/u.test(newName)) {
    throw new RenameError(`"${newName}" cannot name an anchor. Use letters, digits, "_", "-" and ".", and start with a letter, a digit or "_".`);
  }
  if (newName !== anchorName(here) && anchorUses(structure).some(({ name }) => name === newName)) {
    throw new RenameError(`&${newName} is there already; its aliases could mean either. Choose another name.`);
  }
}

function checkRule({ config }: Structure, here: Occurrence, newName: string): void {
  const limit = schema.properties?.['rules']?.items?.properties?.['name']?.maxLength ?? Infinity;
  if (newName.trim() === '' || newName.length > limit || /[\p{Cc}\p{Zl}\p{Zp}]/u.test(newName)) {
    throw new RenameError(`The name of a rule has 1 to ${limit} characters on one line, and not only spaces.`);
  }
  if (newName !== here.value && config.rules.some(({ name }) => name === newName)) {
    throw new RenameError(`Another rule is called "${newName}"; hints and reports could not tell them apart. Choose another name.`);
  }
}

function anchorName({ value }: Occurrence): string { return value.slice(0, value.lastIndexOf(' ')); }

/** Behind the & or *. */
function nameOf({ start, end }: Range): Range { return { start: { line: start.line, character: start.character + 1 }, end }; }

/** Several words need no quotes where one of them would need none. */
function written(name: string, quote: '"' | '\'' | ''): string {
  const word = name.replaceAll(' ', '_');
  return quote === '' && name.trim() === name && plainScalar(word, { quote }) === word ? name : plainScalar(name, { quote });
}
