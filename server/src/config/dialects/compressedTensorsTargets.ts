/** How compressed-tensors compares targets and ignored names with layers, and which target decides. */
import type { Layer } from '../../protocol';
import type { Located } from '../parse';
import { kept } from './dialect';
import type { Decision, DialectEntry, DialectProblem } from './dialect';
import type { NameRule } from './field';
import { expressions, names } from './offers';
import { regexOrProblem } from './patterns';
import { compileRegex } from './regex';

/** Names before expressions before classes: the order in which compressed-tensors prefers the targets that take a module. */
type Way = 'name' | 'expression' | 'class';
const ways: readonly Way[] = ['name', 'expression', 'class'];
/** `holder` of the lists: 0 in a config.json, the place of the modifier in a recipe. */
export interface TargetEntry extends DialectEntry { ignored: boolean; way: Way; holder: number }

/**
 * The last modifier with a target that it does not ignore decides; an ignored layer is left as it was. Of the targets of one modifier names come before
 * expressions before classes, each in alphabetical order, whatever their order in the file; of the same text the last stands.
 */
export function decideTargets(taking: readonly TargetEntry[]): Omit<Decision, 'layer'> {
  const holders = [...new Set(taking.map(({ holder }) => holder))].sort((a, b) => b - a);
  let also: TargetEntry | null = null; // leaves the layer to an earlier modifier
  for (const holder of holders) {
    const own = taking.filter((entry) => entry.holder === holder);
    const [best] = own.filter(({ ignored }) => !ignored).reverse().sort((a, b) => ways.indexOf(a.way) - ways.indexOf(b.way) || (a.text < b.text ? -1 : a.text > b.text ? 1 : 0));
    const ignoring = own.find(({ ignored }) => ignored);
    if (best && !ignoring) {
      return { entry: best, treatment: best.treatment, also };
    }
    also ??= best && ignoring ? ignoring : null;
  }
  return { entry: also ?? taking.find(({ ignored }) => ignored) ?? null, treatment: kept };
}

const isLinear = (name: string): boolean => name === 'Linear' || name === 'Module' || name === 'LinearBase';

/** `re:` for an expression; otherwise the whole name, or a class. */
export const targetRule: NameRule = {
  takes(entry) {
    const regex = entry.startsWith('re:') ? compileRegex(entry.slice(3), 'python') : undefined;
    return ({ name }) => (regex ? regex.match(name) : name === entry || isLinear(entry));
  },
  offers: (checkpoint) => ['Linear', ...expressions('re:', '$', ['.*', ''])(checkpoint), ...names(checkpoint)],
};

/** `re:` starts an expression that is matched from the beginning of the name; otherwise the whole name, or the name of a module's class or of one it derives from. */
export function readTarget({ value, range }: Located<string>, problems: DialectProblem[]): Omit<TargetEntry, 'treatment' | 'ignored' | 'holder'> {
  const base = { text: value, range, isPath: false };
  if (value.startsWith('re:')) {
    const regex = regexOrProblem(value.slice(3), 'python', range, problems);
    return { ...base, way: 'expression', takes: ({ name }) => regex?.match(name) === true, elsewhere: !regex,
      ...(/^(?:\^|\.\*|\()/.test(value.slice(3)) ? {} : { matchesNothing: `The expression is matched from the beginning of the name: write "re:.*${value.slice(3)}" for anywhere.` }) };
  }
  const isClass = /^[A-Z]\w*$/.test(value);
  const linear = isLinear(value);
  return {
    ...base, way: isClass ? 'class' : 'name', isPath: !isClass, takes: ({ name }: Layer) => (isClass ? linear : name === value), elsewhere: isClass && !linear,
    ...(isClass ? {} : { matchesNothing: 'Without "re:" it is the whole name of a layer, or of a class: containers and parts of names take nothing.' }),
  };
}
