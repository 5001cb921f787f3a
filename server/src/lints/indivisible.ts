/** Groups and blocks that do not divide the width of a layer: the nearest sizes that do, for every layer the same settings reach. */
import { removeEntry, setValue } from '../config/edits';
import type { Edit } from '../config/edits';
import type { MethodSettings } from '../config/methodParts';
import type { Rule } from '../config/parse';
import { askedRecipe, recipeFor } from '../config/recipe';
import { find } from '../config/tree';
import type { LayerShape } from '../methods/widths';
import type { Granularity, Range, Recipe } from '../protocol';
import { fix, ruleAt, withFixes } from './lint';
import type { Remedy, Subject } from './lint';

/** One change of a method: what it is called, what it makes of the settings, and where it is written. */
interface Change { title: string; apply(settings: MethodSettings): MethodSettings; /** null takes a part away. */ parts: [part: string, keys: [key: string, value: string][] | string | null][] }

export const refused: Remedy<Subject> = (problem, subject) => {
  const { config, plan } = subject;
  const place = [undefined, ...config.rules].find((rule) => refusals(subject, rule).some(({ refusal, range }) => problem.message.startsWith(refusal) && (range ?? rule?.range ?? config.defaults.range) === problem.range));
  const recipe = askedRecipe(place ?? {}, config.defaults);
  if (!recipe) {
    const [key, value] = place?.method ?? config.defaults.method ? ['scheme', 'W4A4'] : ['method', 'orbitquant'];
    const index = place ? ruleAt(subject, place)?.index : undefined;
    return withFixes(fix(subject, `Add "${key}: ${value}"`, setValue(subject.document, subject.root, [...(index === undefined ? ['defaults'] : ['rules', index]), key], value)));
  }
  const owner = place?.method ? place : undefined;
  // All layers that the same `method` reaches: a size that serves one and breaks another is no remedy.
  const reached = plan.layers.flatMap((layer, index) => {
    const rule = config.rules[layer.decidedBy?.rule ?? -1];
    return (rule?.method ? rule : undefined) === owner && !rule?.keep ? [{ rule, shape: shapeOf(subject, index) }] : [];
  });
  const shapes = [...new Map(reached.map((each) => [`${each.rule?.index ?? -1} ${each.shape.inFeatures} ${each.shape.outFeatures} ${each.shape.role} ${each.shape.heads}`, each])).values()];
  const works = ({ apply }: Change): boolean => shapes.every(({ rule, shape }) => {
    const asked = owner?.method ?? config.defaults.method;
    const changed = asked && { method: { ...asked, value: apply(asked.value) } };
    return changed !== undefined && 'recipe' in (owner ? recipeFor({ ...rule, ...changed }, config.defaults, shape) : recipeFor(rule ?? {}, { ...config.defaults, ...changed }, shape));
  });
  const widths = [...new Set(shapes.map(({ shape }) => shape.inFeatures))];
  const method = (owner?.method ?? config.defaults.method)?.value;
  const found = [...changes(recipe, widths), ...(method ? removals(method) : [])].filter(works).slice(0, 4);
  return withFixes(found.flatMap((change) => fix(subject, change.title, edits(subject, owner, change))));
};

function refusals({ config, plan }: Subject, rule: Rule | undefined): { refusal: string; range: Range | undefined }[] {
  return plan.layers.flatMap(({ decidedBy }, index) => {
    if ((decidedBy?.rule ?? -1) !== (rule?.index ?? -1)) {
      return [];
    }
    const result = recipeFor(rule ?? {}, config.defaults, shapeOf({ plan }, index));
    return 'refusal' in result ? [result] : [];
  });
}

function shapeOf({ plan }: Pick<Subject, 'plan'>, index: number): LayerShape {
  const { inFeatures = 1, outFeatures = 1, role = 'other', heads = null } = plan.layers[index] ?? {};
  return { inFeatures, outFeatures, role, heads };
}

