/** A file of another tool → the same in our language: what the tool does to every layer of a checkpoint, as few rules with patterns, and a list of what got lost. */
import { TextDocument } from 'vscode-languageserver-textdocument';
import type { Checkpoint, Layer, Lossy, Plan, Recipe } from '../../protocol';
import type { Decision } from '../dialects/dialect';
import type { LoadedDialect } from '../dialects/load';
import { keptAs } from '../dialects/recipes';
import { PatternIndex } from '../patterns/cover';
import { layerLines } from '../patterns/lines';
import { parseConfig } from '../parse';
import { resolvePlan } from '../resolve';
import { differences } from './compare';
import { lostFields } from './fields';
import { fitTo } from './fit';
import { ConversionError, layersPlace } from './lossy';
import { settingsOf } from './settings';

export interface Imported { text: string; plan: Plan; lossy: Lossy[] }

/** @param checkpointText the checkpoint as the config is to name it. @throws ConversionError without layers to decide about */
export function importDialect({ dialect, file, checkpoint, decisions, uncovered }: LoadedDialect, checkpointText: string): Imported {
  const packed = checkpoint?.problems.some(({ code }) => code === 'checkpoint/packed-weights') === true;
  if (!checkpoint || checkpoint.layers.length === 0 || packed) {
    throw new ConversionError(`${file.name}: ${!checkpoint ? 'no checkpoint says which layers its entries take' : packed ? `weights of ${checkpoint.path} are packed already, so only ${checkpoint.layers.length} layers can be seen` : `no layer can be seen in ${checkpoint.path}`}. Name the unquantized original: --checkpoint folder.`);
  }
  const [layers, lost] = recipesOf(decisions);
  const lossy = [...lostFields(dialect.id, file), ...lost];
  const text = textOf(layers, checkpoint, checkpointText, `Imported from ${file.name} (${dialect.title}).`, lossy, uncovered.treatment.label);
  const parsed = parseConfig(TextDocument.create('', 'quantconfig', 1, text));
  const plan = resolvePlan(parsed.config, checkpoint);
  requireSame(plan, layers, [...parsed.problems, ...plan.problems].find(({ severity }) => severity === 'error')?.message);
  return { text, plan, lossy };
}

interface Decided { layer: Layer; recipe: Recipe; decision: Decision }

/** Every layer with its recipe, and what that does not do as the tool does. */
function recipesOf(decisions: readonly Decision[]): [Decided[], Lossy[]] {
  const lossy = new Map<string, { layers: Layer[]; what: string; why: string }>();
  const lose = (layer: Layer, what: string, why: string): void => {
    const key = `${what}\n${why}`;
    lossy.set(key, { what, why, layers: [...lossy.get(key)?.layers ?? [], layer] });
  };
  const decided = decisions.map((decision): Decided => {
    const { layer, treatment: { kind, label, recipe, near } } = decision;
    if (kind === 'keep') {
      return { layer, decision, recipe: recipe ?? keptAs('original').recipe };
    }
    if (!recipe) {
      lose(layer, label, 'the file does not say how these layers are quantized, or nothing here is like it; they are kept');
      return { layer, decision, recipe: keptAs('original').recipe };
    }
    const fitted = fitTo(layer, recipe);
    if ('refusal' in fitted) {
      lose(layer, label, `cannot be on these layers, which are kept: ${fitted.refusal}`);
      return { layer, decision, recipe: keptAs('original').recipe };
    }
    [...near ?? [], ...fitted.changes].forEach((why) => lose(layer, label, why));
    return { layer, decision, recipe: fitted.recipe };
  });
  return [decided, [...lossy.values()].map(({ layers, what, why }) => ({ place: layersPlace(layers), what, why }))];
}

