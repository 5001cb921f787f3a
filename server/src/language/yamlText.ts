/** Text as YAML writes it. */

/** An example or default of the schema. */
export function written(value: unknown): string {
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** Words that YAML reads as something other than text. */
const reserved = /^(?:true|false|null|~|yes|no|on|off|[-+.]?\d.*|[-+]?\.(?:inf|nan))$/i;

/** Written plainly where YAML allows it, else in double quotes; quotes that are open already are kept. */
export function plainScalar(text: string, { quote }: { quote: '"' | '\'' | '' }): string {
  if (quote === '\'' && !/\p{C}/u.test(text)) {
    return `'${text.replaceAll('\'', '\'\'')}'`;
  }
  return quote === '' && /^[\p{L}_./][\p{L}\p{N}_.*/-]*$/u.test(text) && !reserved.test(text) ? text : JSON.stringify(text);
}