function changes({ weights, activations, rotate, permute, tail: asTail }: Recipe, widths: readonly number[]): Change[] {
  const divides = (group: Granularity): boolean => typeof group !== 'number' || widths.every((width) => width % group === 0);
  const sides = ([['weights', weights], ['activations', activations]] as const).flatMap(([side, quantizer]) => ((quantizer.kind === 'int' || quantizer.kind === 'float') && !divides(quantizer.group) ? [{ side, quantizer }] : []));
  const asked = sides[0]?.quantizer.group;
  const sized = (group: number | 'row'): Change => ({
    title: typeof group === 'number' ? `Use groups of ${group}` : 'Use one scale per row',
    apply: (settings) => sides.reduce<MethodSettings>((all, { side, quantizer }) => ({ ...all, [side]: { ...all[side], group, ...freed(quantizer) } }), settings),
    parts: sides.map(({ side, quantizer }) => [side, [...Object.entries(freed(quantizer)), ['group', String(group)]]]),
  });
  const block = (part: 'rotate' | 'permute', written: { block: number } & object) => (size: number): Change => ({
    title: `Use blocks of ${size}`, apply: (settings) => ({ ...settings, [part]: { ...written, block: size } }), parts: [[part, inline({ ...written, block: size })]],
  });
  const rpbh: Change = { title: 'Use "rotate: { kind: rpbh }"', apply: (settings) => ({ ...settings, rotate: { kind: 'rpbh', seed: 0 } }), parts: [['rotate', '{ kind: rpbh }']] };
  const tail: Change = { title: 'Add "tail: { fraction: 0.125 }"', apply: (settings) => ({ ...settings, tail: { fraction: 0.125, dtype: 'bf16' } }), parts: [['tail', '{ fraction: 0.125 }']] };
  return [
    ...(typeof asked === 'number' ? [...nearestDivisors(asked, widths).map(sized), sized('row')] : []),
    ...(rotate?.kind === 'outlier-aware' ? nearestDivisors(rotate.block, widths).map(block('rotate', rotate)) : []),
    ...(permute?.kind === 'zigzag' ? nearestDivisors(permute.block, widths).map(block('permute', permute)) : []),
    ...(rotate && rotate.kind !== 'pca' && rotate.kind !== 'rpbh' ? [rpbh] : []),
    ...(rotate?.kind === 'pca' && !asTail ? [tail] : []),
  ];
}

/** Settings that have no effect. */
function removals(method: MethodSettings): Change[] {
  return (['weights', 'activations', 'permute', 'lowRank', 'solver'] as const).filter((part) => method[part] !== undefined).map((part) => ({
    title: `Remove "${part}"`, apply: ({ [part]: _, ...settings }) => settings, parts: [[part, null]],
  }));
}

/** nvfp4, mxfp4 and mxfp8 have one size of groups; fp4 and fp8 are the same numbers with free ones. */
function freed(quantizer: Recipe['weights']): { format?: 'fp4' | 'fp8' } {
  return quantizer.kind === 'float' && quantizer.format !== 'fp4' && quantizer.format !== 'fp8' ? { format: quantizer.format === 'mxfp8' ? 'fp8' : 'fp4' } : {};
}

/** Sizes that divide every width: the largest power of two below what was asked for, then the nearest below and above. */
export function nearestDivisors(asked: number, widths: readonly number[]): number[] {
  const common = widths.reduce(greatestCommonDivisor, 0);
  const divisors = common > 1 ? [common] : [];
  for (let size = 2; size * size <= common; size++) {
    if (common % size === 0) {
      divisors.push(size, common / size);
    }
  }
  const sorted = [...new Set(divisors)].filter((size) => size !== asked).sort((a, b) => a - b);
  const power = sorted.findLast((size) => size < asked && (size & (size - 1)) === 0);
  const candidates = [power, sorted.findLast((size) => size < asked), sorted.find((size) => size > asked && size <= 4 * asked)];
  return [...new Set(candidates.flatMap((size) => size ?? []))];
}

function greatestCommonDivisor(a: number, b: number): number { return b === 0 ? a : greatestCommonDivisor(b, a % b); }

function inline(value: object): string { return `{ ${Object.entries(value).map(([key, each]) => `${key}: ${String(each)}`).join(', ')} }`; }

/** Into the method of the rule, or of `defaults`. */
function edits({ document, root }: Subject, owner: Rule | undefined, { parts }: Change): Edit[] | undefined {
  const rules = find(root, 'rules')?.value;
  const index = owner && rules?.kind === 'list' ? rules.items.findIndex((item) => item.range === owner.range) : -1;
  const method = find(owner && rules?.kind === 'list' ? rules.items[index] : find(root, 'defaults')?.value, 'method')?.value;
  const whole = (keys: [string, string][] | string | null): string => (keys === null ? '' : typeof keys === 'string' ? keys : `{ ${keys.map(([key, value]) => `${key}: ${value}`).join(', ')} }`);
  if (method?.kind === 'scalar') {
    const [from, to] = [document.offsetAt(method.range.start), document.offsetAt(method.range.end)];
    const name = document.getText().slice(from, to);
    return name.startsWith('*') ? undefined : [{ from, to, text: `{ name: ${name}, ${parts.map(([part, keys]) => `${part}: ${whole(keys)}`).join(', ')} }` }];
  }
  const path = [...(owner ? ['rules', index] : ['defaults']), 'method'];
  const all = parts.flatMap(([part, keys]): (Edit[] | undefined)[] => {
    const entry = find(method, part);
    if (keys === null) {
      return [entry && method?.kind === 'map' ? removeEntry(document, method, entry) : undefined];
    }
    return typeof keys !== 'string' && entry?.value.kind === 'map'
      ? keys.map(([key, value]) => setValue(document, root, [...path, part, key], value)) : [setValue(document, root, [...path, part], whole(keys))];
  });
  return !method || all.some((each) => !each) ? undefined : all.flatMap((each) => each ?? []);
}
