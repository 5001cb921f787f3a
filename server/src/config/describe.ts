/** Quantizers in a few words, for tables and hovers. */
import type { Quantizer } from '../protocol';

export function describeQuantizer(quantizer: Quantizer): string {
  switch (quantizer.kind) {
    case 'keep': return quantizer.dtype === 'original' ? 'kept' : quantizer.dtype;
    case 'codebook': return `codebook ${quantizer.bits} bit`;
    case 'int': return `${quantizer.symmetric ? 'int' : 'uint'}${quantizer.bits} per ${typeof quantizer.group === 'number' ? `group ${quantizer.group}` : quantizer.group}`;
  }
}
