/** Text → QuantConfig. The parser never throws: it returns what it could read, every value with its range, and problems. */
import type { TextDocument } from 'vscode-languageserver-textdocument';
import type { CalibrationSettings, KeepDtype, PreviewSettings, Range, Thresholds } from '../protocol';
import { schemeOf } from '../methods/method';
import type { Scheme } from '../methods/method';
import type { ConfigProblem } from './codes';
import { foreignKeys, readMethodSettings } from './methodParts';
import type { MethodSettings } from './methodParts';
import type { PieceMemory } from './pieces';
import { find, parseTree } from './tree';
import type { MapNode, TreeNode } from './tree';
import { thresholdKeys, thresholdList } from './thresholds';
import { validate } from './validate';

export interface Located<T> { value: T; range: Range }

export interface Settings { scheme?: Located<Scheme>; method?: Located<MethodSettings>; keep?: Located<KeepDtype> }

export interface Rule extends Settings {
  index: number;
  name: string;
  /** The name as written; rules need none. */
  named?: Located<string>;
  layers: Located<string>[];
  /** The whole rule. */
  range: Range;
  /** The list of patterns, and the key before it. */
  layersRange: Range;
  layersKey: Range;
}

export type Budget = Located<{ bytes: number } | { bits: number }>;

export interface QuantConfig {
  checkpoint?: Located<string>;
  defaults: Settings & { range?: Range };
  rules: Rule[];
  budget?: Budget;
  /** As written; what is missing depends on the model. */
  preview?: Located<Partial<PreviewSettings>>;
  calibration?: Located<Partial<CalibrationSettings>>;
  findings?: Located<Partial<Thresholds>>;
  loras?: LoraEntry[];
}

/** An adapter: its file as written, and how strong it is. */
export interface LoraEntry { path: Located<string>; scale: number; /** The whole entry. */ range: Range }

export interface ParsedConfig { config: QuantConfig; root: TreeNode | null; problems: ConfigProblem[] }

export const maxLoras = 32;

/** Over all rules. Every pattern meets every layer; beyond this, a keystroke would be felt. */
export const maxPatterns = 4096;

/** @param memory of the document, where it is being written: see pieces.ts */
export function parseConfig(document: TextDocument, memory?: PieceMemory): ParsedConfig {
  const { root, problems } = parseTree(document, memory);
  if (!root) {
    return { config: { defaults: {}, rules: [] }, root, problems: problems.length > 0 ? problems : validate(root) };
  }
  const config = readConfig(root);
  return { config, root, problems: [...problems, ...validate(root), ...settingConflicts(root), ...dropSurplusPatterns(config)] };
}

function dropSurplusPatterns(config: QuantConfig): ConfigProblem[] {
  const count = config.rules.reduce((sum, rule) => sum + rule.layers.length, 0);
  let left = maxPatterns;
  let first: Range | undefined;
  if (count > maxPatterns) {
    config.rules = config.rules.map((rule) => {
      first ??= rule.layers[left]?.range;
      const layers = rule.layers.slice(0, left);
      left -= layers.length;
      return { ...rule, layers };
    });
  }
  return first ? [{
    code: 'config/too-large', severity: 'error', range: first,
    message: `This config holds ${count} patterns; those from here on are left out, above the limit of ${maxPatterns}. Let a pattern such as "transformer_blocks.*.ff.**" stand for many layers.`,
  }] : [];
}

/** Reads what is well formed and passes over the rest: the schema has reported it. */
function readConfig(root: TreeNode): QuantConfig {
  const defaults = find(root, 'defaults');
  const rules = find(root, 'rules')?.value;
  const config: QuantConfig = {
    defaults: knownDefaults(defaults?.value),
    rules: rules?.kind === 'list' ? rules.items.filter((item) => item.kind === 'map').map(knownRule) : [],
  };
  const checkpoint = text(find(root, 'checkpoint')?.value);
  const budget = readBudget(find(root, 'budget')?.value);
  const preview = readPreview(find(root, 'preview')?.value);
  const calibration = readNumbers(find(root, 'calibration')?.value, ['trajectories', 'steps', 'rows', 'seed'], (value) => value >= 0);
  const findings = readNumbers(find(root, 'findings')?.value, thresholdKeys, (value, key) => value >= thresholdList[key].minimum && value <= (thresholdList[key].maximum ?? Infinity));
  const loras = readLoras(find(root, 'loras')?.value);
  return { ...config, ...(loras.length > 0 ? { loras } : {}), ...(checkpoint ? { checkpoint } : {}), ...(budget ? { budget } : {}), ...(preview ? { preview } : {}), ...(calibration ? { calibration } : {}), ...(findings ? { findings } : {}) };
}

