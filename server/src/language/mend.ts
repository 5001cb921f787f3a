/**
 * Text in which a quote or bracket was forgotten, made readable: the YAML library would take everything behind it for one scalar. Lines and columns stay what
 * they were, except for comments: an open quote becomes a space, brackets are closed where the line that opened them ends, and a word that stands where a key
 * belongs gets its colon.
 * Like cursor.ts, this takes a quoted scalar to end on its line.
 */
export function mend(text: string): string {
  const lines = text.split(/(?<=\n)|(?<=\r)(?!\n)/);
  const stack: string[] = [];
  /** What is indented no deeper than this ends an open bracket. */
  let base = -1;
  let blockScalar: number | undefined;
  return lines.map((line, index) => {
    const indent = line.search(/\S/);
    if (indent < 0 || line[indent] === '#' || (blockScalar !== undefined && indent > blockScalar)) {
      return line;
    }
    blockScalar = undefined;
    const next = lines.slice(index + 1, index + 200).find((each) => /^\s*[^\s#]/.test(each));
    let start = indent;
    if (stack.length === 0) {
      const { dashes, value } = beginningOf(line);
      start = value;
      // A bracket on a line of its own belongs to the key above, which stands to its left.
      base = value > dashes.length ? dashes.length : dashes.includes('-') ? dashes.lastIndexOf('-') : indent - 1;
      if (/^[|>]/.test(line.slice(value))) {
        blockScalar = indent;
      }
      if (!/^[[{]/.test(line.slice(value))) {
        const [word] = /^[\w-]+(?=\s*$|\s+#)/.exec(line.slice(value)) ?? [];
        if (word !== undefined && value === dashes.length && next !== undefined && next.search(/\S/) === value && /^\s*[\w-]+:(?=\s|$)/.test(next)) {
          return `${line.slice(0, value + word.length)}:${line.slice(value + word.length)}`;
        }
        return quoteLength(line, value) === 0 ? `${line.slice(0, value)} ${line.slice(value + 1)}` : line;
      }
    }
    const { mended, end } = mendFlow(line, start, stack);
    if (stack.length === 0 || (next !== undefined && (next.search(/\S/) > base || /^\s*[\]}]/.test(next)))) {
      return mended;
    }
    return mended.slice(0, end) + stack.splice(0).reverse().join('') + mended.slice(end);
  }).join('');
}

/** Dashes and the space around them, and where the value starts behind a key, an anchor or a tag. */
function beginningOf(line: string): { dashes: string; value: number } {
  const [dashes = ''] = /^\s*(?:-\s+)*/.exec(line) ?? [];
  const [lead = ''] = /^(?:(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s:#"'[\]{},][^:#\r\n]*?)\s*:(?=\s|$)\s*)?(?:[&!]\S*\s+)*/.exec(line.slice(dashes.length)) ?? [];
  return { dashes, value: dashes.length + lead.length };
}

/** Length of the quoted scalar that starts here; 0 when its end is missing, undefined when none starts here. */
function quoteLength(line: string, at: number, inFlow = false): number | undefined {
  const rest = line.slice(at);
  const quoted = /^["']/.test(rest) ? /^(?:"(?:[^"\\\r\n]|\\.)*"|'(?:[^'\r\n]|'')*')/.exec(rest)?.[0] ?? '' : undefined;
  // `"a, "b"` lacks a quote behind a: what looks like one scalar ends in a comma.
  return quoted !== undefined && inFlow && /,\s*.$/.test(quoted) ? 0 : quoted?.length;
}

/** One line of what stands in brackets. `stack` holds what would close them. @returns `end`, where its content ends */
function mendFlow(line: string, start: number, stack: string[]): { mended: string; end: number } {
  let mended = line;
  let end = start;
  for (let at = start; at < line.length && !(line[at] === '#' && /\s/.test(line[at - 1] ?? ' ')); at++) {
    const character = line[at] ?? '';
    if (/\s/.test(character)) {
      continue;
    }
    const length = /[\s[{,:]/.test(line[at - 1] ?? ' ') ? quoteLength(line, at, true) : undefined;
    if (length === 0) {
      mended = `${mended.slice(0, at)} ${mended.slice(at + 1)}`;
    } else if (length !== undefined) {
      at += length - 1;
    } else if (character === '[' || character === '{') {
      stack.push(character === '[' ? ']' : '}');
    } else if (character === ']' || character === '}') {
      stack.pop();
    }
    end = at + 1;
    if (stack.length === 0) {
      break;
    }
  }
  return { mended, end };
}
