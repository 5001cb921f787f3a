/** `FluxTransformer2DModel.from_pretrained("…", quantization_config=…)`: what a config is handed to. */
import type { TextDocument } from 'vscode-languageserver-textdocument';
import type { Range } from '../../../protocol';
import type { PythonSource, SyntaxNode } from '../../../python/source';
import { rangeOf } from '../../tree';
import type { TreeNode } from '../../tree';
import { Values } from './values';

export interface Load {
  /** Dotted name of the class. */
  owner: string;
  /** Of the argument. */
  range: Range;
  /** The expression that makes the config. */
  config: { from: number; to: number };
  /** As written: a folder, or the name of a model elsewhere. */
  path?: string;
  subfolder?: string;
  deviceMap?: TreeNode;
}

export function readLoads(source: PythonSource, document: TextDocument): Load[] {
  return source.calls.flatMap((call) => {
    const method = call.firstChild;
    const given = method?.name === 'MemberExpression' && method.lastChild && /^from_(?:pretrained|single_file|config)$/.test(source.textOf(method.lastChild)) ? source.argumentsOf(call) : [];
    const argument = given.find(({ name }) => name?.text === 'quantization_config');
    const owner = method?.firstChild && source.nameOf(method.firstChild);
    if (!argument || !owner) {
      return [];
    }
    const config = madeBy(argument.value, source);
    const path = given.find(({ name, spread }) => (name ? name.text === 'pretrained_model_name_or_path' : spread === ''));
    const text = (value: SyntaxNode | undefined): string | undefined => {
      const read = value && new Values(source, document, 'plain').read(value);
      return read?.kind === 'scalar' && typeof read.value === 'string' ? read.value : undefined;
    };
    const [folder, subfolder] = [text(path?.value), text(given.find(({ name }) => name?.text === 'subfolder')?.value)];
    const map = given.find(({ name }) => name?.text === 'device_map')?.value;
    return [{
      owner, config, range: rangeOf(document, argument.name?.node.from ?? argument.value.from, argument.value.to),
      ...folder === undefined ? {} : { path: folder }, ...subfolder === undefined ? {} : { subfolder }, ...map ? { deviceMap: new Values(source, document, 'plain').read(map) } : {},
    }];
  });
}

/** Follows names to the call. */
function madeBy(node: SyntaxNode, source: PythonSource): SyntaxNode {
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
