const lineWidth = 146;

/** `layers: […]` of a rule, on as many lines as the patterns need. */
export function layerLines(patterns: readonly string[]): string[] {
  const start = 'layers: [';
  const lines = [start];
  for (const [i, pattern] of patterns.entries()) {
    const item = `${JSON.stringify(pattern)}${i < patterns.length - 1 ? ',' : ']'}`;
    const current = lines.at(-1) ?? '';
    if (current.length + item.length > lineWidth && current.trim() !== start) {
      lines.push(`${' '.repeat(start.length)}${item}`);
    } else {
      lines[lines.length - 1] = `${current}${current.endsWith(',') ? ' ' : ''}${item}`;
    }
  }
  return lines;
}
