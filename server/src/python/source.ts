/**
 * Python source as far as it can be understood without running it: imports, assignments and calls, whatever stands around them. Nothing is ever executed, and no
 * other file is read.
 */
import type { SyntaxNode } from '@lezer/common';
import { parsePython } from './parse';

export type { SyntaxNode } from '@lezer/common';

/** Of an argument list; `name` for keywords. `spread`: behind `*` or `**`. */
export interface Argument { name: { text: string; node: SyntaxNode } | undefined; value: SyntaxNode; spread: '' | '*' | '**' }

const changing = /^(?:append|extend|insert|remove|pop|clear|update|setdefault|add|discard)$/;

interface Assignment { name: string; value: SyntaxNode | undefined; scope: number; at: number }

export class PythonSource {
  readonly root: SyntaxNode;
  /** In the order of their first character: a call before those in its arguments. */
  readonly calls: SyntaxNode[] = [];
  /** Imported names, dotted, each where it stands. */
  readonly imported: { name: string; node: SyntaxNode }[] = [];
  private readonly imports = new Map<string, string>();
  /** Packages of `from package import *`. */
  private readonly stars: string[] = [];
  private readonly assignments = new Map<string, Assignment[]>();
  /** Names of which a part is changed somewhere: `a["b"] = c`, `a.append(b)`. */
  private readonly touched = new Set<string>();

  constructor(readonly text: string) {
    this.root = parsePython(text).topNode;
    this.root.cursor().iterate(({ name, node }) => {
      switch (name) {
        case 'CallExpression': this.calls.push(node); this.touch(node.firstChild, changing); break;
        case 'ImportStatement': this.import(node); break;
        case 'AssignStatement': this.assign(node); this.touch(node.firstChild); break;
        case 'UpdateStatement': case 'ForStatement': case 'ParamList': case 'WithStatement': this.change(node); break;
      }
    });
  }

  textOf({ from, to }: SyntaxNode): string {
    return this.text.slice(from, to);
  }

  /**
   * The dotted name behind an expression, through the imports: of `q.PerRow` behind `import torchao.quantization as q` it is `torchao.quantization.PerRow`.
   * undefined for anything but names and attributes.
   */
  nameOf(node: SyntaxNode): string | undefined {
    if (node.name === 'VariableName') {
      const text = this.textOf(node);
      return this.imports.get(text) ?? (this.stars.length === 1 ? `${this.stars[0] ?? ''}.${text}` : text);
    }
    const [object, attribute] = [node.firstChild, node.lastChild];
    const owner = node.name === 'MemberExpression' && object && attribute?.name === 'PropertyName' ? this.nameOf(object) : undefined;
    return owner === undefined || !attribute ? undefined : `${owner}.${this.textOf(attribute)}`;
  }

  /**
   * What a name stands for at a place: the last assignment before it in its own function, or else the module's. undefined where that is no plain assignment, or where the
   * name is changed in another way.
   */
  valueOf(node: SyntaxNode): SyntaxNode | undefined {
    const all = this.assignments.get(this.textOf(node)) ?? [];
    const scope = scopeOf(node);
    const inside = all.filter((each) => each.scope === scope && each.at < node.from);
    const found = inside.length > 0 || scope === 0 ? inside : all.filter((each) => each.scope === 0);
    return found.at(-1)?.value;
  }

  /** What stands in its assignment is not all: some of it is changed later. */
  isTouched(node: SyntaxNode): boolean {
    return this.touched.has(this.textOf(node));
  }

  argumentsOf(call: SyntaxNode): Argument[] {
    const found: Argument[] = [];
    let name: Argument['name'];
    let spread: Argument['spread'] = '';
    for (let child = call.getChild('ArgList')?.firstChild ?? null; child; child = child.nextSibling) {
      if (child.name === '*' || child.name === '**') {
        spread = child.name;
      } else if (child.name === 'VariableName' && child.nextSibling?.name === 'AssignOp') {
        name = { text: this.textOf(child), node: child };
      } else if (!/^(?:[(),]|AssignOp|Comment|⚠)$/.test(child.name)) {
        found.push({ name, value: child, spread });
        [name, spread] = [undefined, ''];
      }
    }
    return found;
  }

