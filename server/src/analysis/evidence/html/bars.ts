/** Names on the left, then a bar for each: inline SVG whose numbers stand in a table below it. */
import { escape } from './parts';

export interface Bar { name: string; value: number; text: string; /** Drawn hatched. */ marked: boolean }
export interface BarChart { label: string; bars: readonly Bar[]; scale: 'log' | 'linear'; /** Where bars start: 1 is what was promised. */ from: number; ticks: readonly number[]; tickText: (value: number) => string; low: number; high: number }

/** More than these are thin lines without names. */
const labelled = 120;

export function barChart({ label, bars, scale, from, ticks, tickText, low, high }: BarChart): string {
  const named = bars.length <= labelled;
  const [left, right, rowHeight] = [named ? 400 : 10, 980, named ? 15 : 4];
  const share = (value: number): number => (scale === 'log' ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low));
  const x = (value: number): number => left + (right - left) * Math.min(1, Math.max(0, share(value)));
  const height = bars.length * rowHeight + 24;
  return `<svg role="img" aria-label="${escape(label)}" viewBox="0 0 1000 ${height}">
${ticks.filter((tick) => tick >= low && tick <= high).map((tick) => `<g class="tick"><line x1="${x(tick).toFixed(1)}" x2="${x(tick).toFixed(1)}" y1="18" y2="${height}"/><text x="${x(tick).toFixed(1)}" y="12">${tickText(tick)}</text></g>`).join('')}
${bars.map(({ name, value, text, marked }, index) => {
    const y = 21 + index * rowHeight;
    const [start, end] = [Math.min(x(from), x(value)), Math.max(x(from), x(value))];
    return `<rect x="${start.toFixed(1)}" y="${y}" width="${Math.max(1, end - start).toFixed(1)}" height="${rowHeight - (named ? 4 : 1)}" class="bar${marked ? ' marked' : ''}"><title>${escape(name)}: ${text}</title></rect>` +
      (named ? `<text class="label" x="0" y="${y + 9}">${escape(name)}</text><text class="label value" x="${left - 12}" y="${y + 9}">${text}</text>` : '');
  }).join('\n')}
<line class="one" x1="${x(from).toFixed(1)}" x2="${x(from).toFixed(1)}" y1="16" y2="${height}"/>
</svg>`;
}

/** Once per page: what marked bars are filled with. */
export const hatch = `<svg class="defs" aria-hidden="true" width="0" height="0"><defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="6" height="6" class="bar"/><rect width="2" height="6" class="stripe"/></pattern></defs></svg>`;
