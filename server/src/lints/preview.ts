/** Preview settings that cannot run, where they are written. */
import type { ConfigProblem } from '../config/codes';
import { addKey, removeEntry, removeItem } from '../config/edits';
import { find } from '../config/tree';
import type { QuickFix } from '../protocol';
import type { SettingProblem } from '../preview/settings';
import { fix, withFixes } from './lint';
import type { Written } from './lint';

/** @param found by preview/check.ts */
export function previewLints(subject: Written, found: readonly SettingProblem[]): ConfigProblem[] {
  const section = find(subject.root, 'preview');
  return section ? found.map((each): ConfigProblem => {
    const entry = each.key === null ? undefined : find(section.value, each.key);
    const item = each.index !== undefined && entry?.value.kind === 'list' ? entry.value.items[each.index] : undefined;
    return { code: 'plan/preview-cannot-run', severity: 'warning', range: item?.range ?? entry?.value.range ?? section.keyRange, message: each.message, ...withFixes(fixes(subject, each)) };
  }) : [];
}

function fixes(subject: Written, { key, index, instead }: SettingProblem): QuickFix[] {
  const { document, root } = subject;
  const preview = find(root, 'preview');
  const section = preview?.value;
  if (!preview || section?.kind !== 'map') {
    return [];
  }
  if (key === null) {
    // Only prompts can be missing.
    return instead.flatMap((value) => (value === null || find(section, 'prompts') ? [] : fix(subject, `Add "prompts: [${value}]"`, addKey(document, section, 'prompts', `[${value}]`))));
  }
  const entry = find(section, key);
  const list = entry?.value.kind === 'list' ? entry.value : undefined;
  const node = index === undefined ? entry?.value : list?.items[index];
  if (!entry) {
    return instead.flatMap((value) => (value === null ? [] : fix(subject, `Add "${key}: ${value}"`, addKey(document, section, key, value))));
  }
  return instead.flatMap((value): QuickFix[] => {
    if (value !== null) {
      const title = `Change to ${key === 'prompts' || key === 'decoder' ? value : `"${key}: ${index === undefined ? value : `[… ${value} …]`}"`}`;
      return node && document.getText(node.range) !== value && !document.getText(node.range).startsWith('*') ? [{ title, edits: [{ range: node.range, text: value }] }] : [];
    }
    if (index !== undefined && list && list.items.length > 1) {
      return fix(subject, `Remove ${document.getText(list.items[index]?.range)}`, removeItem(document, entry, index));
    }
    // The only key of the section takes it along.
    return fix(subject, `Remove "${key}"`, section.entries.length > 1 ? removeEntry(document, section, entry) : root.kind === 'map' ? removeEntry(document, root, preview) : undefined);
  });
}
