/** Where a model ran, in words. */
import type { PreviewDevice } from '../protocol';

/** "NVIDIA H200, but blocks.0.ff and 3 more on the processor: blocks.0.ff has inputs that are prepared on the processor: small floats" */
export function deviceText({ name, processor: [first, ...more] }: PreviewDevice): string {
  return first ? `${name}, but ${first.name}${more.length > 0 ? ` and ${more.length} more` : ''} on the processor: ${first.name} ${first.reason}` : name;
}
