/** Pieces that sections of the page are made of. Everything that comes from a file goes through `escape`. */

/** A section of the page; nothing when it is empty. */
export function section(title: string, ...content: readonly string[]): string {
  return `<section><h2>${title}</h2>\n${content.filter((each) => each !== '').join('\n')}\n</section>`;
}

/** Cells are HTML already; a heading with # is a numeric column. */
export function tableOf(header: readonly string[], rows: readonly (readonly string[])[], caption = ''): string {
  const numeric = header.map((title) => title.startsWith('#'));
  const cell = (tag: string, text: string, column: number): string => `<${tag}${numeric[column] ? ' class="number"' : ''}${tag === 'th' ? ' scope="col"' : ''}>${text}</${tag}>`;
  return `<div class="scroll" tabindex="0" role="region" aria-label="Table: ${escape(header.map((title) => title.replace(/^#/, '')).join(', '))}"><table>${caption === '' ? '' : `<caption>${escape(caption)}</caption>`}<thead><tr>${header.map((title, column) => cell('th', escape(title.replace(/^#/, '')), column)).join('')}</tr></thead><tbody>${
    rows.map((row) => `<tr>${row.map((text, column) => cell('td', text, column)).join('')}</tr>`).join('\n')}</tbody></table></div>`;
}

/** @param html of the value */
export function fact(title: string, html: string): string {
  return `<div><dt>${title}</dt><dd>${html}</dd></div>`;
}

export function code(text: string): string { return `<code>${escape(text)}</code>`; }

/** Something a reader must not miss. */
export function warning(html: string): string { return `<p class="warning" role="note"><b>Attention:</b> ${html}</p>`; }

export function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
