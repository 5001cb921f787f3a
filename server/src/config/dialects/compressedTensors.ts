/** compressed-tensors' `quantization_config`, and what llm-compressor's recipes share with it: groups of targets, a list to ignore, one matching rule. */
import { keepOriginal } from '../../methods/method';
import type { Range, Recipe } from '../../protocol';
import type { Located } from '../parse';
import { find } from '../tree';
import { kept, quantized } from './dialect';
import type { Dialect, DialectProblem, ParsedDialect, Treatment } from './dialect';
import { named } from './field';
import type { Field, FieldTable } from './field';
import { Fields } from './fields';
import { halfTraps } from './halves';
import { decideTargets, readTarget, targetRule as rule } from './compressedTensorsTargets';
import type { TargetEntry } from './compressedTensorsTargets';
import { presetDocs, presets } from './compressedTensorsPresets';
import { argsFields, checkArgs, columnsOf, quantizerOf } from './quantizationArgs';
import { inConfig, methodField, quantizationConfig, quantMethod } from './quantizationConfig';
import { equivalent, nearBoth } from './recipes';
import type { Equivalent } from './recipes';
import { widthTraps } from './sizes';
import { readTransforms, transformField } from './transformConfig';

const targets: Field = { type: 'names', names: rule, doc: 'Layers that this takes: names, `re:` expressions, or classes such as `Linear`.' };
const scheme: Field = {
  type: 'map', doc: 'Targets and how they are quantized. A list of targets under the name of a preset (`"W4A16": ["Linear"]`) does too.', source: 'compressed-tensors, `QuantizationScheme` and `QuantizationArgs` (2026-08)',
  fields: {
    targets: { ...targets, required: true }, weights: { type: 'map', fields: argsFields, doc: 'How weights are quantized; missing: not at all.' },
    input_activations: { type: 'map', fields: argsFields, doc: 'How inputs are quantized; missing: not at all.' }, output_activations: { type: 'map', fields: argsFields, doc: 'How outputs are quantized.' },
    format: { type: 'text', doc: 'How this group is packed.', open: true, values: {} },
  },
};

/** What a `quantization_config` and a modifier of llm-compressor share. */
export const groupFields: FieldTable = {
  config_groups: { type: 'map', doc: 'Groups of targets, each with its scheme.', values: { group_0: 'a group of your own', ...presetDocs }, each: { ...scheme, type: 'any', names: rule } },
  ignore: { type: 'names', names: rule, doc: 'Layers to leave alone, whatever takes them.' },
};

const section: Field = {
  type: 'map', doc: 'How compressed-tensors quantized this model.', source: 'compressed-tensors, `QuantizationConfig` (2026-08)',
  fields: {
    quant_method: methodField,
    format: {
      type: 'text', doc: 'How weights are packed.',
      values: {
        'pack-quantized': 'integer codes packed into int32', 'int-quantized': 'int8', 'float-quantized': 'float8', 'naive-quantized': 'codes as they are', 'nvfp4-pack-quantized': 'NVFP4', 'mxfp4-pack-quantized': 'MXFP4', 'mxfp8-quantized': 'MXFP8',
        'mixed-precision': 'a format for each group', dense: 'not packed', ...named('marlin-24', 'sparse-bitmask', 'sparse-24-bitmask'),
      },
    },
    ...groupFields,
    kv_cache_scheme: { type: 'map', fields: argsFields, doc: 'For keys and values that are kept.' }, quantization_status: { type: 'text', open: true, values: named('compressed', 'frozen'), doc: 'How far the model is.' },
    global_compression_ratio: { type: 'number', silent: true, doc: 'Written by the tool.' }, sparsity_config: { type: 'map', silent: true, doc: 'Of sparse weights.' },
    transform_config: transformField,
  },
};

export const compressedTensors: Dialect = {
  root: (file) => inConfig(file, section),
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
    const fields = new Fields(node, 'quantization_config', problems, file.document, section);
    const format = fields.text('format');
    if (format === 'mixed-precision' && (fields.map('config_groups')?.node.entries.length ?? 0) < 2) {
      fields.report('ct/mixed', 'warning', fields.range('format'), 'mixed-precision is for several groups of different formats; there is one.');
    }
    const groups = readGroups(fields, problems);
    const transforms = readTransforms(fields.map('transform_config'), problems);
    return {
      ...groups, entries: [...groups.entries, ...transforms.entries], problems: [...file.problems, ...problems],
      traps: (checkpoint, decisions) => [...groups.traps(checkpoint, decisions), ...transforms.traps(checkpoint)],
      trapsInside: ({ component, checkpoint }) => halfTraps({ first: 'low', tool: 'compressed-tensors', layerOf: ({ name }) => /^(.+)\.weight_packed$/.exec(name)?.[1] }, component, checkpoint, fields.range('format')),
    };
  },
};

type Groups = Omit<ParsedDialect, 'problems' | 'entries' | 'traps'> & { entries: TargetEntry[]; traps: NonNullable<ParsedDialect['traps']> };

/** How a modifier finds codes, and what is near about that. */
export interface Solving { parts: Partial<Recipe>; near: readonly string[] }

