import { tensorStats } from '../analysis/tensorStats';
import { openCheckpoint } from '../checkpoint';
import { compileGlob } from '../config/glob';
import { EngineError } from '../engine/client';
import type { TensorStats } from '../protocol';
import type { Command } from './command';
import { significant, table } from './table';

export const stats: Command = {
  name: 'stats',
  usage: '<checkpoint> [--layers patterns]',
  summary: 'Value statistics per tensor: range, mean, deviation, kurtosis, NaN and Inf counts, histogram.',
  options: { layers: { type: 'string' } },
  async run(context) {
    const checkpoint = await openCheckpoint(context.path('checkpoint'));
    // A pattern may name a tensor, or a layer: its weight and bias.
    const globs = context.layerPatterns()?.map((pattern) => compileGlob(pattern));
    const selected = globs ? checkpoint.tensors.filter((tensor) => globs.some((glob) => glob.test(tensor.name) || glob.test(tensor.name.replace(/\.(weight|bias)$/, '')))) : checkpoint.tensors;
    const tensors: TensorStats[] = [];
    const failures: { name: string; message: string }[] = [];
    for (const [index, tensor] of selected.entries()) {
      try {
        tensors.push(await tensorStats(tensor, context.engine, {
          cancellation: context.cancel.token,
          progress: (fraction) => context.progress((index + fraction) / selected.length, tensor.name),
        }));
      } catch (error) {
        if (!(error instanceof EngineError) || !['IO', 'ARGUMENT', 'MEMORY'].includes(error.code)) {
          throw error;
        }
        failures.push({ name: tensor.name, message: error.message });
      }
    }
    context.print({ tensors, failures }, () => table(
      ['tensor', 'dtype', 'min', 'max', 'mean', 'std', 'kurtosis', 'NaN', 'Inf'],
      tensors.map((each) => [each.name, each.dtype, significant(each.min), significant(each.max), significant(each.mean), significant(each.std), significant(each.kurtosis), String(each.nan), String(each.inf)]),
    ));
    failures.forEach((failure) => context.note(`${failure.name}: ${failure.message}`));
    return failures.length > 0 || tensors.some((each) => each.nan + each.inf > 0) ? 1 : 0;
  },
};