/** What passes the schema; a value it refused is left out, and its default stands in. */
function readPreview(node: TreeNode | undefined): Located<Partial<PreviewSettings>> | undefined {
  if (node?.kind !== 'map') {
    return undefined;
  }
  const value: Partial<PreviewSettings> = {};
  for (const { key, value: written } of node.entries) {
    const scalar = written.kind === 'scalar' ? written.value : null;
    if (isOneOf(key, ['steps', 'seed', 'compareSteps', 'guidance', 'width', 'height', 'frames']) && typeof scalar === 'number' && scalar >= 0) {
      value[key] = scalar;
    } else if (key === 'decoder' && typeof scalar === 'string' && scalar.trim() !== '') {
      value.decoder = scalar;
    } else if (key === 'prompts' && written.kind === 'list') {
      value.prompts = written.items.flatMap((item) => text(item)?.value ?? []);
    } else if (key === 'mode' && isOneOf(scalar, ['forced', 'free'])) {
      value.mode = scalar;
    } else if (key === 'classes' && written.kind === 'list') {
      value.classes = written.items.flatMap((item) => (item.kind === 'scalar' && Number.isInteger(item.value) ? [item.value as number] : []));
    }
  }
  return { value, range: node.range };
}

/** Named numbers of a section; what the schema refuses is left out. */
function readNumbers<K extends string>(node: TreeNode | undefined, keys: readonly K[], accepts: (value: number, key: K) => boolean): Located<Partial<Record<K, number>>> | undefined {
  if (node?.kind !== 'map') {
    return undefined;
  }
  const value: Partial<Record<K, number>> = {};
  for (const { key, value: written } of node.entries) {
    if (isOneOf(key, keys) && written.kind === 'scalar' && typeof written.value === 'number' && accepts(written.value, key)) {
      value[key] = written.value;
    }
  }
  return { value, range: node.range };
}

function readLoras(node: TreeNode | undefined): LoraEntry[] {
  return (node?.kind === 'list' ? node.items : []).slice(0, maxLoras).flatMap((item) => {
    const path = text(find(item, 'path')?.value);
    const scale = find(item, 'scale')?.value;
    return path && path.value.trim() !== '' ? [{ path, scale: scale?.kind === 'scalar' && typeof scale.value === 'number' && Number.isFinite(scale.value) ? scale.value : 1, range: item.range }] : [];
  });
}

/** Of nodes that are as they were at the last keystroke: what is made of them is the same object again. */
const defaultsOf = new WeakMap<TreeNode, QuantConfig['defaults']>();
const knownRules = new WeakMap<MapNode, Rule>();
const knownConflicts = new WeakMap<TreeNode, ConfigProblem[]>();

const noDefaults: QuantConfig['defaults'] = {};

function knownDefaults(node: TreeNode | undefined): QuantConfig['defaults'] {
  if (!node) {
    return noDefaults;
  }
  const defaults = defaultsOf.get(node) ?? { ...readSettings(node), range: node.range };
  defaultsOf.set(node, defaults);
  return defaults;
}

function knownRule(node: MapNode, index: number): Rule {
  const known = knownRules.get(node);
  if (known) {
    // A rule came or went above: this one moves as its lines do (pieces.ts).
    known.index = index;
    known.name = nameOf(known.named, index);
    return known;
  }
  const rule = readRule(node, index);
  knownRules.set(node, rule);
  return rule;
}

