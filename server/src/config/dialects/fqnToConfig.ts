/** torchao's `FqnToConfig`: one config, or null to keep, by the name of a parameter or module. */
import { find } from '../tree';
import type { Entry, MapNode, TreeNode } from '../tree';
import { kept } from './dialect';
import type { Dialect, DialectEntry, DialectFile, DialectProblem, Treatment } from './dialect';
import type { Field, NameRule } from './field';
import { Fields } from './fields';
import { expressions, names } from './offers';
import { regexOrProblem } from './patterns';
import { compileRegex } from './regex';
import { readTorchaoConfig, torchaoConfig } from './torchao';

/** Order of precedence. */
type Rank = 'parameter' | 'module' | 'parameter expression' | 'module expression' | 'default';
const ranks: readonly Rank[] = ['parameter', 'module', 'parameter expression', 'module expression', 'default'];
interface FqnEntry extends DialectEntry { ranks(layer: string): Rank | undefined }

const keyRule: NameRule = {
  takes(entry) {
    const regex = entry.startsWith('re:') ? compileRegex(entry.slice(3), 'python') : undefined;
    return ({ name }) => entry === '_default' || (regex ? regex.full(`${name}.weight`) || regex.full(name) : entry === name || entry === `${name}.weight`);
  },
  offers: (checkpoint) => [...expressions('re:', '', ['.*', '.*'])(checkpoint), ...names(checkpoint)],
};
const keysField: Field = { type: 'map', doc: 'A config for each name; null keeps.', names: keyRule, values: { 're:.*': 'every layer that no other key takes' }, each: { ...torchaoConfig, type: 'any' } };
const rootField: Field = {
  type: 'map', doc: 'torchao\'s `FqnToConfig`.', source: 'torchao 0.19, `FqnToConfig`',
  fields: { _type: { type: 'text', doc: 'The class.', values: { FqnToConfig: '' } }, _version: { type: 'number', examples: [1], doc: 'Of the class.' }, _data: { type: 'map', doc: 'Its fields.', fields: { fqn_to_config: keysField, module_fqn_to_config: { ...keysField, silent: true } } } },
};

export const fqnToConfig: Dialect = {
  root: ({ root }) => (find(root, '_type') ? rootField : keysField),
  id: 'torchao-fqn', title: 'FqnToConfig of torchao',
  file: 'JSON of an `FqnToConfig`, or a mapping of names to torchao config objects',
  rule: 'A key is the whole name of a parameter or of a layer; `re:` starts an expression for `re.fullmatch`. Names win over expressions, `_default` comes last.',
  unmatched: 'Passed over without a word.',
  codes: ['fqn/', 'torchao/'],
  detect: (file) => mapping(file) !== undefined,
  parse(file) {
    const problems: DialectProblem[] = [];
    const node = mapping(file);
    const entries = (node?.entries ?? []).flatMap((entry) => read(entry, new Fields(node as MapNode, 'FqnToConfig', problems, file.document), problems, file));
    return {
      entries, otherwise: kept, unmatched: 'ignored', problems: [...file.problems, ...problems],
      decide(layer, taking) {
        const ranked = (taking as readonly FqnEntry[]).map((entry) => ({ entry, rank: ranks.indexOf(entry.ranks(layer.name) ?? 'default') }));
        const best = ranked.reduce<typeof ranked[number] | undefined>((found, each) => (!found || each.rank < found.rank ? each : found), undefined);
        return { entry: best?.entry ?? null, treatment: best?.entry.treatment ?? kept };
      },
    };
  },
};

/** A serialised FqnToConfig, or the bare mapping: keys are names, `re:…` or `_default`, values config objects or null. */
function mapping({ root }: DialectFile): MapNode | undefined {
  const type = find(root, '_type')?.value;
  if (type?.kind === 'scalar' && /^(?:Module)?FqnToConfig$/.test(String(type.value))) {
    const data = find(root, '_data')?.value;
    const inner = (find(data, 'fqn_to_config') ?? find(data, 'module_fqn_to_config'))?.value;
    return inner?.kind === 'map' ? inner : undefined;
  }
  const isConfig = (value: TreeNode): boolean => find(value, '_type') !== undefined && find(value, '_data') !== undefined;
  const isNull = (value: TreeNode): boolean => value.kind === 'scalar' && value.value === null;
  return root?.kind === 'map' && root.entries.some(({ value }) => isConfig(value)) && root.entries.every(({ value }) => isConfig(value) || isNull(value)) ? root : undefined;
}

function read({ key, keyRange, value }: Entry, fields: Fields, problems: DialectProblem[], file: DialectFile): FqnEntry[] {
  const treatment: Treatment = value.kind === 'map' ? readTorchaoConfig(new Fields(value, `the config of "${key}"`, problems, file.document, torchaoConfig)) : kept;
  if (key === '_default') {
    fields.report('fqn/default', 'info', keyRange, '"_default" is deprecated; torchao warns, and says that it needs a filter_fn. Write "re:.*" last instead.');
    return [{ text: key, range: keyRange, treatment, isPath: false, takes: () => true, ranks: () => 'default', elsewhere: true }];
  }
  if (!key.startsWith('re:')) {
    const ranked = (layer: string): Rank | undefined => (key === `${layer}.weight` ? 'parameter' : key === layer ? 'module' : undefined);
    return [{ text: key, range: keyRange, treatment, isPath: true, takes: ({ name }) => ranked(name) !== undefined, ranks: ranked,
      matchesNothing: /[*?[\\]/.test(key) ? 'Without "re:" in front a key is one exact name.' : 'A key is one whole name of a layer or parameter.' }];
  }
  const regex = regexOrProblem(key.slice(3), 'python', keyRange, problems);
  const ranked = (layer: string): Rank | undefined => (regex?.full(`${layer}.weight`) ? 'parameter expression' : regex?.full(layer) ? 'module expression' : undefined);
  return [{ text: key, range: keyRange, treatment, isPath: false, takes: ({ name }) => ranked(name) !== undefined, ranks: ranked, elsewhere: !regex, matchesNothing: 'The expression has to match the whole name.' }];
}
