/** Literals of Python: what their text means. */

const prefixed = /^([A-Za-z]*)("""|'''|"|')([\s\S]*?)\2$/;
const escapes: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', '\\': '\\', '\'': '\'', '"': '"', a: '\x07', b: '\b', f: '\f', v: '\v', 0: '\0' };

/** @returns undefined for bytes, for an unfinished string, and for one that a format would fill in. */
export function stringOf(text: string): string | undefined {
  const [, prefix = '', , body = ''] = prefixed.exec(text) ?? [];
  if (!prefixed.test(text) || /b/i.test(prefix) || (/f/i.test(prefix) && /[{}]/.test(body))) {
    return undefined;
  }
  return /r/i.test(prefix) ? body : body.replace(/\\(?:\r\n|\n|x([\dA-Fa-f]{2})|u([\dA-Fa-f]{4})|(.))/g, (whole: string, x?: string, u?: string, one?: string) =>
    (x ?? u ? String.fromCharCode(parseInt(x ?? u ?? '', 16)) : one === undefined ? '' : escapes[one] ?? whole));
}

/** @returns undefined for complex numbers. */
export function numberOf(text: string): number | undefined {
  const value = Number(text.replace(/_/g, ''));
  return Number.isNaN(value) ? undefined : value;
}
