// Products and factors of large float64 matrices, split among the workers. Row-major. Results do not depend on the number of
// threads; the cancellation is looked at every few milliseconds.
#pragma once

#include <cstddef>

#include "base/workers.h"

namespace quantscope {

/// y[rows, columns] = x[rows, width] · w[width, columns] + keep · y, on the calling thread. `…Stride` is the distance between rows.
void multiply(size_t rows, size_t columns, size_t width, const double* x, size_t xStride, const double* w, size_t wStride,
              double keep, double* y, size_t yStride);

/// x[rows, n] := x L⁻¹ for the lower triangle L of `lower` [n, n], on the calling thread.
void solveLower(size_t rows, size_t n, const double* lower, size_t stride, double* x, size_t xStride);

/// Cholesky: the lower triangle of the symmetric a [n, n] becomes L with a = L Lᵀ; what lies above the diagonal is neither read nor
/// written. False when a is not positive definite; the lower triangle then holds nothing of use. Advances the workers by n³ / 3.
bool factorLower(double* a, size_t n, Workers& workers);

}  // namespace quantscope
