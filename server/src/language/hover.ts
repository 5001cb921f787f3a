/** What stands under the cursor: the language's own docs, and what a pattern, a layer or the budget amounts to in this checkpoint. */
import type { Hover, Position, Range } from 'vscode-languageserver-types';
import { stringify } from 'yaml';
import type { Rule } from '../config/parse';
import { find, toValue } from '../config/tree';
import { formatBytes } from '../config/resolve';
import type { Schema } from '../config/schema';
import { methods } from '../methods';
import { calibrated, checkpointHover, decided, layerHover, patternHover, planSize, ruleHover } from './hoverNumbers';
import type { Model } from './model';
import { listedValues, patternAt, placeAt, schemaAt } from './tree';
import type { Place } from './tree';
import { written } from './yamlText';

/** Of what an alias stands for. */
const maxLines = 20;

export function hover(model: Model, position: Position): Hover | null {
  const place = placeAt(model.parsed.root, position);
  if (!place) {
    return null;
  }
  const pattern = place.onKey ? undefined : patternAt(model, position);
  if (pattern && model.checkpoint) {
    const layer = model.checkpoint.layers.find((each) => each.name === pattern.pattern.value);
    return answer(layer ? layerHover(model, layer, model.checkpoint) : patternHover(model, pattern, model.checkpoint), pattern.pattern.range);
  }
  const alias = !place.onKey && /^\*[^\s*,[\]{}]+$/.exec(model.document.getText(place.range))?.[0];
  const parts = place.onKey ? keyDocs(place) : [...alias ? [standsFor(alias, place)] : [], ...valueDocs(place)];
  return answer([...parts, ...numbers(model, place)].join('\n\n'), place.range);
}

function answer(value: string, range: Range): Hover | null {
  return value === '' ? null : { contents: { kind: 'markdown', value }, range };
}

function keyDocs({ path }: Place): string[] {
  const schema = schemaAt(path);
  return schema ? [`**${path.filter((step) => typeof step === 'string').join('.')}**`, ...describe(schema)] : [];
}

function standsFor(alias: string, { node }: Place): string {
  return `\`${alias}\` stands for\n\n\`\`\`yaml\n${stringify(toValue(node)).trimEnd().split('\n').slice(0, maxLines).join('\n')}\n\`\`\``;
}

function describe(schema: Schema): string[] {
  const values = listedValues(schema);
  const explained = values.some(({ text }) => text !== undefined);
  const table = explained ? values.map(({ value, text }) => `- \`${value}\`: ${text ?? ''}`).join('\n')
    : values.length > 0 ? `One of ${codes(values.map(({ value }) => value))}.` : '';
  const fallback = schema.default === undefined ? '' : `Default: \`${written(schema.default)}\`.`;
  const examples = values.length === 0 && schema.examples ? `Examples: ${codes(schema.examples)}` : '';
  return [schema.description ?? '', table, fallback, examples].filter(Boolean);
}

function codes(values: readonly unknown[]): string {
  return values.map((value) => `\`${written(value)}\``).join(', ');
}

function valueDocs({ path, node }: Place): string[] {
  const schema = schemaAt(path);
  if (!schema || node.kind !== 'scalar') {
    return [];
  }
  const value = String(node.value);
  const method = path.at(-1) === 'method' || (path.at(-1) === 'name' && path.at(-2) === 'method') ? methods.get(value) : undefined;
  if (method) {
    return [`**${method.title}**`, method.summary, `Source: ${method.source}`];
  }
  const scheme = path.at(-1) === 'scheme' ? /^W(\d+)A(\d+)$/.exec(value) : null;
  if (scheme) {
    return [`**${value}**: ${side('weights', scheme[1])}, ${side('activations', scheme[2])}.`, 'Side data (scales, norms, codebooks) comes on top of these bits: the hints show the true average.'];
  }
  const listed = listedValues(schema).find((each) => each.value === value)?.text;
  return listed ? [`**${value}**: ${listed}`, schema.description ?? ''] : describe(schema);
}

function side(name: string, bits: string | undefined): string {
  return bits === '16' ? `${name} as they are` : `${bits ?? ''}-bit ${name}`;
}

/** What the plan makes of it. */
function numbers(model: Model, { path, onKey }: Place): string[] {
  if (path[0] === 'budget' && model.plan) {
    return [planSize(model.plan, model.parsed.config.budget?.value)];
  }
  if (path.length === 1 && path[0] === 'checkpoint' && model.checkpoint) {
    return [checkpointHover(model.checkpoint)];
  }
  if (onKey && path.length === 1 && path[0] === 'defaults' && model.plan) {
    const own = model.plan.layers.filter((layer) => layer.decidedBy?.rule === -1);
    return [`Decides ${own.length} of ${model.plan.layers.length} layers, ${formatBytes(own.reduce((sum, layer) => sum + layer.packedBytes, 0))} packed.`];
  }
  const [section, index] = path;
  // Items of the list that are no rules have no place among the rules.
  const rule = section === 'rules' ? ruleOf(model, index)?.index : -1;
  if (onKey && section === 'rules' && path.length === 3 && path[2] === 'layers' && model.checkpoint) {
    const written = ruleOf(model, index);
    return written ? [ruleHover(model, written, model.checkpoint)] : [];
  }
  if (!onKey && path.at(-1) === 'scheme' && model.plan && (section === 'rules' || section === 'defaults')) {
    return [decided(model.plan.layers.filter(({ decidedBy }) => decidedBy?.rule === rule))];
  }
  if ((!onKey && path.at(-1) === 'method') || path.at(-2) === 'method') {
    const plans = model.plan?.layers.filter(({ decidedBy }) => decidedBy?.rule === rule) ?? [];
    return calibrated(model, plans);
  }
  return [];
}

function ruleOf({ parsed: { root, config } }: Model, index: Place['path'][number] | undefined): Rule | undefined {
  const list = find(root, 'rules')?.value;
  const node = list?.kind === 'list' && typeof index === 'number' ? list.items[index] : undefined;
  return config.rules.find(({ range }) => range === node?.range);
}