function textOf(layers: readonly Decided[], checkpoint: Checkpoint, checkpointText: string, title: string, lossy: readonly Lossy[], otherwise: string): string {
  const index = new PatternIndex(checkpoint.layers.map(({ name }) => name));
  const [most, ...rest] = groupsOf(layers);
  const rules = rest.flatMap(({ members, recipe, title: name }, i) => {
    // What later rules decide, or the same recipe elsewhere, may be taken along.
    const allowed = new Set([...rest.slice(i + 1).flatMap((later) => later.members), ...rest.slice(0, i).filter((earlier) => earlier.key === rest[i]?.key).flatMap((earlier) => earlier.members)].map(({ layer }) => layer.name));
    const patterns = index.cover(new Set(members.map(({ layer }) => layer.name)), allowed);
    return [...originOf(members, otherwise).map((line) => `  # ${line}`), `  - name: ${/^[\w][\w ,.()-]*$/.test(name) && !/^[\d.]+$|^(?:true|false|null|yes|no|on|off)$/i.test(name) ? name : JSON.stringify(name)}`, ...layerLines(patterns).map((line) => `    ${line}`), ...linesOf(recipe).map((line) => `    ${line}`)];
  });
  return [
    `# ${title}`, ...(lossy.length > 0 ? ['# Not said here, or only nearly:', ...lossy.map(({ place, what, why }) => `#   ${oneLine(place)}: ${oneLine(what)}: ${oneLine(why)}`)] : []),
    'version: 1', `checkpoint: ${/^[\w./-]+$/.test(checkpointText) ? checkpointText : JSON.stringify(checkpointText)}`,
    ...(most ? [...originOf(most.members, otherwise).map((line) => `# ${line}`), `defaults: { ${linesOf(most.recipe).join(', ')} }`] : []),
    ...(rules.length > 0 ? ['rules:', ...rules] : []), '',
  ].join('\n');
}

interface Group { key: string; recipe: Recipe; title: string; members: Decided[] }

/** By recipe, and within it what the tool adds of its own apart; those with the most layers first. */
function groupsOf(layers: readonly Decided[]): Group[] {
  const groups = new Map<string, Group>();
  for (const each of layers) {
    const key = JSON.stringify(each.recipe);
    const { entry, treatment } = each.decision;
    const place = `${key}\n${entry?.builtin ?? ''}`;
    const group = groups.get(place) ?? { key, recipe: each.recipe, title: entry?.builtin === undefined ? treatment.label : `${treatment.label}: ${entry.builtin}`, members: [] };
    group.members.push(each);
    groups.set(place, group);
  }
  return [...groups.values()].sort((a, b) => b.members.length - a.members.length);
}

const shownEntries = 6;

/** Where the decision comes from, entry by entry. */
function originOf(members: readonly Decided[], otherwise: string): string[] {
  const entries = new Map<string, number>();
  for (const { decision: { entry, treatment } } of members) {
    const text = entry === null ? treatment.label === otherwise ? `what no entry takes (${otherwise})` : treatment.label : entry.builtin === undefined ? `line ${entry.range.start.line + 1}, ${JSON.stringify(entry.text)}` : `${JSON.stringify(entry.text)} of ${entry.builtin}`;
    entries.set(text, (entries.get(text) ?? 0) + 1);
  }
  const lines = [...entries].map(([text, count]) => `${oneLine(text)}: ${count} ${count === 1 ? 'layer' : 'layers'}`);
  return lines.length > shownEntries ? [...lines.slice(0, shownEntries - 1), `and ${lines.length - shownEntries + 1} more entries`] : lines;
}

function oneLine(text: string): string { return text.replace(/[\r\n\u2028\u2029\u0085]+/g, ' '); }

function linesOf(recipe: Recipe): string[] {
  return Object.entries(settingsOf(recipe)).map(([key, value]) => `${key}: ${String(value)}`);
}

/** The text says exactly what was decided; anything else would be a mistake of ours. */
function requireSame(plan: Plan, layers: readonly Decided[], broken: string | undefined): void {
  const read = new Map(plan.layers.map((layer) => [layer.name, layer.recipe]));
  const wrong = layers.find(({ layer, recipe }) => { const got = read.get(layer.name); return !got || differences(recipe, got, layer.tensor.dtype).length > 0; });
  if (broken !== undefined || wrong) {
    throw new Error(`The imported config would say something else: ${broken ?? wrong?.layer.name ?? ''}`);
  }
}