  private import(node: SyntaxNode): void {
    const words = childrenOf(node).filter(({ name }) => name !== 'Comment' && name !== '⚠');
    const at = words.findIndex(({ name }) => name === 'import');
    const owner = words[0]?.name === 'from' ? words.slice(1, at).map((each) => this.textOf(each)).join('') : undefined;
    // Each runs to the next comma: `a.b as c`.
    let parts: SyntaxNode[] = [];
    const take = (): void => {
      const as = parts.findIndex(({ name }) => name === 'as');
      const dotted = parts.slice(0, as < 0 ? undefined : as);
      const [text, local] = [dotted.map((each) => this.textOf(each)).join(''), as < 0 ? undefined : parts[as + 1]];
      const [first] = dotted;
      parts = [];
      if (owner !== undefined && text === '*') {
        this.stars.push(owner);
      } else if (first) {
        const name = owner === undefined ? text : `${owner}.${text}`;
        this.imported.push({ name, node: first });
        const own = text.split('.')[0] ?? '';
        this.imports.set(local ? this.textOf(local) : own, local || owner !== undefined ? name : own);
      }
    };
    for (const word of words.slice(at + 1)) {
      if (word.name === ',') {
        take();
      } else if (word.name !== '(' && word.name !== ')') {
        parts.push(word);
      }
    }
    take();
  }

  /** `a = b = value`, `a: type = value`. Of `a, b = …` nothing is known. */
  private assign(node: SyntaxNode): void {
    const parts = childrenOf(node).filter(({ name }) => name !== 'TypeDef' && name !== 'Comment');
    const targets = parts.filter((_, i) => parts[i + 1]?.name === 'AssignOp');
    const value = parts.at(-1);
    const plain = !parts.some(({ name }) => name === ',' || name === '⚠') && value?.name !== 'AssignOp';
    for (const target of plain ? targets : parts) {
      if (target.name === 'VariableName') {
        this.note(target, plain ? value : undefined);
      }
    }
  }

  /** `a += …`, `for a in …`, parameters: they hold something that is not read here. */
  private change(node: SyntaxNode): void {
    for (const child of childrenOf(node)) {
      if (child.name === 'in' || child.name === 'Body') {
        break;
      }
      if (child.name === 'VariableName') {
        this.note(child, undefined);
      }
    }
  }

  /** @param methods that a call is one of; without them any part counts */
  private touch(part: SyntaxNode | null, methods?: RegExp): void {
    if (part?.name !== 'MemberExpression' || (methods && !(part.lastChild && methods.test(this.textOf(part.lastChild))))) {
      return;
    }
    let owner: SyntaxNode | null = part;
    while (owner?.name === 'MemberExpression') {
      owner = owner.firstChild;
    }
    if (owner?.name === 'VariableName') {
      this.touched.add(this.textOf(owner));
    }
  }

  private note(target: SyntaxNode, value: SyntaxNode | undefined): void {
    const name = this.textOf(target);
    const known = this.assignments.get(name) ?? [];
    this.assignments.set(name, known);
    known.push({ name, value, scope: scopeOf(target), at: target.from });
  }
}

export function childrenOf(node: SyntaxNode): SyntaxNode[] {
  const children: SyntaxNode[] = [];
  for (let child = node.firstChild; child; child = child.nextSibling) {
    children.push(child);
  }
  return children;
}

/** Where the function that a place lies in starts; 0 for the module. */
function scopeOf(node: SyntaxNode): number {
  for (let outer = node.parent; outer; outer = outer.parent) {
    if (outer.name === 'FunctionDefinition' || outer.name === 'LambdaExpression') {
      return outer.from + 1;
    }
  }
  return 0;
}
