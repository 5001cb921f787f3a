/** What deepcompressor makes of a command line: its files and flags merged into one config, in which every value knows the file or flag that it is from. */
import { dirname, join, resolve } from 'node:path';
import { normalize } from 'node:path/posix';
import { TextDocument } from 'vscode-languageserver-textdocument';
import type { Checkpoint, Layer, Range } from '../../../protocol';
import { readText } from '../../../workspaceFiles';
import { maxTextLength, parseTree, rangeOf } from '../../tree';
import type { MapNode, Scalar, TreeNode } from '../../tree';
import { deepcompressor } from '.';
import type { Run, Setting } from './run';
import { kept, problem } from '../dialect';
import type { DialectEntry, DialectFile, DialectProblem, ParsedDialect } from '../dialect';
import { evaluate } from '../evaluate';
import type { Word } from './shellWords';

interface Source {
  /** As the command names it. */
  name: string;
  /** What stands for it in the script. */
  range: Range;
  kind: 'default' | 'file' | 'flag';
  root: TreeNode | null;
  /** The place of the file among those of the command, or of the one that a default comes with. */
  place: number;
}

/** A run is started in the folder of its script or above, as where scripts/ lies beside configs/. */
const foldersUp = 5;
/** More files than any run has. */
const most = 32;

/** @param alone what the command is without its files */
export async function mergedRun(file: DialectFile, run: Run, folder: string, alone: ParsedDialect): Promise<ParsedDialect> {
  const problems: DialectProblem[] = [];
  const sources = await sourcesOf(run, folder, file, problems);
  const root = sources && merge(sources, rangeOf(file.document, run.module.start, run.module.end), problems);
  const merged: DialectFile = { ...file, form: 'yaml', root: root ?? null, problems: [] };
  if (!deepcompressor.detect(merged)) {
    return { ...alone, problems: [...alone.problems, ...problems], incomplete: true };
  }
  const config = deepcompressor.parse(merged);
  const names = new Map(sources?.map(({ name, range, kind }) => [file.document.offsetAt(range.start), kind === 'default' ? '__default__.yaml' : name]));
  const entries = entriesOf(config, ({ start }) => names.get(file.document.offsetAt(start)) ?? '');
  return {
    ...alone, problems: [...alone.problems, ...problems, ...config.problems.flatMap(grave)],
    traps: (checkpoint: Checkpoint) => evaluate(config, checkpoint).problems.flatMap(grave),
    otherwise: config.otherwise, entries: [...new Set(entries.values())],
    decide: (layer: Layer) => {
      const { entry = null, also = null, treatment } = config.decide?.(layer, [...entries.keys()].filter((role) => role.takes(layer))) ?? { treatment: config.otherwise };
      return { entry: (entry && entries.get(entry)) ?? null, also: (also && entries.get(also)) ?? null, treatment };
    },
  };
}

/** What is said of the merged config, at the word that is to blame; its fixes are for the text of a config. Lists that this run does not need are no news here. */
function grave({ code, severity, range, message }: ParsedDialect['problems'][number]): DialectProblem[] {
  return range && (severity === 'error' || severity === 'warning') ? [{ code: code as DialectProblem['code'], severity, range, message }] : [];
}

/** For each key of a list the file or flag that it is from: a line of a script has no room for all keys. */
function entriesOf({ entries }: ParsedDialect, nameOf: (range: Range) => string): Map<DialectEntry, DialectEntry> {
  const lists = entries.filter(({ aside }) => !aside);
  const at = ({ range }: DialectEntry): string => `${range.start.line}:${range.start.character}`;
  const bySource = new Map<string, DialectEntry>();
  for (const entry of lists) {
    const own = lists.filter((each) => at(each) === at(entry));
    bySource.set(at(entry), bySource.get(at(entry)) ?? {
      text: nameOf(entry.range), range: entry.range, isPath: false, elsewhere: true, takes: (layer) => own.some((each) => each.takes(layer)),
      treatment: own.some(({ treatment }) => treatment.kind === 'quantize') ? entry.treatment : { ...kept, label: 'kept by its lists, weights or activations' },
    });
  }
  return new Map(lists.flatMap((entry) => { const source = bySource.get(at(entry)); return source ? [[entry, source] as const] : []; }));
}

