/** Quantization configs in a Python file: one `DialectFile` for each call that makes one, as its tool would read it from a file of its own. */
import type { TextDocument } from 'vscode-languageserver-textdocument';
import type { Range } from '../../../protocol';
import { PythonSource } from '../../../python/source';
import type { SyntaxNode } from '../../../python/source';
import { find } from '../../tree';
import type { Entry, MapNode, TreeNode } from '../../tree';
import type { DialectFile } from '../dialect';
import { constructorOf } from './constructors';
import { readLoads } from './loads';
import type { Load, ModelLoad } from './loads';
import { subjectOf } from './subject';
import type { Subject } from './subject';
import { Values } from './values';

/** What the tree of a config in Python does not say. */
export interface PythonSection {
  /** The class, such as `BitsAndBytesConfig`; '' for a mapping. */
  name: string;
  /** Something in it can only be known by running the program. */
  open: boolean;
  /** Where it is handed to a model or a pipeline. */
  loads: readonly Load[];
  /** Everything that the file loads with a config. */
  allLoads: readonly ModelLoad[];
  /** Of the pipeline it quantizes, such as `transformer`, where the file says so. */
  components: readonly string[];
  /** Tuples in it: Python has them, JSON has not. */
  tuples: readonly Range[];
  /** Dotted names of the classes behind its values, for those that are calls. */
  classes: ReadonlyMap<TreeNode, string>;
  /** Of a call that quantizes a model itself: the model, and what else the file does with it. */
  subject?: Subject;
}

/** @param name base name of the file */
export function pythonSections(name: string, document: TextDocument): DialectFile[] {
  const source = new PythonSource(document.getText());
  const loads = readLoads(source, document);
  const mapped = componentsOf(source, document);
  const file = (root: MapNode, at: Range, section: PythonSection): DialectFile => ({ name, form: 'python', document, root, problems: [], part: { range: root.range, at }, python: section });
  return source.calls.flatMap((call) => {
    const callee = call.firstChild;
    const dotted = callee ? source.nameOf(callee) : undefined;
    const found = constructorOf(dotted);
    if (!found || !callee) {
      const recipe = dotted && /^modelopt\.torch\.quantization(?:\.\w+)?\.quantize$/.test(dotted) ? modeloptConfig(source, document, call, loads) : undefined;
      return recipe ? [file(recipe.root, recipe.root.range, recipe.section)] : [];
    }
    const { constructor, name: className } = found;
    const values = new Values(source, document, constructor.grammar);
    const at = values.range(callee);
    const read = values.arguments(call);
    const handed = loads.filter((load) => load.config.from === call.from && load.config.to === call.to);
    const components = [...mapped.get(call.from) ?? [], ...handed.flatMap(({ subfolder }) => subfolder ?? [])];
    const section = { name: className, open: values.open, loads: handed, allLoads: loads, components, ...detailsOf(values, source) };
    const key = (text: string, value: TreeNode): Entry => ({ key: text, keyRange: at, value });
    if (className === 'PipelineQuantizationConfig') {
      const short = shortForm(read, at);
      return [file(read, at, section), ...short ? [file(short, at, { ...section, loads: [], components: namesOf(find(read, 'components_to_quantize')?.value) })] : []];
    }
    if (constructor.quantizes !== undefined) {
      const subject = subjectOf(call, source, document);
      return [file(read, at, { ...section, subject, allLoads: [...subject.load ? [subject.load] : [], ...loads], components: subject.component === undefined ? [] : [subject.component] })];
    }
    if (constructor.method !== undefined) {
      const method = key('quant_method', { kind: 'scalar', range: at, value: constructor.method });
      return [file({ ...read, entries: [method, ...constructor.method === 'torchao' ? read.entries.map(underDefault) : read.entries] }, at, section)];
    }
    if (constructor.grammar === 'torchao') {
      // Inside of a TorchAoConfig it is a part of that one.
      return isInside(call, source) ? [] : [file({ ...read, entries: [key('_type', { kind: 'scalar', range: at, value: className }), key('_data', read)] }, at, section)];
    }
    return [file({ ...read, entries: [key(className, read)] }, at, section)];
  });
}

/** Which components of a pipeline the configs in `quant_mapping` are for, by the place of their calls. */
function componentsOf(source: PythonSource, document: TextDocument): ReadonlyMap<number, string[]> {
  const found = new Map<number, string[]>();
  for (const call of source.calls.filter(({ firstChild }) => firstChild && constructorOf(source.nameOf(firstChild))?.name === 'PipelineQuantizationConfig')) {
    const values = new Values(source, document, 'plain');
    const mapping = find(values.arguments(call), 'quant_mapping')?.value;
    for (const { key, value } of mapping?.kind === 'map' ? mapping.entries : []) {
      const made = values.calls.get(value);
      if (made) {
        found.set(made.from, [...found.get(made.from) ?? [], key]);
      }
    }
  }
  return found;
}

/** Of a text, or of a list of texts. */
export function namesOf(value: TreeNode | undefined): string[] {
  return (value?.kind === 'list' ? value.items : value ? [value] : []).flatMap((each) => (each.kind === 'scalar' && typeof each.value === 'string' ? [each.value] : []));
}

/** diffusers writes the one config of a TorchAoConfig under `default`. */
function underDefault(entry: Entry): Entry {
  const { value, keyRange } = entry;
  return entry.key === 'quant_type' && value.kind === 'map' ? { ...entry, value: { kind: 'map', range: value.range, entries: [{ key: 'default', keyRange, value }] } } : entry;
}

/** `quant_backend` and `quant_kwargs` of a PipelineQuantizationConfig as the backend gets them. */
function shortForm(pipeline: MapNode, at: Range): MapNode | undefined {
  const [backend, kwargs] = [find(pipeline, 'quant_backend'), find(pipeline, 'quant_kwargs')?.value];
  if (backend?.value.kind !== 'scalar' || typeof backend.value.value !== 'string' || kwargs?.kind !== 'map') {
    return undefined;
  }
  return { kind: 'map', range: kwargs.range, entries: [{ key: 'quant_method', keyRange: at, value: { ...backend.value, value: backend.value.value.replace(/_[48]bit$/, '') } }, ...kwargs.entries] };
}

/** The config that `mtq.quantize(model, config, …)` is given, where it is a mapping of the file. */
function modeloptConfig(source: PythonSource, document: TextDocument, call: SyntaxNode, allLoads: readonly Load[]): { root: MapNode; section: PythonSection } | undefined {
  const given = source.argumentsOf(call);
  const config = given.find(({ name }) => name?.text === 'config') ?? given.filter(({ name }) => !name)[1];
  const values = new Values(source, document, 'plain');
  const root = config && values.read(config.value);
  return config && root?.kind === 'map' && find(root, 'quant_cfg') ? { root, section: { name: '', open: values.open, loads: [], allLoads, components: [], ...detailsOf(values, source) } } : undefined;
}

function isInside(call: SyntaxNode, source: PythonSource): boolean {
  for (let outer = call.parent; outer; outer = outer.parent) {
    if (outer.name === 'CallExpression' && outer.firstChild && constructorOf(source.nameOf(outer.firstChild))?.name === 'TorchAoConfig') {
      return true;
    }
  }
  return false;
}

function detailsOf(values: Values, source: PythonSource): Pick<PythonSection, 'tuples' | 'classes'> {
  const classes = [...values.calls].map(([node, call]) => [node, (call.firstChild && source.nameOf(call.firstChild)) ?? ''] as const);
  return { tuples: [...values.tuples].map(({ range }) => range), classes: new Map(classes) };
}
