/** What a call such as `quantize(transformer, …)` or `AutoRound("flux", …)` quantizes, and what becomes of it later in the same file. */
import type { TextDocument } from 'vscode-languageserver-textdocument';
import type { Range } from '../../../protocol';
import type { PythonSource, SyntaxNode } from '../../../python/source';
import { rangeOf } from '../../tree';
import { loadOf, madeBy, textOf } from './loads';
import type { ModelLoad } from './loads';

export interface Subject {
  /** Of the argument. */
  range: Range;
  /** undefined where the file does not say. */
  kind: 'pipeline' | 'model' | undefined;
  load: ModelLoad | undefined;
  /** Of the pipeline it is one of, such as `transformer`. */
  component: string | undefined;
  /** Dotted name of what is called: a function, or the method of a class. */
  callee: string;
  /** Dotted names of functions that the file hands the same model to. */
  handedTo: ReadonlySet<string>;
  /** Dotted names of everything that the file calls. */
  called: ReadonlySet<string>;
  /** Methods that are called on what the call gives. */
  methods: readonly Method[];
}

interface Method { name: string; call: SyntaxNode; source: PythonSource }

/** @param call whose first argument, or `model`, is the model */
export function subjectOf(call: SyntaxNode, source: PythonSource, document: TextDocument): Subject {
  const argument = modelOf(call, source);
  const uses = usesOf(source);
  const { from, to } = argument ?? call;
  return {
    range: rangeOf(document, from, to), callee: nameOfCallee(call, source), called: uses.called, methods: uses.methods.get(place(call)) ?? [],
    ...argument ? modelBehind(argument, source, document) : { kind: undefined, load: undefined, component: undefined },
    handedTo: new Set(argument && keysOf(argument, source).flatMap((key) => [...uses.handedTo.get(key) ?? []])),
  };
}

/** What a file calls: once for all of its configs. */
interface Uses { called: Set<string>; handedTo: Map<string, Set<string>>; methods: Map<string, Method[]> }
const known = new WeakMap<PythonSource, Uses>();

function usesOf(source: PythonSource): Uses {
  const uses: Uses = known.get(source) ?? { called: new Set(), handedTo: new Map(), methods: new Map() };
  if (!known.has(source)) {
    known.set(source, uses);
    source.calls.forEach((call) => { note(call, source, uses); });
  }
  return uses;
}

function note(call: SyntaxNode, source: PythonSource, { called, handedTo, methods }: Uses): void {
  const name = nameOfCallee(call, source);
  called.add(name);
  const model = modelOf(call, source);
  for (const key of model ? keysOf(model, source) : []) {
    handedTo.set(key, (handedTo.get(key) ?? new Set()).add(name));
  }
  const callee = call.firstChild;
  const [object, method] = callee?.name === 'MemberExpression' ? [callee.firstChild, callee.lastChild] : [];
  if (object && method) {
    const key = place(madeBy(object, source));
    methods.set(key, [...methods.get(key) ?? [], { name: source.textOf(method), call, source }]);
  }
}

function nameOfCallee({ firstChild }: SyntaxNode, source: PythonSource): string {
  return (firstChild && source.nameOf(firstChild)) ?? '';
}

function modelOf(call: SyntaxNode, source: PythonSource): SyntaxNode | undefined {
  const given = source.argumentsOf(call);
  return (given.find(({ name }) => name?.text === 'model') ?? given.find(({ name, spread }) => !name && spread === ''))?.value;
}

function place({ from, to }: SyntaxNode): string {
  return `${from}–${to}`;
}

/** Two expressions are the same model where one of these is: what made them, how they are written (nothing else is known of them in a loop), or the component they stand for. */
function keysOf(node: SyntaxNode, source: PythonSource): string[] {
  const made = madeBy(node, source);
  return [place(made), source.textOf(node), ...made.name === 'MemberExpression' ? [source.textOf(made)] : []];
}

function modelBehind(argument: SyntaxNode, source: PythonSource, document: TextDocument): Pick<Subject, 'kind' | 'load' | 'component'> {
  const made = madeBy(argument, source);
  const load = loadBehind(made, source, document);
  if (load) {
    return { kind: isPipeline(load) ? 'pipeline' : 'model', load, component: isPipeline(load) ? undefined : load.subfolder ?? (load.owner.startsWith('transformers.') ? 'text_encoder' : undefined) };
  }
  const [object, attribute] = made.name === 'MemberExpression' ? [made.firstChild, made.lastChild] : [];
  if (object && attribute) {
    const component = source.textOf(attribute);
    const whole = loadBehind(object, source, document);
    return { kind: 'model', component, load: whole && isPipeline(whole) ? { ...whole, subfolder: component } : undefined };
  }
  const path = textOf(made, source, document);
  const name = source.textOf(argument);
  return { kind: undefined, load: path === undefined ? undefined : { owner: '', path }, component: /^(?:text|image)_encoder|^vae/.test(name) ? name : undefined };
}

function loadBehind(node: SyntaxNode, source: PythonSource, document: TextDocument): ModelLoad | undefined {
  const made = madeBy(node, source);
  return made.name === 'CallExpression' ? loadOf(made, source, document) : undefined;
}

function isPipeline({ owner }: ModelLoad): boolean {
  return /Pipeline$|\.AutoPipelineFor\w+$/.test(owner);
}