/** undefined where a run cannot be followed: it stops, or the shell puts something in. */
async function sourcesOf(run: Run, folder: string, { document }: DialectFile, problems: DialectProblem[]): Promise<Source[] | undefined> {
  const rangeOfWord = ({ start, end }: Word): Range => rangeOf(document, start, end);
  const named = run.files.filter(({ plain, text }) => plain && !text.startsWith('/')).slice(0, most);
  const { cwd, texts } = await read(named, folder);
  const missing = named.filter((_, i) => texts[i] === undefined);
  problems.push(...missing.map((word) => problem('deepcompressor-run/file', cwd === undefined ? 'warning' : 'error', rangeOfWord(word), cwd === undefined ?
    `"${word.text}" is neither in the folder of this script nor in those above it; paths count from the folder in which the script is run.` : `"${word.text}" is not in ${cwd}, where other files of this command are: deepcompressor stops.`)));
  if (!run.readable || cwd === undefined || missing.length > 0) {
    return undefined;
  }
  const files = named.map((word, place): Source => ({ name: word.text, range: rangeOfWord(word), kind: 'file', root: treeOf(texts[place] ?? ''), place }));
  const defaults = await defaultsOf(named, cwd, rangeOfWord(run.module));
  const order = [...defaults, ...files].map(({ name }) => name);
  problems.push(problem('deepcompressor-run/order', 'hint', rangeOfWord(run.module), `Merged in this order, what comes later counts: ${order.join(', ')}${run.settings.length > 0 ? ', then the flags' : ''}.`));
  return [...defaults, ...files, ...run.settings.map((setting, i): Source => ({ name: setting.flag.name, range: rangeOfWord(setting.written), kind: 'flag', root: valueOf(setting, rangeOfWord(setting.written)), place: files.length + i }))];
}

/** The first folder upwards that has any of the files is where the run is started. */
async function read(words: readonly Word[], folder: string): Promise<{ cwd?: string; texts: (string | undefined)[] }> {
  for (let [cwd, up] = [folder, 0]; up <= foldersUp; [cwd, up] = [dirname(cwd), up + 1]) {
    const at = cwd;
    const texts = await Promise.all(words.map(async ({ text }) => (await readText(resolve(at, text), maxTextLength))?.text));
    if (texts.some((text) => text !== undefined)) {
      return { cwd, texts };
    }
  }
  return { texts: words.map(() => undefined) };
}

/** Of every folder from the working directory, itself apart, down to a file. */
async function defaultsOf(words: readonly Word[], cwd: string, range: Range): Promise<Source[]> {
  const found = new Map<string, Source>();
  for (const [place, { text }] of words.entries()) {
    const folders = normalize(text).split('/').slice(0, -1);
    for (let depth = 1; depth <= folders.length; depth++) {
      for (const ending of ['yaml', 'yml']) {
        const name = [...folders.slice(0, depth), `__default__.${ending}`].join('/');
        const content = found.has(name) ? undefined : (await readText(join(cwd, name), maxTextLength))?.text;
        if (content !== undefined) {
          found.set(name, { name, range, kind: 'default', root: treeOf(content), place });
          break;
        }
      }
    }
  }
  return [...found.values()];
}

function treeOf(text: string): TreeNode | null { return parseTree(TextDocument.create('file:///config.yaml', 'yaml', 0, text)).root; }

/** A flag as the config that would say the same. */
function valueOf({ flag, values }: Setting, range: Range): TreeNode {
  const scalar = (text: string): TreeNode => ({ kind: 'scalar', range, value: scalarOf(text) });
  const value: TreeNode = flag.takes === 'list' ? { kind: 'list', range, items: values.map(scalar) } : scalar(values[0] ?? 'true');
  return flag.path.split('.').reduceRight<TreeNode>((inner, key) => ({ kind: 'map', range, entries: [{ key, keyRange: range, value: inner }] }), value);
}

