import type { PreviewSettings } from '../../protocol';
import { image, scalar } from './family';
import type { Family, Inputs } from './family';
import { configNumber } from './source';
import type { Source } from './source';

/** DiTPipeline: class labels, the null class for the unconditional half. */
export const dit: Family = {
  ...image,
  anySize: false,
  text: null,
  defaults: (source, factor) => ({ steps: 20, guidance: 4, width: configNumber(source, 'sample_size') * factor, height: configNumber(source, 'sample_size') * factor, frames: 1 }),
  problems: ({ classes }, source) => {
    const nullClass = configNumber(source, 'num_embeds_ada_norm');
    return classes.flatMap((label, index) => (label < nullClass ? [] : [{
      key: 'classes' as const, index, message: `There is no class ${label}: this model knows 0 to ${nullClass - 1}. Change "preview: { classes: […] }".`, instead: [String(nullClass - 1), null],
    }]));
  },
  channels: (source) => configNumber(source, 'in_channels'),
  patch: (source) => configNumber(source, 'patch_size'),
};

/** A golden retriever where the model knows ImageNet. */
export function defaultClasses(source: Source): number[] {
  return configNumber(source, 'num_embeds_ada_norm') > 207 ? [207] : [0];
}

export function classItems(source: Source, { classes }: PreviewSettings): { name: string; identity: string; conditional: Inputs; unconditional: Inputs }[] {
  const nullClass = configNumber(source, 'num_embeds_ada_norm');
  const names = (source.index?.['id2label'] ?? {}) as Record<string, unknown>;
  return classes.map((label) => ({
    name: `class ${label}${typeof names[label] === 'string' ? `: ${names[label].split(',')[0] ?? ''}` : ''}`,
    identity: `class ${label}`,
    conditional: { class_labels: scalar(label) }, unconditional: { class_labels: scalar(nullClass) },
  }));
}
