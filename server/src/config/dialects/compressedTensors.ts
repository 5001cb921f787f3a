/** compressed-tensors' `quantization_config`, and what llm-compressor's recipes share with it: groups of targets, a list to ignore, one matching rule. */
import type { Layer, Range } from '../../protocol';
import type { Located } from '../parse';
import { find } from '../tree';
import { kept, problem, quantized } from './dialect';
import type { Decision, Dialect, DialectEntry, DialectProblem, ParsedDialect, Treatment } from './dialect';
import { describeShare } from './evaluate';
import { Fields } from './fields';
import { regexOrProblem } from './patterns';
import { presets } from './compressedTensorsPresets';
import { checkArgs } from './quantizationArgs';
import { quantizationConfig, quantMethod } from './quantizationConfig';

const formats = ['dense', 'int-quantized', 'float-quantized', 'naive-quantized', 'pack-quantized', 'nvfp4-pack-quantized', 'mxfp4-pack-quantized', 'mxfp8-quantized', 'mixed-precision', 'marlin-24', 'sparse-bitmask', 'sparse-24-bitmask'];

/** Names before expressions before classes: the order in which compressed-tensors prefers the targets that take a module. */
type Way = 'name' | 'expression' | 'class';
const ways: readonly Way[] = ['name', 'expression', 'class'];
interface TargetEntry extends DialectEntry { ignored: boolean; way: Way }

export const compressedTensors: Dialect = {
  id: 'compressed-tensors', title: 'compressed-tensors',
  file: '`quantization_config` in `config.json` with `quant_method` `compressed-tensors`, or with `config_groups`',
  rule: '`re:` starts an expression for `re.match`, anchored at the start only; anything else is the whole name of a layer, or the name of a class or of one it derives from. Names win over expressions, expressions over classes, and `ignore` over all.',
  unmatched: 'Passed over without a word.',
  codes: ['ct/'],
  detect: (file) => quantMethod(file) === 'compressed-tensors' || find(quantizationConfig(file), 'config_groups') !== undefined,
  parse(file) {
    const problems: DialectProblem[] = [];
    const node = quantizationConfig(file);
    if (!node) {
      return { entries: [], otherwise: kept, unmatched: 'ignored', problems: file.problems };
    }
    const fields = new Fields(node, 'quantization_config', problems, file.document);
    const format = fields.text('format', formats);
    if (format === 'mixed-precision' && (fields.map('config_groups')?.node.entries.length ?? 0) < 2) {
      fields.report('ct/mixed', 'warning', fields.range('format'), 'mixed-precision is for several groups of different formats; there is one.');
    }
    return { ...readGroups(fields, problems), problems: [...file.problems, ...problems] };
  },
};

/** @param fields holds config_groups, ignore, and in recipes also targets and scheme. */
export function readGroups(fields: Fields, problems: DialectProblem[]): Omit<ParsedDialect, 'problems'> {
  const ignored = fields.names('ignore', true).map((name) => target(name, kept, true, problems));
  const groups = fields.map('config_groups');
  const sizes: { range: Range; group: number; entries: TargetEntry[] }[] = [];
  const targets = (groups?.node.entries ?? []).flatMap(({ key, keyRange, value }) => {
    if (value.kind === 'list') {
      const preset = readPreset(key, keyRange, fields);
      const entries = (groups?.names(key, true) ?? []).map((name) => target(name, preset.treatment, false, problems));
      sizes.push(...preset.group ? [{ range: keyRange, group: preset.group, entries }] : []);
      return entries;
    }
    const group = groups?.map(key);
    if (!group) {
      return [];
    }
    group.unknown(['targets', 'weights', 'input_activations', 'output_activations', 'format'], 'error', 'compressed-tensors refuses it.');
    group.mustHave('targets');
    const { treatment, groupSize } = readScheme(group);
    const entries = group.names('targets', true).map((name) => target(name, treatment, false, problems));
    sizes.push(...groupSize ? [{ range: group.map('weights')?.range('group_size') ?? keyRange, group: groupSize, entries }] : []);
    return entries;
  });
  const scheme = fields.scalar('scheme');
  if (typeof scheme === 'string') {
    const preset = readPreset(scheme, fields.range('scheme'), fields);
    const names = fields.has('targets') ? fields.names('targets', true) : [{ value: 'Linear', range: fields.range('scheme') }];
    const entries = names.map((name) => target(name, preset.treatment, false, problems));
    sizes.push(...preset.group ? [{ range: fields.range('scheme'), group: preset.group, entries }] : []);
    targets.push(...entries);
  }
  return {
    entries: [...targets, ...ignored], otherwise: kept, unmatched: 'ignored',
    decide: (_, taking) => decide(taking as readonly TargetEntry[]),
    traps: (checkpoint, decisions) => sizes.flatMap(({ range, group, entries }) => {
      const odd = decisions.filter(({ entry, layer }) => entries.some((each) => each === entry) && layer.inFeatures % group !== 0).map(({ layer }) => layer);
      return odd.length === 0 ? [] : [problem('ct/group-width', 'error', range,
        `Groups of ${group} do not divide the inputs of ${describeShare(odd, checkpoint)}, such as "${odd[0]?.name ?? ''}" (${odd[0]?.inFeatures ?? 0}): llm-compressor stops. Ignore them, or take another size.`)];
    }),
  };
}