function scalarOf(text: string): Scalar {
  if (/^(?:none|null|nil)?$/i.test(text)) {
    return null;
  }
  return /^(?:true|false)$/.test(text) ? text === 'true' : /^[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?$/i.test(text) ? Number(text) : text;
}

interface Leaf { node: TreeNode; source: Source }

/** omniconfig's `update_dict`: mappings are merged, everything else is replaced. */
function merge(sources: readonly Source[], top: Range, problems: DialectProblem[]): MapNode {
  const leaves = new Map<string, Leaf>();
  for (const source of sources) {
    const replaced = new Map<Source, string[]>();
    for (const [path, node] of leavesOf(source.root)) {
      const before = leaves.get(path);
      if (before && before.source !== source && json(before.node) !== json(node)) {
        replaced.set(before.source, [...replaced.get(before.source) ?? [], `${path} (${shortened(json(node))} instead of ${shortened(json(before.node))})`]);
      }
      [...leaves.keys()].filter((other) => other.startsWith(`${path}.`) || path.startsWith(`${other}.`)).forEach((other) => leaves.delete(other));
      leaves.set(path, { node, source });
    }
    replaced.forEach((paths, before) => problems.push(...overrides(source, before, paths)));
  }
  const root: MapNode = { kind: 'map', range: top, entries: [] };
  leaves.forEach(({ node, source: { range } }, path) => put(root, path.split('.'), placed(node, range), range));
  return root;
}

function overrides(source: Source, before: Source, paths: readonly string[]): DialectProblem[] {
  const listed = `${paths.slice(0, 3).join(', ')}${paths.length > 3 ? ` and ${paths.length - 3} more` : ''}`;
  if (before.kind !== 'default') {
    return [problem('deepcompressor-run/overrides', source.kind === 'flag' ? 'info' : 'warning', source.range, `${source.name} comes after ${before.name} and sets anew what that sets: ${listed}.`)];
  }
  return source.kind === 'file' && before.place > source.place ? [problem('deepcompressor-run/defaults', 'info', source.range,
    `${before.name} is merged before all files, though the file that it comes with stands behind this one: this one counts for ${listed}.`)] : [];
}

function* leavesOf(node: TreeNode | null, path = ''): Generator<[path: string, node: TreeNode]> {
  if (node?.kind !== 'map') {
    yield* node && path !== '' ? [[path, node] as [string, TreeNode]] : [];
    return;
  }
  for (const { key, value } of node.entries) {
    yield* leavesOf(value, path === '' ? key : `${path}.${key}`);
  }
}

function json(node: TreeNode): string {
  const plain = (each: TreeNode): unknown => (each.kind === 'scalar' ? each.value : each.kind === 'list' ? each.items.map(plain) : Object.fromEntries(each.entries.map(({ key, value }) => [key, plain(value)])));
  return JSON.stringify(plain(node));
}

function shortened(text: string): string { return text.length > 40 ? `${text.slice(0, 39)}…` : text; }

function put(map: MapNode, [key = '', ...rest]: readonly string[], value: TreeNode, range: Range): void {
  const known = map.entries.find((entry) => entry.key === key)?.value;
  if (rest.length === 0) {
    map.entries.push({ key, keyRange: range, value });
  } else if (known?.kind === 'map') {
    put(known, rest, value, range);
  } else {
    const inner: MapNode = { kind: 'map', range, entries: [] };
    map.entries.push({ key, keyRange: range, value: inner });
    put(inner, rest, value, range);
  }
}

/** The same value, at a word of the script. */
function placed(node: TreeNode, range: Range): TreeNode {
  switch (node.kind) {
    case 'scalar': return { ...node, range };
    case 'list': return { kind: 'list', range, items: node.items.map((item) => placed(item, range)) };
    case 'map': return { kind: 'map', range, entries: node.entries.map(({ key, value }) => ({ key, keyRange: range, value: placed(value, range) })) };
  }
}
