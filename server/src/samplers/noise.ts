/**
 * `torch.randn(shape, generator=torch.Generator('cpu').manual_seed(seed))` in float32: the same starting noise as a diffusers run with that seed.
 * MT19937 with Knuth's initialisation, 24-bit uniforms, Box–Muller over blocks of 16; agrees to 5e-7.
 */
export function torchRandn(count: number, seed: number): Float32Array {
  if (count < 16) {
    throw new RangeError(`torch draws fewer than 16 normals by another algorithm; ${count} were asked for.`);
  }
  const next = mersenne(seed);
  const uniform = (): number => (next() & 0xffffff) / 0x1000000;
  const out = Float32Array.from({ length: count }, uniform);
  for (let at = 0; at + 16 <= count; at += 16) {
    boxMuller(out, at);
  }
  if (count % 16 !== 0) {
    // The tail draws the last 16 values anew.
    for (let i = count - 16; i < count; i++) {
      out[i] = uniform();
    }
    boxMuller(out, count - 16);
  }
  return out;
}

/** 16 uniforms → 16 normals, in place: radii from the first eight, angles from the last. */
function boxMuller(values: Float32Array, at: number): void {
  const twoPi = Math.fround(2 * Math.PI);
  for (let i = at; i < at + 8; i++) {
    const radius = Math.fround(Math.sqrt(Math.fround(-2 * Math.fround(Math.log(Math.fround(1 - (values[i] ?? 0)))))));
    const angle = Math.fround(twoPi * (values[i + 8] ?? 0));
    values[i] = radius * Math.fround(Math.cos(angle));
    values[i + 8] = radius * Math.fround(Math.sin(angle));
  }
}

/** MT19937, 32 bits a call. */
function mersenne(seed: number): () => number {
  const state = new Uint32Array(624);
  state[0] = seed >>> 0;
  for (let i = 1; i < 624; i++) {
    const previous = (state[i - 1] ?? 0) ^ ((state[i - 1] ?? 0) >>> 30);
    state[i] = Math.imul(1812433253, previous) + i;
  }
  let index = 624;
  const twist = (): void => {
    for (let i = 0; i < 624; i++) {
      const y = ((state[i] ?? 0) & 0x80000000) | ((state[(i + 1) % 624] ?? 0) & 0x7fffffff);
      state[i] = (state[(i + 397) % 624] ?? 0) ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    index = 0;
  };
  return () => {
    if (index === 624) {
      twist();
    }
    let y = state[index++] ?? 0;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
}
