/** What applying a plan would do: size and loss before and after, layers by rule, and the lines of the config. */
import type { AllocateResult, Allocation } from '../../../server/src/protocol';
import type { ChartEvents } from '../charts/marks';
import { facts, h } from '../dom';
import { formatBits, formatBytes, formatInteger, formatNumber, NONE } from '../model/format';
import { diffLines, groupChanges } from '../model/planDiff';
import type { ChangeGroup } from '../model/planDiff';
import { layerLink } from './layerLink';

export function planSummary({ current, bytes, averageBits, objective, budgetBytes, certificate, loss }: Allocation): HTMLElement[] {
  const change = (format: (value: number) => string, from: number | undefined, to: number): string => `${from === undefined ? NONE : format(from)} → ${format(to)}`;
  return [
    h('h3', {}, 'Your plan → recommended'),
    facts([
      ['Checkpoint', `${change(formatBytes, current?.bytes, bytes)}, at most ${formatBytes(budgetBytes)}`],
      ['Bits on average', change(formatBits, current?.averageBits, averageBits), 'Of linear weights, side data included.'],
      ['Loss ↓', `${change(formatNumber, current?.objective, objective)}, lower is better`, loss.description],
      ['Proof', certificate.optimal ? 'least possible loss' : `at most ${formatNumber(certificate.gap)} above the least loss`, certificate.method],
    ]),
    h('details', { class: 'about-loss' }, h('summary', {}, 'What the loss is, and how good the proof'), h('p', { class: 'muted' }, `${loss.description} ${certificate.method}`)),
  ];
}

export function planDiff({ changes, edits }: AllocateResult, events: Pick<ChartEvents, 'onSelect' | 'onOpen'>): HTMLElement[] {
  return [
    ...(changes.length === 0 ? [h('p', {}, 'The config says this plan already.')] : [
      h('h3', {}, `${formatInteger(changes.length)} layers change`),
      ...groupChanges(changes).map((group) => groupOf(group, events)),
    ]),
    ...(edits.length === 0 ? [] : [h('h3', {}, 'Edit of the config'), h('pre', { class: 'text-diff', tabindex: 0, 'aria-label': 'Edit of the config' }, ...diffLines(edits).map(({ kind, text }) =>
      h('span', { class: `line ${kind}` }, `${{ place: '@', removed: '−', added: '+' }[kind]} ${text}\n`)))]),
  ];
}

function groupOf({ rule, from, to, layers, bytes }: ChangeGroup, events: Pick<ChartEvents, 'onSelect' | 'onOpen'>): HTMLElement {
  const size = bytes === 0 ? 'same size' : `${bytes > 0 ? '+' : '−'}${formatBytes(Math.abs(bytes))}`;
  return h('details', { class: 'change-group' },
    h('summary', {}, h('strong', {}, `${from} → ${to}`), ` ${formatInteger(layers.length)} layers, ${size}, ${rule}`),
    h('ul', {}, ...layers.map((name) => h('li', {}, layerLink(name, events)))));
}
