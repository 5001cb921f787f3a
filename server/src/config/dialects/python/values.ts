/** Expressions of Python → the tree that JSON and YAML give too. What cannot be read without running the program becomes null, and is counted. */
import type { TextDocument } from 'vscode-languageserver-textdocument';
import type { Range } from '../../../protocol';
import { numberOf, stringOf } from '../../../python/literals';
import { childrenOf } from '../../../python/source';
import type { PythonSource, SyntaxNode } from '../../../python/source';
import { rangeOf } from '../../tree';
import type { Entry, ListNode, MapNode, Scalar, TreeNode } from '../../tree';
import { constantOf, objects, parametersOf } from './constructors';

/** How dtypes, enums and calls are written: as texts and mappings, or in torchao's own grammar of `_type`, `_version` and `_data`. */
export type Grammar = 'plain' | 'torchao';

const maxDepth = 32;
const maxNodes = 20_000;

export class Values {
  /** Something was no literal. */
  open = false;
  /** Tuples among the lists. */
  readonly tuples = new Set<TreeNode>();
  /** Which call a mapping was. */
  readonly calls = new Map<TreeNode, SyntaxNode>();
  private nodes = 0;

  constructor(private readonly source: PythonSource, private readonly document: TextDocument, private readonly grammar: Grammar) {}

  read(node: SyntaxNode, depth = 0): TreeNode {
    if (depth > maxDepth || ++this.nodes > maxNodes) {
      return this.unknown(node);
    }
    switch (node.name) {
      case 'String': case 'FormatString': return this.scalar(node, stringOf(this.source.textOf(node)));
      case 'ContinuedString': return this.joined(node);
      case 'Number': return this.scalar(node, numberOf(this.source.textOf(node)));
      case 'Boolean': return this.scalar(node, this.source.textOf(node) === 'True');
      case 'None': return this.scalar(node, null);
      case 'ParenthesizedExpression': return this.inside(node, depth);
      case 'UnaryExpression': return this.negative(node);
      case 'BinaryExpression': return this.sum(node, depth);
      case 'ArrayExpression': case 'TupleExpression': case 'SetExpression': return this.list(node, depth);
      case 'DictionaryExpression': return this.dictionary(node, depth);
      case 'CallExpression': return this.call(node, depth);
      case 'VariableName': case 'MemberExpression': return this.named(node, depth);
      default: return this.unknown(node);
    }
  }

  /** The arguments of a call by the names of its parameters. */
  arguments(call: SyntaxNode, depth = 0): MapNode {
    const entries: Entry[] = [];
    const parameters = parametersOf(this.source.nameOf(call.firstChild as SyntaxNode));
    let position = 0;
    for (const { name, value, spread } of this.source.argumentsOf(call)) {
      const positional = name || spread ? undefined : parameters[position++];
      const read: TreeNode = objects.has(name?.text ?? positional ?? '') ? { kind: 'scalar', range: this.range(value), value: null } : this.read(value, depth + 1);
      if (spread === '**' && read.kind === 'map') {
        entries.push(...read.entries);
      } else if (name || positional !== undefined) {
        entries.push({ key: name?.text ?? positional ?? '', keyRange: this.range(name?.node ?? value), value: read });
      } else {
        this.open = true;
      }
    }
    const map: MapNode = { kind: 'map', range: this.range(call), entries };
    this.calls.set(map, call);
    return map;
  }

  range({ from, to }: SyntaxNode): Range {
    return rangeOf(this.document, from, to);
  }

  private unknown(node: SyntaxNode): TreeNode {
    this.open = true;
    return { kind: 'scalar', range: this.range(node), value: null };
  }

  private scalar(node: SyntaxNode, value: Scalar | undefined): TreeNode {
    return value === undefined ? this.unknown(node) : { kind: 'scalar', range: this.range(node), value };
  }

  private inside(node: SyntaxNode, depth: number): TreeNode {
    const inner = node.firstChild?.nextSibling;
    return inner ? this.read(inner, depth + 1) : this.unknown(node);
  }

  /** "a" "b" */
  private joined(node: SyntaxNode): TreeNode {
    const texts = childrenOf(node).map((each) => stringOf(this.source.textOf(each)));
    return this.scalar(node, texts.includes(undefined) ? undefined : texts.join(''));
  }

  private negative(node: SyntaxNode): TreeNode {
    const [sign, operand] = childrenOf(node);
    const value = operand?.name === 'Number' && sign && /^[-+]$/.test(this.source.textOf(sign)) ? numberOf(this.source.textOf(operand)) : undefined;
    return this.scalar(node, value === undefined || !sign || this.source.textOf(sign) === '+' ? value : -value);
  }

