/**
 * Small edits of a config's text that leave everything else as it is: comments, order, block or flow style, line ends.
 * All work on the tree of the same text. They answer undefined where the text cannot be changed in place, as behind an alias.
 */
import type { TextDocument } from 'vscode-languageserver-textdocument';
import type { TextEdit } from '../protocol';
import { find } from './tree';
import type { Entry, ListNode, MapNode, TreeNode } from './tree';

/** Offsets; `\n` in the text becomes the line end of the file. */
export interface Edit { from: number; to: number; text: string }

/** A rule to be added: its keys one per line (a line may go on, indented from the key), and the same in braces. */
export interface RuleText { lines: readonly string[]; flow: string }

export function ruleText(lines: readonly string[]): RuleText { return { lines, flow: `{ ${lines.join(', ')} }` }; }

/** As the editor takes them. */
export function toTextEdits(document: TextDocument, edits: readonly Edit[]): TextEdit[] {
  const lineEnd = lineEndOf(document);
  return edits.map(({ from, to, text }) => ({ range: { start: document.positionAt(from), end: document.positionAt(to) }, text: text.replaceAll('\n', lineEnd) }));
}

export function applyEdits(document: TextDocument, edits: readonly Edit[]): string { return applied(document, document.getText(), 0, edits); }

/** Whether anything is another text afterwards; looks at what lies between the first and the last edit alone. */
export function changesText(document: TextDocument, edits: readonly Edit[]): boolean {
  const first = Math.min(...edits.map(({ from }) => from));
  const text = document.getText().slice(first, Math.max(...edits.map(({ to }) => to)));
  return applied(document, text, first, edits) !== text;
}

/** @param start offset of the text in the document */
function applied(document: TextDocument, text: string, start: number, edits: readonly Edit[]): string {
  const lineEnd = lineEndOf(document);
  return [...edits].sort((a, b) => b.from - a.from || b.to - a.to).reduce((so, { from, to, text: added }) => so.slice(0, from - start) + added.replaceAll('\n', lineEnd) + so.slice(to - start), text);
}

/** By version: a long text is asked for every fix of every finding. */
const lineEnds = new WeakMap<TextDocument, { version: number; lineEnd: string }>();

function lineEndOf(document: TextDocument): string {
  const known = lineEnds.get(document);
  if (known?.version === document.version) {
    return known.lineEnd;
  }
  const lineEnd = document.getText().includes('\r\n') ? '\r\n' : '\n';
  lineEnds.set(document, { version: document.version, lineEnd });
  return lineEnd;
}

// ---------------------------------------------------------------------------------------------------------------- places

export function inBraces(document: TextDocument, { range }: TreeNode): boolean {
  return '[{'.includes(document.getText()[document.offsetAt(range.start)] ?? ' ');
}

/** What stands here is defined elsewhere, or used elsewhere too. */
export function isShared(document: TextDocument, { range }: TreeNode): boolean {
  return document.getText()[document.offsetAt(range.start)] === '*';
}

/** Where the text of a node ends; what is written in lines would count the newline as its own. */
export function endOf(document: TextDocument, node: TreeNode): number {
  const inner = inBraces(document, node) ? undefined : node.kind === 'list' ? node.items.at(-1) : node.kind === 'map' ? node.entries.at(-1)?.value : undefined;
  const end = inner ? endOf(document, inner) : document.offsetAt(node.range.end);
  return document.getText().slice(0, end).trimEnd().length;
}

export function lastLine(document: TextDocument, node: TreeNode): number { return document.positionAt(endOf(document, node)).line; }

/** The last line of a file may lack its end. */
export function atLineStart(document: TextDocument, offset: number): boolean { return offset === 0 || document.getText()[offset - 1] === '\n'; }

export function lineStart(document: TextDocument, line: number): number { return document.offsetAt({ line, character: 0 }); }

