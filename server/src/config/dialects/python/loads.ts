/** `FluxTransformer2DModel.from_pretrained("…", quantization_config=…)`: what a config is handed to. */
import type { TextDocument } from 'vscode-languageserver-textdocument';
import type { Range } from '../../../protocol';
import type { PythonSource, SyntaxNode } from '../../../python/source';
import { rangeOf } from '../../tree';
import type { TreeNode } from '../../tree';
import { Values } from './values';

/** What a program loads, with a config or without. */
export interface ModelLoad {
  /** Dotted name of the class. */
  owner: string;
  /** As written: a folder, or the name of a model elsewhere. */
  path?: string;
  subfolder?: string;
  deviceMap?: TreeNode;
}

export interface Load extends ModelLoad {
  /** Of the argument. */
  range: Range;
  /** The expression that makes the config. */
  config: { from: number; to: number };
}

export function readLoads(source: PythonSource, document: TextDocument): Load[] {
  return source.calls.flatMap((call) => {
    const argument = source.argumentsOf(call).find(({ name }) => name?.text === 'quantization_config');
    const load = argument && loadOf(call, source, document);
    return argument && load ? [{ ...load, config: madeBy(argument.value, source), range: rangeOf(document, argument.name?.node.from ?? argument.value.from, argument.value.to) }] : [];
  });
}

/** undefined for calls that load nothing. */
export function loadOf(call: SyntaxNode, source: PythonSource, document: TextDocument): ModelLoad | undefined {
  const method = call.firstChild;
  const loads = method?.name === 'MemberExpression' && method.lastChild && /^from_(?:pretrained|single_file|config)$/.test(source.textOf(method.lastChild));
  const owner = loads && method.firstChild ? source.nameOf(method.firstChild) : undefined;
  if (owner === undefined) {
    return undefined;
  }
  const given = source.argumentsOf(call);
  const path = given.find(({ name, spread }) => (name ? name.text === 'pretrained_model_name_or_path' : spread === ''));
  const [folder, subfolder] = [textOf(path?.value, source, document), textOf(given.find(({ name }) => name?.text === 'subfolder')?.value, source, document)];
  const map = given.find(({ name }) => name?.text === 'device_map')?.value;
  return { owner, ...folder === undefined ? {} : { path: folder }, ...subfolder === undefined ? {} : { subfolder }, ...map ? { deviceMap: new Values(source, document, 'plain').read(map) } : {} };
}

/** What an expression says where that is a text. */
export function textOf(value: SyntaxNode | undefined, source: PythonSource, document: TextDocument): string | undefined {
  const read = value && new Values(source, document, 'plain').read(value);
  return read?.kind === 'scalar' && typeof read.value === 'string' ? read.value : undefined;
}

/** Follows names to the expression behind them. */
export function madeBy(node: SyntaxNode, source: PythonSource): SyntaxNode {
  let at = node;
  for (let steps = 0; steps < 8 && at.name === 'VariableName'; steps++) {
    const value = source.valueOf(at);
    if (!value) {
      break;
    }
    at = value;
  }
  return at;
}
