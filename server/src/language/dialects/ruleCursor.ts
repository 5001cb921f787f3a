import type { Cursor } from '../cursor';

/**
 * Where the cursor stands in a text of `expression=type`, parted by white space or commas. 'key': in the expression. 'value': in the type. Both tools cut at other
 * places (white space belongs to an expression of stable-diffusion.cpp, commas to one of llama-quantize); what one types next stands behind either.
 */
export function ruleCursorAt(text: string, offset: number): Cursor {
  const start = text.slice(0, offset).search(/[^\s,]*$/);
  const end = offset + (/^[^\s,]*/.exec(text.slice(offset))?.[0].length ?? 0);
  const rule = text.slice(start, end);
  const equals = rule.indexOf('=');
  const inType = equals >= 0 && offset > start + equals;
  const from = inType ? start + equals + 1 : start;
  return {
    kind: inType ? 'value' : 'key', path: [], start: from, end: inType || equals < 0 ? end : start + equals, quote: '', typed: text.slice(from, offset), present: new Set(),
    siblings: text.split(/[\s,]+/).filter((each) => each !== rule).map((each) => each.slice(0, Math.max(0, each.indexOf('=')))), hasColon: equals >= 0, needsSpace: false, inFlow: true, needsComma: false,
  };
}
