/**
 * GGUF types store a row in blocks, and a row that is no multiple of the block cannot have the type. K-quants and the i-quants beside them have superblocks of 256, which 1152 (DiT, PixArt) and
 * 1920 (CogVideoX-2B) are no multiples of: tools for diffusion transformers leave such layers in F16 with no more than a line in the log (stable-diffusion.cpp #446).
 * On plain data, so that every format that names GGUF types can ask.
 */
const superblock = 256;
const block = 32;

/** @param type as GGUF writes it: Q4_K, q4_k_m, IQ4_XS. Returns values per block; undefined for types that are not made of blocks. */
export function blockOf(type: string): number | undefined {
  const name = type.toUpperCase();
  return /^(?:Q[2-8]_K(?:_[SML])?|IQ[1-4]_(?:XXS|XS|S|M)|TQ[12]_0)$/.test(name) ? superblock : /^(?:Q[458]_[01]|IQ4_NL|MXFP4)$/.test(name) ? block : undefined;
}

/** What a layer of this width is stored as instead of the type, and the type without superblocks that has about its bits; null when the type fits. */
export function blockFallback(type: string, width: number): { block: number; stored: 'F16'; instead: string | null } | null {
  const size = blockOf(type);
  if (size === undefined || width % size === 0) {
    return null;
  }
  // The plain type with the bits of the K-quant, or the next ones.
  const bits = Number(/\d/.exec(type)?.[0] ?? 0);
  return { block: size, stored: 'F16', instead: width % block === 0 ? (bits <= 4 ? 'Q4_0' : bits === 5 ? 'Q5_0' : 'Q8_0') : null };
}
