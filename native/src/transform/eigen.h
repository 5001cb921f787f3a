// Eigenvectors of a symmetric matrix in float64.
#pragma once

#include <cstdint>
#include <vector>

#include "base/workers.h"

namespace quantscope {

struct SymmetricEigen {
    std::vector<double> values;   ///< ascending
    std::vector<double> vectors;  ///< [n, n], row k belongs to values[k]; its largest component (the first of equals) is positive
};

/// a [n, n], finite; only one triangle is read. Tridiagonal form, divide and conquer, and back (LAPACK's dsyevd), in panels between which the
/// cancellation is looked at. Takes 3 n² numbers of memory. Throws Error(Argument) when the iteration does not converge.
/// Advances the workers by 10 n³ / 3.
SymmetricEigen symmetricEigen(std::vector<double> a, uint64_t n, Workers& workers);

}  // namespace quantscope
