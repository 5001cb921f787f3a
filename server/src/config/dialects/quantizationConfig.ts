/** What diffusers' backends share: a `quantization_config` in a component's config.json, and modules that a model class keeps in float32. */
import { keptInFp32 } from './models';
import type { Checkpoint, Range } from '../../protocol';
import type { Located } from '../parse';
import { find } from '../tree';
import type { MapNode } from '../tree';
import { kept, problem } from './dialect';
import type { Dialect, DialectEntry, DialectFacts, DialectFile, DialectProblem, ParsedDialect } from './dialect';
import { Fields } from './fields';
import type { DialectCode } from './codes';
import type { Field, FieldTable, NameRule } from './field';
import { certain } from '../../python/packages/allowed';
import type { Packages } from '../../python/packages/allowed';

/** The mapping under `quantization_config`, or a file that is one itself. */
export function quantizationConfig({ root }: DialectFile): MapNode | undefined {
  const inside = find(root, 'quantization_config')?.value;
  if (inside?.kind === 'map') {
    return inside;
  }
  return root?.kind === 'map' && (find(root, 'quant_method') || find(root, 'load_in_4bit') || find(root, 'load_in_8bit')) ? root : undefined;
}

/** As diffusers dispatches: the two flags of bitsandbytes come before `quant_method`. */
export function quantMethod(file: DialectFile): string | undefined {
  const node = quantizationConfig(file);
  const value = (key: string): unknown => {
    const found = find(node, key)?.value;
    return found?.kind === 'scalar' ? found.value : undefined;
  };
  if (value('load_in_4bit') === true || value('load_in_8bit') === true) {
    return 'bitsandbytes';
  }
  const method = value('quant_method');
  return typeof method === 'string' ? method : undefined;
}

/** How diffusers chooses a quantizer. */
export const methodField: Field = {
  type: 'text', open: true, doc: 'Which quantizer of diffusers reads this section. `load_in_4bit` or `load_in_8bit` come before it and mean bitsandbytes.',
  values: {
    bitsandbytes: 'LLM.int8(), NF4 and FP4', torchao: 'a config object of torchao', quanto: 'deprecated; goes with 1.0.0', modelopt: 'NVIDIA ModelOpt', gguf: 'weights from a GGUF file; never saved here', 'auto-round': 'loads what AutoRound exported',
    nunchaku_lite: 'SVDQuant and AWQ kernels for explicit layers', sdnq: 'SD.Next quantization', 'compressed-tensors': 'read by vLLM-Omni and transformers, not by diffusers',
  },
};

/** The section alone, or inside the config.json that holds it. */
export function inConfig({ root }: DialectFile, section: Field): Field {
  return find(root, 'quantization_config') ? { type: 'map', doc: 'The config of a component.', fields: { quantization_config: section } } : section;
}

/** A rule that looks at the name of a layer alone. */
export function byName(takes: (entry: string, layer: string) => boolean, offers: NameRule['offers']): NameRule {
  return { takes: (entry) => ({ name }) => takes(entry, name), offers };
}

/** A backend of diffusers: recognised by `quant_method`, reads the one mapping. */
export function backend({ methods, fields, source, since, ...facts }: Omit<DialectFacts, 'file'> & { methods: readonly string[]; file?: string; fields: FieldTable; source: string; /** The first diffusers that has it. */ since?: string }, read: (fields: Fields, problems: DialectProblem[], file: DialectFile) => Omit<ParsedDialect, 'problems'>): Dialect {
  const { title } = facts;
  const section: Field = { type: 'map', doc: `How ${title} quantizes this component.`, fields: { quant_method: methodField, ...fields }, source };
  return {
    root: (file) => inConfig(file, section),
    file: `\`quantization_config\` in a component's \`config.json\` with \`quant_method\` ${methods.map((method) => `\`${method}\``).join(' or ')}`, ...facts,
    // A mapping with config_groups is compressed-tensors', whoever wrote it.
    detect: (file) => methods.includes(quantMethod(file) ?? '') && !find(quantizationConfig(file), 'config_groups'),
    parse(file) {
      const problems: DialectProblem[] = [];
      const node = quantizationConfig(file);
      if (!node) {
        return { entries: [], otherwise: kept, problems: file.problems, unmatched: 'ignored' };
      }
      const mapping = new Fields(node, `quantization_config (${title})`, problems, file.document, section);
      const { trapsBeside, ...parsed } = read(mapping, problems, file);
      return {
        ...parsed, problems: [...file.problems, ...problems],
        trapsBeside(beside) {
          // A text encoder is loaded by transformers, whatever diffusers is there.
          const packages: Packages = find(file.root, 'architectures') ? new Map() : beside.packages;
          const older = since === undefined ? undefined : certain(packages, 'diffusers', { before: since });
          return [...older ? [problem('dialect/diffusers', 'error', mapping.keyRange('quant_method'), `diffusers before ${since ?? ''} knows no ${title.replace(' in diffusers', '')} ("Unknown quantization type"); here stands ${older}. Take diffusers ${since ?? ''} or later.`)] : [],
            ...trapsBeside?.({ ...beside, packages }) ?? []];
        },
      };
    },
  };
}

/** Entries of a list that keeps layers. */
export function skipList(names: readonly Located<string>[], takes: (entry: string, layer: string) => boolean, matchesNothing?: (entry: string) => string | undefined): DialectEntry[] {
  return names.map(({ value, range }) => {
    const why = matchesNothing?.(value);
    return { text: value, range, treatment: kept, isPath: true, takes: ({ name }) => takes(value, name), ...(why ? { matchesNothing: why } : {}) };
  });
}

/** `_keep_in_fp32_modules` of the model class, which diffusers appends to a backend's skip list. */
export function fp32Modules(entryAt: Fields, takes: (entry: string, layer: string) => boolean): (checkpoint: Checkpoint) => DialectEntry[] {
  return ({ architecture }) => (keptInFp32[architecture] ?? []).map((text) => ({
    text, range: entryAt.keyRange('quant_method'), treatment: kept, isPath: false, takes: ({ name }) => takes(text, name), builtin: `_keep_in_fp32_modules of ${architecture}`,
  }));
}

/** Weights that diffusers reads as pickles: it takes safetensors first. @param files beside the config */
export function pickledWeights(files: readonly string[]): string[] {
  return files.some((name) => /^[^/]+\.safetensors$/.test(name)) ? [] : files.filter((name) => /^(?:diffusion_pytorch_model|pytorch_model|model)[^/]*\.bin$/.test(name));
}

/** diffusers stops where a package is older than its quantizer needs. */
export function tooOld(code: DialectCode, range: Range, packages: Packages, name: string, needed: string): DialectProblem[] {
  const old = certain(packages, name, { before: needed });
  return old ? [problem(code, 'error', range, `diffusers needs ${name} ${needed} or later and stops otherwise; here stands ${old}. Take a newer one.`)] : [];
}
