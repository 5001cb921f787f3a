/**
 * Scripts that run deepcompressor. Which files are merged stands there alone: `__default__` files first, then those of the command line in its order, then its flags. The
 * command line is read as argparse reads it for omniconfig's `ConfigParser` (deepcompressor 0.1.0).
 */
import { normalize } from 'node:path/posix';
import type { TextDocument } from 'vscode-languageserver-textdocument';
import { rangeOf } from '../../tree';
import { deepcompressor } from '.';
import { flagOf } from './flags';
import type { Flag } from './flags';
import { mergedRun } from './merge';
import { kept, problem } from '../dialect';
import type { Dialect, DialectFile, DialectProblem, ParsedDialect } from '../dialect';
import { commandsOf } from './shellWords';
import type { Word } from './shellWords';

export interface Setting { flag: Flag; written: Word; values: readonly string[] }
/** One command. */
export interface Run {
  /** The word that names the tool. */
  module: Word;
  /** In their order. */
  files: readonly Word[];
  settings: readonly Setting[];
  /** False where something stands in the command that only the shell knows, that stops the tool, or that is not read here: lists of files, TOML, paths from the root. */
  readable: boolean;
}

const module = /^deepcompressor\.app\.diffusion\.ptq$|(?:^|\/)deepcompressor\/app\/diffusion\/ptq\.py$/;
const configFile = /\.(?:ya?ml|toml)$/;

export const deepcompressorRun: Dialect = {
  root: () => ({ type: 'text', doc: 'Commands of a shell.' }),
  id: 'deepcompressor-run', title: 'deepcompressor command line',
  file: 'Shell script (`.sh`, `.bash`) that runs `deepcompressor.app.diffusion.ptq`. The files that it names are looked for from its folder upwards and merged as the tool does it; findings about the result mark the file or the flag that says so.',
  rule: deepcompressor.rule, unmatched: deepcompressor.unmatched, codes: ['deepcompressor-run/'],
  detect: ({ name, part }) => part !== undefined && isScript(name),
  parse(file) {
    const problems: DialectProblem[] = [];
    const run = runOf(file, problems);
    const alone: ParsedDialect = { entries: [], otherwise: { ...kept, label: 'as the merged files say', weightBits: null, activationBits: null }, unmatched: 'ignored', problems: [...file.problems, ...problems] };
    return { ...alone, incomplete: true, ...run ? { withOthers: (folder) => mergedRun(file, run, folder, alone) } : {} };
  },
};

export function isScript(name: string): boolean { return /\.(?:sh|bash)$/i.test(name); }

/** One for each command that runs the tool. @param name base name of the file */
export function scriptParts(name: string, document: TextDocument): DialectFile[] {
  return commandsOf(document.getText()).flatMap((words) => {
    const program = words.find(({ text }) => module.test(text));
    const [first, last] = [words[0], words.at(-1)];
    return program && first && last ? [{ name, form: 'text', document, root: null, problems: [], part: { range: rangeOf(document, first.start, last.end), at: rangeOf(document, program.start, program.end) } }] : [];
  });
}

function runOf({ document, part }: DialectFile, problems: DialectProblem[]): Run | undefined {
  const words = commandsOf(document.getText()).find(([first]) => first && part && first.start === document.offsetAt(part.range.start)) ?? [];
  const at = words.findIndex(({ text }) => module.test(text));
  const found = words[at];
  return found && readRun(found, words.slice(at + 1), (code, { start, end }, message, meant) => {
    const range = rangeOf(document, start, end);
    problems.push(problem(code, 'error', range, message, meant === undefined ? undefined : { fixes: [{ title: `Replace by ${meant}`, edits: [{ range, text: meant }] }] }));
  });
}

type Report = (code: 'deepcompressor-run/flag' | 'deepcompressor-run/arguments' | 'deepcompressor-run/place', word: Pick<Word, 'start' | 'end'>, message: string, meant?: string) => void;

function isFlag({ text }: Word): boolean { return /^-(?!\d)/.test(text); }

function nextFlag(words: readonly Word[], from: number): number {
  const at = words.slice(from).findIndex(isFlag);
  return at < 0 ? words.length : from + at;
}

function readRun(module: Word, words: readonly Word[], report: Report): Run {
  const files: Word[] = [];
  const settings: Setting[] = [];
  let readable = true;
  let closed = false;
  const refuse: Report = (...said) => { readable = false; report(...said); };
  for (let i = 0; i < words.length;) {
    const word = words[i++] as Word;
    const next = words.slice(i, nextFlag(words, i));
    if (!isFlag(word)) {
      readable &&= word.plain;
      if (closed && word.plain) {
        refuse('deepcompressor-run/arguments', word, `argparse takes files in one row: "${word.text}" stands behind a flag that follows others, and deepcompressor stops ("Unknown arguments"). Put all files in one row.`);
      } else {
        files.push(word);
      }
      continue;
    }
    closed ||= files.length > 0;
    const [name = '', ...inline] = word.text.split('=');
    const flag = flagOf(name);
    if ('why' in flag) {
      refuse('deepcompressor-run/flag', { start: word.start, end: inline.length > 0 ? word.start + name.length : word.end }, `${flag.why}, and deepcompressor stops.${flag.meant === undefined ? '' : ` Did you mean "${flag.meant}"?`}`, flag.meant);
      const file = next.findIndex(({ text }) => configFile.test(text));
      i += file < 0 ? next.length : file; // behind what was meant for it
      continue;
    }
    const taken = inline.length > 0 ? [] : next.slice(0, flag.takes === 'list' ? next.length : 1);
    i += taken.length;
    readable &&= flag.takes === 'value' || taken.every(({ plain }) => plain);
    const values = inline.length > 0 ? [inline.join('=')] : taken.map(({ text }) => text);
    settings.push({ flag, written: word, values });
    const [first] = taken;
    if (flag.takes === 'switch' && first?.plain && !/^(?:true|false)$/.test(first.text)) {
      refuse('deepcompressor-run/arguments', first, `"${name}" takes the word behind it, and "${first.text}" is neither true nor false: argparse stops. Write "${name} true", or put it behind the files.`);
    } else if (flag.takes !== 'switch' && values.length === 0) {
      refuse('deepcompressor-run/arguments', word, `"${name}" needs a value behind it.`);
    }
    const swallowed = flag.takes === 'list' ? taken.find(({ text }) => configFile.test(text)) : undefined;
    if (swallowed) {
      refuse('deepcompressor-run/arguments', swallowed, `"${name}" takes every word up to the next flag, "${swallowed.text}" too, which is then no config. Put the files before the flags.`);
    }
  }
  if (readable && files.length === 0) {
    refuse('deepcompressor-run/arguments', module, 'No config is named, and deepcompressor stops ("no config file(s) provided").');
  }
  files.filter(({ plain, text }) => plain && configFile.test(text) && !text.startsWith('/')).forEach((word) => {
    const path = normalize(word.text);
    if (path.startsWith('../') || !path.includes('/')) {
      refuse('deepcompressor-run/place', word, `deepcompressor takes configs in folders below the one it is run in alone, and "${word.text}" ${path.startsWith('../') ? 'is not under it' : 'lies in it'}: it stops. Put it into a folder such as configs/.`);
    }
  });
  return { module, files, settings, readable: readable && files.every(({ text }) => /^[^/].*\.ya?ml$/.test(text)) };
}
