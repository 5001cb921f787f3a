/** Tensors that are no linear weights. Recipes never apply to them, and other tools should not quantize them either. */
import type { Checkpoint, TensorInfo } from '../protocol';
import { kindOfVector } from '../checkpoint/vectors';
import type { ConfigProblem } from './codes';
import { compileGlob } from './glob';
import type { Located } from './parse';

/** What a pattern that takes no layer names instead: tensors that are no layers, or layers by the name of their weight. */
export interface Named { tensors: TensorInfo[]; /** The pattern that takes the layers these weights belong to. */ layers?: string }

const remembered = new WeakMap<Checkpoint, Map<string, Named | null>>();

/** Compares with the names of tensors and of the modules they belong to; null when it names nothing of either kind. */
export function tensorsNamed(checkpoint: Checkpoint, pattern: string): Named | null {
  const known = remembered.get(checkpoint) ?? new Map<string, Named | null>();
  remembered.set(checkpoint, known);
  let found = known.get(pattern);
  if (found === undefined) {
    found = search(checkpoint, pattern);
    if (known.size >= 1024) {
      known.clear();
    }
    known.set(pattern, found);
  }
  return found;
}

const modules = new WeakMap<Checkpoint, { module: string; tensor: TensorInfo }[]>();

function search(checkpoint: Checkpoint, pattern: string): Named | null {
  const { tensors, layers } = checkpoint;
  const all = modules.get(checkpoint) ?? tensors.map((tensor) => ({ tensor, module: tensor.name.replace(/\.(?:weight|bias|scale)$/, '') }));
  modules.set(checkpoint, all);
  const glob = compileGlob(pattern);
  const found = all.filter(({ tensor, module }) => glob.test(tensor.name) || glob.test(module)).map(({ tensor }) => tensor);
  if (found.length === 0) {
    return null;
  }
  const weights = new Set(layers.map(({ tensor }) => tensor.name));
  const shorter = pattern.replace(/\.(?:weight|\*+)$/, '');
  return found.some(({ name }) => weights.has(name)) && layers.some(({ name }) => compileGlob(shorter).test(name)) ? { tensors: found, layers: shorter } : { tensors: found };
}

export function neverQuantized(pattern: Located<string>, { tensors, layers }: Named): ConfigProblem {
  const excludes = pattern.value.startsWith('!');
  const first = tensors[0]?.name ?? '';
  if (layers !== undefined) {
    const text = (excludes ? '!' : '') + layers;
    return {
      code: 'plan/pattern-matches-nothing', severity: 'warning', range: pattern.range,
      message: `Layers go by their module's name: "${text}" takes what this names by its weight (${first}${tensors.length > 1 ? ` and ${tensors.length - 1} more` : ''}).`,
      data: { fixes: [{ title: `Change to "${text}"`, edits: [{ range: pattern.range, text: JSON.stringify(text) }] }] },
    };
  }
  const kinds = [...new Set(tensors.map(({ name, shape }) => kindOfVector({ name, shape }) ?? 'other tensors'))];
  return {
    code: 'plan/never-quantized', severity: 'info', range: pattern.range,
    message: `This names ${tensors.length === 1 ? first : `${tensors.length} tensors (${kinds.join(', ')}; first ${first})`}, which ${tensors.length === 1 ? 'is no linear layer' : 'are no linear layers'}: ` +
      `they stay as they are stored whatever the rules say, so the pattern ${excludes ? 'excludes' : 'takes'} nothing.`,
  };
}
