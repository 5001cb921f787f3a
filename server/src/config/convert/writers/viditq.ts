import { stringify } from 'yaml';
import type { Quantizer } from '../../../protocol';
import { viditq } from '../../dialects/viditq';
import { ConversionError } from '../lossy';
import { apart, mainClass, requireNumbers, wholeName } from './writer';
import type { Writer } from './writer';

const title = 'ViDiT-Q';

/** Bits for the whole model and an expression of what stays. */
export const viditqWriter: Writer = {
  id: viditq.id, dialect: viditq, says: 'integers of one width for weights and one for inputs, with an expression of what is kept', fileName: 'config.yaml',
  write(request) {
    requireNumbers(request.quantized, title);
    const { weights, activations, smooth } = mainClass(request, title).recipe;
    const kept = apart(request.kept, request.checkpoint).flatMap(({ globs }) => globs.map((glob) => wholeName(glob)));
    return stringify({
      quant: {
        weight: { quantizer: quantizerOf(weights, 'channel') },
        activation: { quantizer: { ...quantizerOf(activations, 'token'), dynamic: true, ...(smooth?.kind === 'smoothquant' ? { smooth_quant: { enable: true, alpha: smooth.alpha } } : {}) } },
      },
      ...(kept.length > 0 ? { remain_fp_regex: kept.join('|') } : {}),
    }, { lineWidth: 0 });
  },
};

function quantizerOf(quantizer: Quantizer, per: string): Record<string, unknown> {
  if (quantizer.kind === 'keep') {
    return { n_bits: 16 };
  }
  if (quantizer.kind !== 'int' || quantizer.bits < 2) {
    throw new ConversionError(`${title} has integers of 2 to 16 bits alone. Change the quantizers of this config to "kind: int".`);
  }
  return { n_bits: quantizer.bits, per_group: quantizer.group === 'tensor' ? 'tensor' : per, sym: quantizer.symmetric };
}
