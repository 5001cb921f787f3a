/** Expressions on names of tensors are about all of them: norms, biases and tables too, which are no layers. */
import { counted, quoted } from '../../checkpoint/errors';
import type { Checkpoint, TensorInfo } from '../../protocol';
import { problem } from './dialect';
import type { DialectProblem } from './dialect';
import type { TypeEntry } from './tensorTypes';

/**
 * Tells rules that name no layer but other tensors from those that name nothing.
 * @param isLeft what the tool leaves as it is, whatever a rule says
 * @param because a sentence that says why
 */
export function explainOthers(entries: readonly TypeEntry[], { layers, tensors }: Checkpoint, isLeft: (tensor: TensorInfo, entry: TypeEntry) => boolean, because: string): void {
  for (const entry of entries) {
    const others = layers.some((layer) => entry.takes(layer)) ? [] : tensors.filter(({ name }) => entry.names(name));
    const [example] = others;
    if (example) {
      entry.elsewhere = true;
      entry.inVain = others.every((tensor) => isLeft(tensor, entry));
      entry.matchesNothing = `It names ${counted(others.length, 'tensor')} such as ${quoted(example.name)} [${example.shape.join(', ')}].${entry.inVain ? ` ${because}` : ''}`;
    }
  }
}

/** Those that do nothing. */
export function vainRules(entries: readonly TypeEntry[]): DialectProblem[] {
  return entries.filter(({ inVain }) => inVain).map(({ text, range, matchesNothing }) => problem('ggml/other-tensors', 'warning', range, `${quoted(text)} takes no layer. ${matchesNothing ?? ''} The rule does nothing.`));
}