/** Whole lines from that of `from` to the last of `node`; undefined when something is anchored there that may be used elsewhere. */
function removeLines(document: TextDocument, from: number, to: number): Edit[] | undefined {
  const [start, end] = [lineStart(document, document.positionAt(from).line), lineStart(document, document.positionAt(to).line + 1)];
  return /[\s[{,:-]&\w/.test(document.getText().slice(start, end)) ? undefined : [{ from: start, to: end, text: '' }];
}

// ----------------------------------------------------------------------------------------------------------------- lists

/** Takes one item out of a list. The only item takes the key of the list along when the list is written in lines. */
export function removeItem(document: TextDocument, owner: Entry, index: number): Edit[] | undefined {
  const list = owner.value;
  const item = list.kind === 'list' ? list.items[index] : undefined;
  if (list.kind !== 'list' || !item || isShared(document, list)) {
    return undefined;
  }
  if (inBraces(document, list)) {
    return removeBetweenCommas(document, document.offsetAt(item.range.start), document.offsetAt(item.range.end), list.items[index - 1]);
  }
  const from = list.items.length === 1 ? document.offsetAt(owner.keyRange.start) : dashOf(document, item);
  return from < 0 ? undefined : removeLines(document, from, endOf(document, item));
}

/** An offset on the line of the dash before an item: the item's own line, or one above when it starts on a line of its own. */
function dashOf(document: TextDocument, item: TreeNode): number {
  const lines = document.getText().slice(0, document.offsetAt(item.range.start)).split('\n');
  for (let line = lines.length - 1; line >= 0; line--) {
    const before = (lines[line] ?? '').replace(/(?:^|\s)#.*$/, '').trim();
    if (before !== '') {
      return before === '-' ? lineStart(document, line) : -1;
    }
  }
  return -1;
}

/** In brackets: the text, one comma, and the line when nothing else is left on it. */
function removeBetweenCommas(document: TextDocument, start: number, end: number, before: TreeNode | undefined): Edit[] | undefined {
  const text = document.getText();
  if (/(?:^|[\s[{,:])&\w/.test(text.slice(Math.max(text.lastIndexOf(',', start), text.lastIndexOf('[', start), text.lastIndexOf('\n', start)) + 1, end))) {
    return undefined; // anchored, and perhaps used elsewhere
  }
  const [behind = ''] = /^\s*,[^\S\n]*/.exec(text.slice(end)) ?? [];
  const to = end + behind.length;
  if (behind === '' && before) {
    const previous = endOf(document, before);
    const comma = previous + text.slice(previous).search(/\S/);
    return text[comma] === ',' && !text.slice(comma, start).includes('#') ? [{ from: comma, to: end, text: '' }] : undefined;
  }
  const left = text.lastIndexOf('\n', start - 1) + 1;
  const [rest] = /^\r?\n/.exec(text.slice(to)) ?? [];
  return [text.slice(left, start).trim() === '' && rest !== undefined && left > 0 ? { from: left, to: to + rest.length, text: '' } : { from: start, to, text: '' }];
}

/** Behind the last item of a list, or as the second value of what is no list yet. */
export function appendItem(document: TextDocument, node: TreeNode, text: string): Edit[] | undefined {
  if (isShared(document, node)) {
    return undefined;
  }
  if (node.kind !== 'list') {
    const [from, to] = [document.offsetAt(node.range.start), document.offsetAt(node.range.end)];
    return [{ from, to, text: `[${document.getText().slice(from, to)}, ${text}]` }];
  }
  const last = node.items.at(-1);
  const end = last ? endOf(document, last) : document.offsetAt(node.range.start) + 1;
  if (inBraces(document, node)) {
    return [{ from: end, to: end, text: last ? `, ${text}` : text }];
  }
  const at = lineStart(document, lastLine(document, node) + 1);
  return [{ from: at, to: at, text: `${atLineStart(document, at) ? '' : '\n'}${' '.repeat(node.range.start.character)}- ${text}\n` }];
}

/** Rules right behind one that is there. @param list of `rules` */
export function addRulesBehind(document: TextDocument, list: ListNode, index: number, rules: readonly RuleText[]): Edit[] | undefined {
  const item = list.items[index];
  if (!item || isShared(document, list)) {
    return undefined;
  }
  if (inBraces(document, list)) {
    const at = document.offsetAt(item.range.end);
    return [{ from: at, to: at, text: rules.map(({ flow }) => `, ${flow}`).join('') }];
  }
  const at = lineStart(document, lastLine(document, item) + 1);
  return [{ from: at, to: at, text: (atLineStart(document, at) ? '' : '\n') + ruleLines(rules, list.range.start.character) }];
}

function ruleLines(rules: readonly RuleText[], indent: number): string {
  return rules.map(({ lines }) => lines.map((line, i) => `${' '.repeat(indent)}${i === 0 ? '- ' : '  '}${line}\n`).join('')).join('');
}

/** Rules, behind those that are there or before all of them. */
export function addRules(document: TextDocument, root: TreeNode, rules: readonly RuleText[], first = false): Edit[] {
  const list = find(root, 'rules')?.value;
  const block = (indent: number): string => ruleLines(rules, indent);
  if (list?.kind === 'list' && inBraces(document, list)) {
    const [at, last] = [document.offsetAt(list.range.start) + 1, list.items.at(-1)];
    const end = last ? document.offsetAt(last.range.end) : at;
    return first || !last ? [{ from: at, to: at, text: rules.map(({ flow }) => flow).join(', ') + (last ? ', ' : '') }] : [{ from: end, to: end, text: rules.map(({ flow }) => `, ${flow}`).join('') }];
  }
  if (list?.kind === 'list' && list.items[0]) {
    // Before the comments of the first rule.
    const at = lineStart(document, (first ? find(root, 'rules')?.keyRange.end.line ?? 0 : lastLine(document, list)) + 1);
    return [{ from: at, to: at, text: (atLineStart(document, at) ? '' : '\n') + block(list.range.start.character) }];
  }
  const empty = find(root, 'rules');
  if (inBraces(document, root) && !empty) {
    const start = document.offsetAt(root.range.start) + 1;
    return [{ from: start, to: start, text: ` rules: [${rules.map(({ flow }) => flow).join(', ')}],` }];
  }
  const at = empty ? document.offsetAt(empty.keyRange.start) : document.getText().length;
  const line = (empty || atLineStart(document, at) ? '' : '\n') + `rules:\n${block(2)}`;
  return [{ from: at, to: empty ? document.offsetAt(empty.value.range.end) : at, text: empty ? line.trimEnd() : line }];
}

// ------------------------------------------------------------------------------------------------------------------ maps

/** Takes a key and its value away. @param map all its entries, in the order of the text */
export function removeEntry(document: TextDocument, map: MapNode, entry: Entry): Edit[] | undefined {
  const index = map.entries.indexOf(entry);
  if (index < 0 || isShared(document, map)) {
    return undefined;
  }
  const [start, end] = [document.offsetAt(entry.keyRange.start), endOf(document, entry.value)];
  if (inBraces(document, map)) {
    return removeBetweenCommas(document, start, end, map.entries[index - 1]?.value);
  }
  const next = map.entries[index + 1];
  if (document.getText().slice(lineStart(document, entry.keyRange.start.line), start).trim() === '') {
    return map.entries.length === 1 ? undefined : removeLines(document, start, end);
  }
  // Behind a dash: the next key takes its place.
  const between = next ? document.getText().slice(end, document.offsetAt(next.keyRange.start)) : 'x';
  return next && between.trim() === '' ? [{ from: start, to: document.offsetAt(next.keyRange.start), text: '' }] : undefined;
}

/** Adds a key behind the others, or before `before` at the top of the file. */
export function addKey(document: TextDocument, map: MapNode, key: string, value: string, before?: string): Edit[] | undefined {
  if (isShared(document, map)) {
    return undefined;
  }
  const last = map.entries.at(-1);
  if (inBraces(document, map)) {
    const at = last ? endOf(document, last.value) : document.offsetAt(map.range.start) + 1;
    return [{ from: at, to: at, text: last ? `, ${key}: ${value}` : ` ${key}: ${value} ` }];
  }
  const place = before === undefined ? undefined : find(map, before);
  const at = place ? document.offsetAt(place.keyRange.start) : lineStart(document, (last ? lastLine(document, last.value) : map.range.end.line) + 1);
  const indent = place ? '' : ' '.repeat(map.range.start.character);
  return [{ from: at, to: at, text: `${place || atLineStart(document, at) ? '' : '\n'}${indent}${key}: ${value}\n${place ? ' '.repeat(map.range.start.character) : ''}` }];
}

/**
 * Gives the value at a path another text. What is missing on the way is added; a method's bare name becomes a mapping.
 * @param path of keys, and of places in lists
 */
export function setValue(document: TextDocument, root: TreeNode, path: readonly (string | number)[], value: string): Edit[] | undefined {
  let node = root;
  let entry: Entry | undefined;
  for (const [depth, step] of path.entries()) {
    if (isShared(document, node)) {
      return undefined;
    }
    const rest = path.slice(depth + 1);
    const nested = rest.reduceRight<string>((text, key) => `{ ${key}: ${text} }`, value);
    if (node.kind === 'list' && typeof step === 'number' && node.items[step]) {
      node = node.items[step];
      entry = undefined;
    } else if (node.kind === 'map') {
      entry = find(node, String(step));
      if (!entry) {
        return addKey(document, node, String(step), nested);
      }
      node = entry.value;
    } else if (node.kind === 'scalar' && entry?.key === 'method') {
      const [from, to] = [document.offsetAt(node.range.start), document.offsetAt(node.range.end)];
      return [{ from, to, text: `{ name: ${document.getText().slice(from, to)}, ${step}: ${nested} }` }];
    } else {
      return undefined;
    }
  }
  if (isShared(document, node)) {
    return undefined;
  }
  const [from, to] = [document.offsetAt(node.range.start), endOf(document, node)];
  if (to <= from && entry) {
    // No value yet: behind the colon.
    const colon = document.getText().indexOf(':', from);
    return colon < 0 ? undefined : [{ from: colon + 1, to: colon + 1, text: ` ${value}` }];
  }
  return [{ from, to, text: value }];
}

/** Gives a rule other settings (`scheme`, `method`, `keep`); its name and layers stay, and so do comments behind what stays. @param lines `key: value` */
export function setSettings(document: TextDocument, rule: MapNode, lines: readonly string[]): Edit[] | undefined {
  const written = rule.entries.filter(({ key }) => ['scheme', 'method', 'keep'].includes(key));
  const [first] = written;
  const flow = inBraces(document, rule);
  if (!first || isShared(document, rule) || (flow && written.length > 2)) {
    return undefined;
  }
  const wanted = new Map(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]));
  const place = written.find(({ key }) => wanted.has(key));
  const added = lines.filter((line) => !written.some(({ key }) => line.startsWith(`${key}:`)));
  const separator = flow ? ', ' : `\n${' '.repeat(rule.range.start.character)}`;
  const edits = written.map((entry): Edit[] | undefined => {
    const [key, value, end] = [document.offsetAt(entry.keyRange.start), document.offsetAt(entry.value.range.start), endOf(document, entry.value)];
    if (!place && entry === first) {
      return [{ from: key, to: end, text: lines.join(separator) }];
    }
    const text = wanted.get(entry.key);
    if (text === undefined) {
      return removeEntry(document, rule, entry);
    }
    return [...(entry === place && added.length > 0 ? [{ from: key, to: key, text: `${added.join(separator)}${separator}` }] : []), { from: value, to: end, text }];
  });
  return edits.some((each) => !each) ? undefined : edits.flatMap((each) => each ?? []);
}
