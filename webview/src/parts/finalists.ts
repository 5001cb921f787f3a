/** Plans that were run end to end, in the order that recommends: latent PSNR with its spread, and how far each is behind the first. */
import type { Allocation } from '../../../server/src/protocol';
import { h } from '../dom';
import { formatInteger, formatNumber, NONE } from '../model/format';

export function finalistTable({ finalists, recommended, verification }: Allocation): HTMLElement[] {
  if (verification === null) {
    return [h('p', { class: 'muted' }, 'No plan was run end to end: the recommendation goes by the loss alone.')];
  }
  const { items, seeds, steps, leftOut } = verification;
  const decibel = ({ mean, spread, n }: { mean: number; spread: number; n: number }): string => `${mean.toFixed(2)} ± ${spread.toFixed(2)} dB (n = ${formatInteger(n)})`;
  return [
    h('h3', {}, 'Run end to end'),
    h('p', { class: 'muted' }, `Latent PSNR of forced previews against full precision, higher is better: mean ± standard deviation over ${items.join(', ')}; seeds ${seeds.join(', ')}; ${steps.length} steps.`),
    h('table', { class: 'numbers finalists' },
      h('thead', {}, h('tr', {}, h('th', { scope: 'col', class: 'name' }, 'Plan'), ...['Latent PSNR ↑', 'Behind the first', 'Loss ↓'].map((head) => h('th', { scope: 'col' }, head)))),
      h('tbody', {}, ...finalists.map(({ name, objective, description, measured: { latentPsnrDb, notFinite, behind } }) => h('tr', {},
        h('th', { scope: 'row', title: description }, name === recommended ? `★ ${name} (recommended)` : name),
        h('td', {}, notFinite > 0 ? `${formatInteger(notFinite)} samples not finite` : latentPsnrDb === null ? 'equal' : decibel(latentPsnrDb)),
        h('td', {}, behind === null ? NONE : `${behind.mean.toFixed(2)} dB; the first wins ${formatInteger(behind.wins)} of ${formatInteger(behind.n)}`),
        h('td', {}, formatNumber(objective)))))),
    ...(leftOut.length === 0 ? [] : [h('p', { class: 'muted' }, `Not run: ${leftOut.map(({ name, reason }) => `${name} (${reason})`).join(' ')}`)]),
  ];
}
