/** A sampler: the time steps of a run, and the update from one to the next. Scalars are float64, samples float32. models.md C. */
export interface Sampler {
  /** What the model is called with at each step. */
  readonly timesteps: readonly number[];
  /** One update. Samplers of second order remember earlier steps, so steps run in order; a new run needs a new sampler. */
  step(output: Float32Array, index: number, sample: Float32Array): Float32Array;
  /** The model's estimate of the clean sample at a step. */
  clean(output: Float32Array, index: number, sample: Float32Array): Float32Array;
}

/** Σ wᵢ·xᵢ elementwise. */
export function combine(...terms: readonly (readonly [number, Float32Array])[]): Float32Array {
  const out = new Float32Array(terms[0]?.[1].length ?? 0);
  for (let i = 0; i < out.length; i++) {
    let sum = 0;
    for (const [weight, values] of terms) {
      sum += weight * (values[i] ?? 0);
    }
    out[i] = sum;
  }
  return out;
}

/** ᾱ of `count` training steps. 'linear': β linear; 'scaled_linear': √β linear. */
export function alphasCumprod(schedule: 'linear' | 'scaled_linear', start: number, end: number, count: number): Float64Array {
  const [from, to] = schedule === 'linear' ? [start, end] : [Math.sqrt(start), Math.sqrt(end)];
  let product = 1;
  return Float64Array.from({ length: count }, (_, i) => {
    const value = count === 1 ? from : from + ((to - from) * i) / (count - 1);
    product *= 1 - (schedule === 'linear' ? value : value * value);
    return product;
  });
}