/** @param fields holds config_groups, ignore, and in recipes also targets and scheme. @param holder tells the entries of several modifiers apart. */
export function readGroups(fields: Fields, problems: DialectProblem[], holder = 0, solving: Solving = { parts: {}, near: [] }): Groups {
  const target = (name: Located<string>, treatment: Treatment, ignored: boolean): TargetEntry => ({ ...readTarget(name, problems), treatment, ignored, holder });
  const ignored = fields.names('ignore', true).map((name) => target(name, kept, true));
  const groups = fields.map('config_groups');
  const sizes: (Sizes & { entries: TargetEntry[] })[] = [];
  const targets = (groups?.node.entries ?? []).flatMap(({ key, keyRange, value }) => {
    if (value.kind === 'list') {
      const preset = readPreset(key, keyRange, fields, solving);
      const entries = (groups?.names(key, true) ?? []).map((name) => target(name, preset.treatment, false));
      sizes.push({ ...preset.sizes, entries });
      return entries;
    }
    const group = groups?.map(key);
    if (!group) {
      return [];
    }
    group.check('error', 'compressed-tensors refuses it.');
    const { treatment, sizes: own } = readScheme(group, keyRange, solving);
    const entries = group.names('targets', true).map((name) => target(name, treatment, false));
    sizes.push({ ...own, entries });
    return entries;
  });
  for (const { name, range, of } of schemes(fields)) {
    const preset = readPreset(name, range, fields, solving);
    const entries = of.map((each) => target(each, preset.treatment, false));
    sizes.push({ ...preset.sizes, entries });
    targets.push(...entries);
  }
  const checked = fields.flag('bypass_divisibility_checks') !== true;
  return {
    entries: [...targets, ...ignored], otherwise: kept, unmatched: 'ignored',
    decide: (_, taking) => decideTargets(taking as readonly TargetEntry[]),
    traps: (checkpoint, decisions) => sizes.flatMap(({ range, group, columns, entries }) => {
      const layers = decisions.filter(({ entry }) => entries.some((each) => each === entry)).map(({ layer }) => layer);
      return [...group === undefined || !checked ? [] : widthTraps('ct/group-width', range, group, layers, checkpoint, 'llm-compressor stops. Ignore them, or take another size.'),
        ...columns === undefined ? [] : widthTraps('ct/block-width', range, columns, layers, checkpoint,
          'nothing checks blocks before the run. They are filled up with a line in the log, and vLLM\'s kernels for blocks want inputs that divide. Ignore these layers, or take another size.', 'warning', 'Blocks')];
    }),
  };
}

/** A preset's name for the targets, or a mapping of such names to targets of their own. */
function schemes(fields: Fields): { name: string; range: Range; of: Located<string>[] }[] {
  const scheme = fields.value('scheme');
  if (scheme?.kind === 'map') {
    const each = fields.inner(scheme, 'scheme');
    return scheme.entries.map(({ key, keyRange }) => ({ name: key, range: keyRange, of: each.names(key, true) }));
  }
  const name = fields.text('scheme');
  return name === undefined ? [] : [{ name, range: fields.range('scheme'), of: fields.has('targets') ? fields.names('targets', true) : [{ value: 'Linear', range: fields.range('scheme') }] }];
}

/** What shares a scale along the inputs: a group, or a block of several rows. */
interface Sizes { range: Range; group?: number | undefined; columns?: number | undefined }

function readPreset(name: string, range: Range, fields: Fields, solving: Solving): { treatment: Treatment; sizes: Sizes } {
  const preset = presets[name.toUpperCase()];
  if (!preset) {
    fields.report('ct/preset', 'error', range, `"${name}" is no preset: ${Object.keys(presets).join(', ')}.`);
    return { treatment: quantized(name, null, null), sizes: { range } };
  }
  const { weights, activations, group, columns, as } = preset;
  return { treatment: as ? quantized(name.toUpperCase(), weights, activations, solved(as, solving)) : kept, sizes: { range, group, columns } };
}

/** Codes found as the modifier says. */
function solved({ recipe, near }: Equivalent, solving: Solving): Equivalent {
  return equivalent(recipe.weights, recipe.activations, nearBoth(near, solving.near), solving.parts);
}

/** @param range of the group's name */
function readScheme(group: Fields, range: Range, solving: Solving): { treatment: Treatment; sizes: Sizes } {
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
    return { treatment: kept, sizes: { range } };
  }
  return {
    treatment: quantized([parts.weights && `${parts.weights.label} weights`, parts.inputs && `${parts.inputs.label} activations`].filter(Boolean).join(', '), parts.weights?.bits ?? 16, parts.inputs?.bits ?? 16, schemeRecipe(weights, inputs, solving)),
    sizes: weights ? sizesOf(weights, w) : { range },
  };
}

function sizesOf(weights: Fields, group: number | undefined): Sizes {
  const columns = weights.scalar('strategy') === 'block' ? columnsOf(weights) : undefined;
  return columns === undefined ? { range: weights.range('group_size'), group: group !== undefined && group > 0 ? group : undefined } : { range: weights.range('block_structure'), columns };
}

function schemeRecipe(weights: Fields | undefined, inputs: Fields | undefined, solving: Solving): Equivalent | undefined {
  const [w, i] = [weights && quantizerOf(weights, 'weights'), inputs && quantizerOf(inputs, 'activations')];
  return (weights && !w) || (inputs && !i) ? undefined : solved(equivalent(w?.quantizer ?? keepOriginal, i?.quantizer ?? keepOriginal, nearBoth(w?.near, i?.near)), solving);
}
