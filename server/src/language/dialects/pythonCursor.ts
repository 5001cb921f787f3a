/** Where the cursor stands in a config that is written in Python: in a text, behind the `=` of an argument, or where a name of an argument belongs. */
import { constructorOf } from '../../config/dialects/python/constructors';
import type { DialectFile } from '../../config/dialects/dialect';
import type { TreeNode } from '../../config/tree';
import { PythonSource } from '../../python/source';
import type { SyntaxNode } from '../../python/source';
import type { Cursor } from '../cursor';
import type { Step } from '../place';

const nothing = { hasColon: false, needsSpace: false, inFlow: true, needsComma: false, present: new Set<string>(), siblings: [] };

export function pythonCursorAt(file: DialectFile, offset: number): Cursor | undefined {
  return (file.root && inText(file, file.root, offset, [], [])) ?? inArguments(file, offset);
}

/** In a text, wherever it stands: a list may be assigned to a name first. */
function inText(file: DialectFile, node: TreeNode, offset: number, path: readonly Step[], siblings: readonly string[]): Cursor | undefined {
  if (node.kind === 'map') {
    return first(node.entries, ({ key, value }) => inText(file, value, offset, [...path, key], []));
  }
  if (node.kind === 'list') {
    return first(node.items, (item, i) => inText(file, item, offset, [...path, i], node.items.flatMap((other) => (other !== item && other.kind === 'scalar' && typeof other.value === 'string' ? [other.value] : []))));
  }
  const { document } = file;
  const [start, end] = [document.offsetAt(node.range.start), document.offsetAt(node.range.end)];
  const text = typeof node.value === 'string' ? document.getText(node.range) : '';
  const quote = text[0] === '"' || text[0] === '\'' ? text[0] : '';
  return quote && !text.startsWith(quote.repeat(3)) && offset > start && offset < end ? { ...nothing, kind: 'value', path: [...path], start, end, quote, typed: text.slice(1, offset - start), siblings: [...siblings] } : undefined;
}

function first<T, R>(all: readonly T[], look: (each: T, index: number) => R | undefined): R | undefined {
  for (const [index, each] of all.entries()) {
    const found = look(each, index);
    if (found !== undefined) {
      return found;
    }
  }
  return undefined;
}

/** Directly between the brackets of the call, not in what an argument holds. */
function inArguments({ document, part, root }: DialectFile, offset: number): Cursor | undefined {
  const text = document.getText();
  const source = new PythonSource(text);
  let node: SyntaxNode | null = source.root.resolveInner(offset, -1);
  while (node && !/^(?:ArgList|ArrayExpression|DictionaryExpression|TupleExpression|String|FormatString|Comment|LambdaExpression)$/.test(node.name)) {
    node = node.parent;
  }
  const call = node?.name === 'ArgList' ? node.parent : null;
  const isOwn = call?.firstChild && constructorOf(source.nameOf(call.firstChild)) && part && call.from === document.offsetAt(part.range.start);
  if (!isOwn || !node || offset <= node.from) {
    return undefined;
  }
  const [, name, , typed = ''] = /(?:([A-Za-z_]\w*)(\s*=\s*))?([A-Za-z_]\w*)?$/.exec(text.slice(node.from + 1, offset)) ?? [];
  const start = offset - typed.length;
  const end = offset + (/^\w*/.exec(text.slice(offset))?.[0].length ?? 0);
  if (name !== undefined) {
    return { ...nothing, kind: 'value', path: [...argumentsPath(root), name], start, end, quote: '', typed };
  }
  const before = text.slice(node.from, start).trimEnd();
  // The class says which method it is.
  const present = new Set(['quant_method', ...source.argumentsOf(call).flatMap((argument) => argument.name?.text ?? [])]);
  const hasColon = /^\s*=/.test(text.slice(end));
  return /[(,]$/.test(before) ? { ...nothing, kind: 'key', path: argumentsPath(root), start, end, quote: '', typed, present, hasColon, needsComma: /^\s*\w/.test(text.slice(end, end + 1000)) } : undefined;
}

/** To the arguments in the tree, which may lie inside of what their tool reads in a file. */
function argumentsPath(node: TreeNode | null): Step[] {
  const inner = node?.kind === 'map' ? node.entries.find(({ value }) => value.kind === 'map' && value.range === node.range) : undefined;
  return inner ? [inner.key, ...argumentsPath(inner.value)] : [];
}