function readRule(node: MapNode, index: number): Rule {
  const entry = find(node, 'layers');
  const layers = entry?.value;
  const items = layers?.kind === 'list' ? layers.items : layers ? [layers] : [];
  const named = text(find(node, 'name')?.value);
  return {
    index,
    name: nameOf(named, index),
    ...(named ? { named } : {}),
    layers: items.flatMap((item) => text(item) ?? []),
    range: node.range,
    layersRange: layers?.range ?? node.range,
    layersKey: entry?.keyRange ?? node.range,
    ...readSettings(node),
  };
}

function nameOf(named: Located<string> | undefined, index: number): string {
  return named?.value ?? `rule ${index + 1}`;
}

function readSettings(node: TreeNode | undefined): Settings {
  const settings: Settings = {};
  const scheme = readScheme(find(node, 'scheme')?.value);
  const method = readMethod(find(node, 'method')?.value);
  const keep = text(find(node, 'keep')?.value);
  if (scheme) {
    settings.scheme = scheme;
  }
  if (method) {
    settings.method = method;
  }
  if (keep && isOneOf(keep.value, ['original', 'bf16', 'fp16', 'fp32'])) {
    settings.keep = { value: keep.value, range: keep.range };
  }
  return settings;
}

function readScheme(node: TreeNode | undefined): Located<Scheme> | undefined {
  const value = schemeOf(text(node)?.value ?? '');
  return value && node ? { value, range: node.range } : undefined;
}

function readMethod(node: TreeNode | undefined): Located<MethodSettings> | undefined {
  const name = text(node) ?? text(find(node, 'name')?.value);
  if (!node || !name) {
    return undefined;
  }
  return { value: readMethodSettings(node, name.value), range: node.range };
}

const unitBytes: ReadonlyMap<string, number> = new Map(Object.entries({ B: 1, kB: 1e3, KB: 1e3, MB: 1e6, GB: 1e9, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 }));

/** Bytes of `6.9GB`, rounded down; NaN when this is no size. */
export function parseSize(text: string): number {
  const [, amount, unit = ''] = /^([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)$/.exec(text) ?? [];
  return Math.floor(Number(amount) * (unitBytes.get(unit) ?? NaN));
}

function readBudget(node: TreeNode | undefined): Budget | undefined {
  const size = find(node, 'size')?.value;
  const bits = find(node, 'bits')?.value;
  if (size?.kind === 'scalar') {
    const bytes = Number.isInteger(size.value) ? Number(size.value) : parseSize(String(size.value));
    return bytes >= 1 ? { value: { bytes }, range: size.range } : undefined;
  }
  return bits?.kind === 'scalar' && typeof bits.value === 'number' && bits.value > 0 ? { value: { bits: bits.value }, range: bits.range } : undefined;
}

/** `keep` says "do not quantize", scheme or method beside it the opposite; and keys of a method's parts that belong to another kind. */
function settingConflicts(root: TreeNode): ConfigProblem[] {
  const rules = find(root, 'rules')?.value;
  const nodes = [find(root, 'defaults')?.value, ...(rules?.kind === 'list' ? rules.items : [])];
  return nodes.flatMap((node) => {
    const known = node && knownConflicts.get(node);
    const found = known ?? conflictsOf(node);
    if (node && !known) {
      knownConflicts.set(node, found);
    }
    return found;
  });
}

function conflictsOf(node: TreeNode | undefined): ConfigProblem[] {
  const keep = find(node, 'keep');
  const other = find(node, 'scheme') ?? find(node, 'method');
  const foreign = foreignKeys(find(node, 'method')?.value);
  return keep && other ? [{
    code: 'config/keep-and-quantize', severity: 'error', range: other.keyRange,
    message: `"keep" leaves these layers unquantized, so "${other.key}" beside it has no effect. Remove one of the two.`,
  }, ...foreign] : foreign;
}

function text(node: TreeNode | undefined): Located<string> | undefined {
  return node?.kind === 'scalar' && typeof node.value === 'string' ? { value: node.value, range: node.range } : undefined;
}

function isOneOf<const T extends string>(value: unknown, list: readonly T[]): value is T {
  return (list as readonly unknown[]).includes(value);
}