  /** Texts and lists can be added. */
  private sum(node: SyntaxNode, depth: number): TreeNode {
    const [left, operator, right] = childrenOf(node);
    if (!left || !right || !operator || this.source.textOf(operator) !== '+') {
      return this.unknown(node);
    }
    const [a, b] = [this.read(left, depth + 1), this.read(right, depth + 1)];
    if (a.kind === 'list' && b.kind === 'list') {
      return { kind: 'list', range: this.range(node), items: [...a.items, ...b.items] };
    }
    return this.scalar(node, a.kind === 'scalar' && b.kind === 'scalar' && typeof a.value === 'string' && typeof b.value === 'string' ? a.value + b.value : undefined);
  }

  private list(node: SyntaxNode, depth: number): TreeNode {
    const list: ListNode = { kind: 'list', range: this.range(node), items: [] };
    let spread = false;
    for (const child of childrenOf(node)) {
      if (child.name === '*') {
        spread = true;
      } else if (!/^(?:[()[\]{},]|Comment|⚠)$/.test(child.name)) {
        const item = this.read(child, depth + 1);
        if (spread && item.kind === 'list') {
          list.items.push(...item.items);
        } else {
          this.open ||= spread;
          list.items.push(item);
        }
        spread = false;
      }
    }
    if (node.name === 'TupleExpression') {
      this.tuples.add(list);
    }
    return list;
  }

  private dictionary(node: SyntaxNode, depth: number): TreeNode {
    const parts = childrenOf(node).filter(({ name }) => !/^(?:[{},:]|Comment|⚠)$/.test(name));
    const entries: Entry[] = [];
    while (parts.length > 0) {
      const [key, value] = parts.splice(0, 2) as [SyntaxNode, SyntaxNode | undefined];
      if (!value) {
        this.open = true;
      } else if (key.name === '**') {
        const spread = this.read(value, depth + 1);
        this.open ||= spread.kind !== 'map';
        entries.push(...spread.kind === 'map' ? spread.entries : []);
      } else {
        const named = this.read(key, depth + 1);
        if (named.kind === 'scalar' && named.value !== null) {
          entries.push({ key: String(named.value), keyRange: named.range, value: this.read(value, depth + 1) });
        }
      }
    }
    return { kind: 'map', range: this.range(node), entries };
  }

  private call(node: SyntaxNode, depth: number): TreeNode {
    const callee = node.firstChild;
    const name = callee ? this.source.nameOf(callee) : undefined;
    if (!callee || name === undefined) {
      return this.unknown(node);
    }
    const last = name.slice(name.lastIndexOf('.') + 1);
    const [first] = this.source.argumentsOf(node);
    if (/^(?:list|tuple|set|sorted|deepcopy|copy|OrderedDict)$/.test(last) && first && !first.name) {
      return this.read(first.value, depth + 1);
    }
    // Classes make parts of configs; what a function gives only a run knows, but for the ones that made torchao's configs once.
    if (!/^[A-Z]/.test(last) && last !== 'dict' && !(this.grammar === 'torchao' && name.startsWith('torchao.'))) {
      return this.unknown(node);
    }
    const fields = this.arguments(node, depth);
    return this.grammar === 'plain' || last === 'dict' ? fields : this.object(node, callee, last, fields);
  }

  /** A variable, a dtype of torch, a member of an enum, or a constant of a tool. */
  private named(node: SyntaxNode, depth: number): TreeNode {
    const value = node.name === 'VariableName' ? this.source.valueOf(node) : undefined;
    if (value) {
      this.open ||= this.source.isTouched(node);
      return this.read(value, depth + 1);
    }
    const dotted = this.source.nameOf(node);
    const constant = constantOf(dotted);
    if (constant !== undefined) {
      return this.scalar(node, constant);
    }
    const name = node.name === 'MemberExpression' ? dotted : undefined;
    const [, owner = '', last = ''] = /(?:^|\.)([^.]+)\.([^.]+)$/.exec(name ?? '') ?? [];
    const isDtype = owner === 'torch';
    const isMember = /^[A-Z]\w*$/.test(owner) && /^[A-Z][A-Z\d_]*$/.test(last); // of an enum
    if (!isDtype && !isMember) {
      return this.unknown(node);
    }
    return this.grammar === 'plain' ? this.scalar(node, isDtype ? last : last.toLowerCase()) : this.object(node, node, isDtype ? 'torch.dtype' : owner, this.scalar(node, last));
  }

  private object(node: SyntaxNode, at: SyntaxNode, type: string, data: TreeNode): TreeNode {
    const range = this.range(at);
    const map: MapNode = { kind: 'map', range: this.range(node), entries: [{ key: '_type', keyRange: range, value: { kind: 'scalar', range, value: type } }, { key: '_data', keyRange: range, value: data }] };
    const call = this.calls.get(data);
    if (call) {
      this.calls.set(map, call);
    }
    return map;
  }
}
