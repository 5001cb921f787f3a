/** A plan → the file of another tool, read back with that tool's own rules: what it would do to each layer is compared with the plan before anyone sees the text. */
import { TextDocument } from 'vscode-languageserver-textdocument';
import type { Checkpoint, LayerPlan, Lossy, Plan } from '../../protocol';
import { detectDialect, readDialectFile } from '../dialects';
import type { Decision } from '../dialects/dialect';
import { evaluate } from '../dialects/evaluate';
import { keptAs } from '../dialects/recipes';
import type { QuantConfig } from '../parse';
import { describeRecipe, differences, isKept } from './compare';
import type { Difference } from './compare';
import { fitTo } from './fit';
import { ConversionError, layersPlace } from './lossy';
import { unwritable, writers } from './writers';
import type { RecipeClass, Writer } from './writers/writer';

export interface Exported {
  text: string;
  writer: Writer;
  lossy: Lossy[];
  /** Of `lossy`: layers that the tool would keep instead of quantize or the reverse, with other bits or kinds of numbers, or without a part of their recipe. */
  grave: Lossy[];
}

/** @throws ConversionError for a dialect that is none, and for what it cannot say at all */
export function writerFor(id: string): Writer {
  const writer = writers.find((each) => each.id === id);
  if (!writer) {
    throw new ConversionError(unwritable[id] ?? `There is no dialect "${id}" to export to. Known: ${writers.map((each) => each.id).join(', ')}.`);
  }
  return writer;
}

export function exportPlan(id: string, plan: Plan, config: QuantConfig, checkpoint: Checkpoint): Exported {
  const writer = writerFor(id);
  const classes = classesOf(plan);
  const [quantized, kept] = [classes.filter(({ recipe }) => !isKept(recipe)), classes.filter(({ recipe }) => isKept(recipe))];
  const text = writer.write({ classes, quantized, kept, checkpoint });
  const { lossy, grave } = readBack(writer, text, plan, checkpoint);
  return { text, writer, lossy: [...sectionsLost(config, writer.dialect.title), ...lossy], grave };
}

function classesOf({ layers }: Plan): RecipeClass[] {
  const classes = new Map<string, RecipeClass>();
  for (const layer of layers) {
    // The name of a method is no part of what it does.
    const key = JSON.stringify({ ...layer.recipe, method: '' });
    const known = classes.get(key) ?? { recipe: layer.recipe, layers: [], params: 0 };
    known.layers.push(layer);
    known.params += layer.params;
    classes.set(key, known);
  }
  return [...classes.values()].sort((a, b) => b.params - a.params);
}

/** What the tool makes of the text, layer by layer, beside the plan. */
function readBack({ dialect, fileName }: Writer, text: string, plan: Plan, checkpoint: Checkpoint): { lossy: Lossy[]; grave: Lossy[] } {
  const file = readDialectFile(fileName, TextDocument.create(`file:///${fileName}`, 'plaintext', 1, text));
  const { decisions, problems } = evaluate(dialect.parse(file), checkpoint);
  const byName = new Map(decisions.map((decision) => [decision.layer.name, decision]));
  const found = new Map<string, { layers: LayerPlan[]; what: string; why: string; grave: boolean }>();
  const add = (layer: LayerPlan, what: string, why: string, isGrave: boolean): void => {
    const known = found.get(`${what}\n${why}`) ?? { layers: [], what, why, grave: isGrave };
    known.layers.push(layer);
    found.set(`${what}\n${why}`, known);
  };
  for (const layer of plan.layers) {
    const decision = byName.get(layer.name);
    const by = decision?.entry ? `${JSON.stringify(decision.entry.text)}${decision.entry.builtin ? ` (${decision.entry.builtin})` : ''}` : undefined;
    for (const { what, planned, read, grave } of differencesOf(layer, decision)) {
      add(layer, `${what}: ${planned}`, `${dialect.title} would read ${read}${what === 'treatment' && by ? `, by ${by}` : ''}`, grave);
    }
    (decision?.treatment.near ?? []).forEach((near) => add(layer, decision?.treatment.label ?? '', near, false));
  }
  const all = [...found.values()].map(({ layers, what, why, grave }) => ({ lossy: { place: layersPlace(layers), what, why }, grave }));
  const detected = detectDialect(file);
  const broken = problems.filter(({ severity }) => severity === 'error').map(({ message }) => ({ lossy: { place: dialect.title, what: 'the file', why: message }, grave: true }));
  const other = detected === dialect ? [] : [{ lossy: { place: 'the file', what: 'its kind', why: `QuantScope would read it as ${detected?.title ?? 'no file of a tool'}` }, grave: false }];
  return { lossy: [...all, ...broken, ...other].map(({ lossy }) => lossy), grave: [...all, ...broken].filter(({ grave }) => grave).map(({ lossy }) => lossy) };
}

function differencesOf(layer: LayerPlan, decision: Decision | undefined): Difference[] {
  const stored = layer.tensor.dtype;
  const treatment = decision?.treatment;
  const read = !treatment || treatment.kind === 'keep' ? treatment?.recipe ?? keptAs('original').recipe : treatment.recipe;
  if (!read || !decision) {
    return [{ what: 'treatment', planned: isKept(layer.recipe) ? 'kept' : describeRecipe(layer.recipe), read: `"${treatment?.label ?? ''}", which the file does not explain`, grave: true }];
  }
  const fitted = isKept(read) ? { recipe: read, changes: [] } : fitTo(decision.layer, read);
  return 'refusal' in fitted ? [{ what: 'treatment', planned: describeRecipe(layer.recipe), read: `${describeRecipe(read)}, which cannot be here: ${fitted.refusal}`, grave: true }] : differences(layer.recipe, fitted.recipe, stored);
}

/** Sections of ours that no other tool has. */
function sectionsLost({ budget, calibration, preview, findings, loras }: QuantConfig, title: string): Lossy[] {
  const why = `${title} has no such field`;
  return Object.entries({ budget, calibration, preview, findings, loras }).flatMap(([key, value]) => (value === undefined ? [] : [{ place: key, what: `the "${key}" section`, why }]));
}
