import { agreementMetrics, metricText } from '../metrics';
import type { Comparison } from '../comparison';
import { shownSide } from '../pictures';
import type { PictureRow, Triple } from '../pictures';
import { shortName, stepText } from '../words';
import { escape } from './parts';

/** Reference, quantized and their difference, with the numbers of this item below. */
export function pictureRows({ pictures, settings, seeds, items }: Comparison): string {
  const [first] = pictures;
  if (!first) {
    return '';
  }
  const shown = new Set(pictures.map(({ item }) => item)).size;
  const notes = [
    `Seed ${seeds[0]}${seeds.length > 1 ? `, the first of ${seeds.length}` : ''}: both models start from the same noise.`,
    settings.mode === 'forced' ? 'The quantized model ran at stored points of the full-precision trajectory; shown is the clean picture that both estimate there, at the compared step that departs most and at the last one, which hardly can.' : 'Finished samples of both models, each on its own.',
    shown < items.length ? `${shown} of ${items.length} items are shown; the numbers are of all.` : '',
    first.frames > 1 ? `First, middle and last of ${first.frames} frames; numbers are means over all frames.` : '',
    first.averaged > 1 ? `Shown at 1/${first.averaged} of their ${first.width} × ${first.height} pixels.` : first.enlarged > 1 ? `${first.width} × ${first.height} pixels, shown ${first.enlarged} times as large.` : '',
    'Difference: the largest of the channels; black is equal, white is the number of 255 levels that stands below it, or more.',
  ];
  return `<p>${escape(notes.filter((note) => note !== '').join(' '))}</p>\n<div class="pictures${shownWidth(first) <= shownSide ? ' small' : ''}${first.enlarged > 1 ? ' enlarged' : ''}">\n${pictures.map((row) => pictureRow(row, settings.steps)).join('\n')}\n</div>`;
}

function pictureRow(row: PictureRow, steps: number): string {
  const place = [shortName(row.name), stepText(row.step, steps), ...(row.frames > 1 ? [`frame ${row.frame + 1} of ${row.frames}`] : [])].join(', ');
  const [width, height] = [shownWidth(row), Math.ceil(row.height / row.averaged) * row.enlarged];
  const image = (kind: keyof Triple): string => `<div><img src="data:image/png;base64,${row.shown[kind]}" width="${width}" height="${height}" alt="${escape(`${alt[kind]}: ${place}`)}"><span>${kind === 'difference' ? `difference, white ${row.differenceEnd}` : kind}</span></div>`;
  const numbers = agreementMetrics.map((metric) => `${metric.title} ${metricText(metric, row.metrics[metric.id])}`).join(' · ');
  return `<figure><div class="triple">${image('reference')}${image('quantized')}${image('difference')}</div><figcaption><b>${escape(place)}</b><br>${escape(numbers)} (higher is better)</figcaption></figure>`;
}

function shownWidth({ width, averaged, enlarged }: PictureRow): number { return Math.ceil(width / averaged) * enlarged; }

const alt: Record<keyof Triple, string> = { reference: 'Full precision', quantized: 'Quantized', difference: 'Difference of the two' };