/** An ignored layer is left alone whatever takes it. */
function decide(taking: readonly TargetEntry[]): Omit<Decision, 'layer'> {
  const ignored = taking.find((entry) => entry.ignored);
  const [best] = [...taking].sort((a, b) => ways.indexOf(a.way) - ways.indexOf(b.way));
  const entry = ignored ?? best ?? null;
  return { entry, treatment: entry?.treatment ?? kept };
}

/** `re:` starts an expression that is matched from the beginning of the name; otherwise the whole name, or the name of a module's class or of one it derives from. */
function target({ value, range }: Located<string>, treatment: Treatment, ignored: boolean, problems: DialectProblem[]): TargetEntry {
  const base = { text: value, range, treatment, ignored, isPath: false };
  if (value.startsWith('re:')) {
    const regex = regexOrProblem(value.slice(3), 'python', range, problems);
    return { ...base, way: 'expression', takes: ({ name }) => regex?.match(name) === true, elsewhere: !regex,
      ...(/^(?:\^|\.\*|\()/.test(value.slice(3)) ? {} : { matchesNothing: `The expression is matched from the beginning of the name: write "re:.*${value.slice(3)}" for anywhere.` }) };
  }
  const isClass = /^[A-Z]\w*$/.test(value);
  const linear = value === 'Linear' || value === 'Module' || value === 'LinearBase';
  return {
    ...base, way: isClass ? 'class' : 'name', isPath: !isClass, takes: ({ name }: Layer) => (isClass ? linear : name === value), elsewhere: isClass && !linear,
    ...(isClass ? {} : { matchesNothing: 'Without "re:" it is the whole name of a layer, or of a class: containers and parts of names take nothing.' }),
  };
}

function readPreset(name: string, range: Range, fields: Fields): { treatment: Treatment; group?: number } {
  const preset = presets[name.toUpperCase()];
  if (!preset) {
    fields.report('ct/preset', 'error', range, `"${name}" is no preset: ${Object.keys(presets).join(', ')}.`);
    return { treatment: quantized(name, null, null) };
  }
  const [weights, activations, group] = preset;
  return { treatment: weights === 16 && activations === 16 ? kept : quantized(name.toUpperCase(), weights, activations), ...(group ? { group } : {}) };
}

function readScheme(group: Fields): { treatment: Treatment; groupSize: number | undefined } {
  const [weights, inputs, outputs] = [group.map('weights'), group.map('input_activations'), group.map('output_activations')];
  const parts = { weights: weights && checkArgs(weights, 'weights'), inputs: inputs && checkArgs(inputs, 'activations') };
  if (outputs) {
    checkArgs(outputs, 'activations');
  }
  const [w, i] = [weights?.number('group_size'), inputs?.number('group_size')];
  if (inputs && w !== undefined && i !== undefined && w > 0 && i > 0 && w !== i) {
    inputs.report('ct/group-sizes', 'warning', inputs.range('group_size'), `Weights have groups of ${w}, activations of ${i}; kernels want the same.`);
  }
  if (!parts.weights && !parts.inputs) {
    return { treatment: kept, groupSize: undefined };
  }
  return {
    treatment: quantized([parts.weights && `${parts.weights.label} weights`, parts.inputs && `${parts.inputs.label} activations`].filter(Boolean).join(', '), parts.weights?.bits ?? 16, parts.inputs?.bits ?? 16),
    groupSize: w !== undefined && w > 0 ? w : undefined,
  };
}
