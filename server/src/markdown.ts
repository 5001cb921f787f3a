/** Markdown of hovers and reports. */

/** Rows of a Markdown table; cells starting the column with # in the header are numbers. */
export function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(header.map((title) => title.replace(/^#/, ''))), line(header.map((title) => (title.startsWith('#') ? '---:' : '---'))), ...rows.map(line)].join('\n');
}
