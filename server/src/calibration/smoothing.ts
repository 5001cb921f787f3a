/** Smoothing factors λ per input channel: x / λ and W · λ. SmoothQuant Eq 4, PTQ4DiT Eq 4–9, methods.md 4 and 5. */
import type { Smoothing } from '../protocol';

/** Below this a channel counts as unused by activations or weights, and keeps the factor 1. */
const smallest = 1e-5;

/**
 * @param activations largest |x| per channel, one array per captured time step and half of guidance, [steps][width].
 * @param weights largest |w| per input channel over all layers that read this input, [width].
 * @returns λ [width], finite and positive. `search` has no closed form: its candidates are `grid`.
 */
export function smoothingFactors(smooth: Exclude<Smoothing, { kind: 'search' }>, activations: readonly Float32Array[], weights: Float32Array): Float32Array {
  switch (smooth.kind) {
    case 'absmax': return balance(largest(activations), weights, 1, 0);
    case 'smoothquant': return balance(largest(activations), weights, smooth.alpha, smooth.beta);
    case 'csb': return balance(salienceOverTime(activations, weights), weights, 0.5, 0.5);
  }
}

/** SVDQuant's candidates: (α, 0) and (α, 1 − α) for α = 1/steps … 1, and no smoothing at all. */
export function searchGrid(steps: number): { alpha: number; beta: number }[] {
  const alphas = Array.from({ length: steps }, (_, i) => (i + 1) / steps);
  return [{ alpha: 0, beta: 0 }, ...alphas.map((alpha) => ({ alpha, beta: 0 })), ...alphas.filter((alpha) => alpha < 1).map((alpha) => ({ alpha, beta: 1 - alpha }))];
}

/** λ_j = x_j^α / w_j^β. Balanced saliences (α = β = ½) make both sides √(x_j·w_j). */
export function balance(activations: Float32Array, weights: Float32Array, alpha: number, beta: number): Float32Array {
  return activations.map((x, j) => {
    const w = weights[j] ?? 0;
    return x < smallest || w < smallest ? 1 : Math.max(smallest, x ** alpha / w ** beta);
  });
}

/** s_ρ(X) = Σ η_t s(X^(t)) with η_t ∝ exp(−ρ_t), ρ_t Spearman's rank correlation of activation and weight salience: steps where both agree least count most. PTQ4DiT Eq 7–9. */
export function salienceOverTime(activations: readonly Float32Array[], weights: Float32Array): Float32Array {
  const shares = stepShares(activations.map((salience) => spearman(salience, weights)));
  const result = new Float32Array(weights.length);
  activations.forEach((salience, t) => salience.forEach((value, j) => { result[j] = (result[j] ?? 0) + (shares[t] ?? 0) * value; }));
  return result;
}

/** η_t = exp(−ρ_t) / Σ exp(−ρ_τ); they add up to 1. */
export function stepShares(correlations: readonly number[]): number[] {
  const weights = correlations.map((rho) => Math.exp(-rho));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

/** Pearson correlation of the ranks, −1..1; ties share their mean rank. 0 when one side is constant. */
export function spearman(a: Float32Array, b: Float32Array): number {
  const [x, y] = [ranks(a), ranks(b)];
  const mean = (a.length - 1) / 2;
  let [xy, xx, yy] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const [dx, dy] = [(x[i] ?? 0) - mean, (y[i] ?? 0) - mean];
    xy += dx * dy;
    xx += dx * dx;
    yy += dy * dy;
  }
  return xx === 0 || yy === 0 ? 0 : xy / Math.sqrt(xx * yy);
}

function ranks(values: Float32Array): Float64Array {
  const order = Uint32Array.from(values, (_, i) => i).sort((i, j) => (values[i] ?? 0) - (values[j] ?? 0));
  const result = new Float64Array(values.length);
  for (let from = 0; from < order.length;) {
    let to = from + 1;
    while (to < order.length && values[order[to] ?? 0] === values[order[from] ?? 0]) {
      to++;
    }
    for (let i = from; i < to; i++) {
      result[order[i] ?? 0] = (from + to - 1) / 2;
    }
    from = to;
  }
  return result;
}

export function largest(activations: readonly Float32Array[]): Float32Array {
  return (activations[0] ?? new Float32Array()).map((_, j) => activations.reduce((most, values) => Math.max(most, values[j] ?? 0), 0));
}
