// What gpu.sh builds without Highway and LAPACK: the scalar level is the only one, and a plain Cholesky factor.
#include <cmath>

#include "cpu/kernels.h"
#include "integer/kernels.h"
#include "solver/dense.h"

namespace quantscope {

const Kernels& kernels() { return scalarKernels(); }
const ProductKernels& productKernelsFor(std::string_view) { return scalarProductKernels(); }

bool factorLower(double* a, size_t n, Workers& workers) {
    for (size_t i = 0; i < n; ++i) {
        workers.checkCancelled();
        for (size_t j = 0; j <= i; ++j) {
            double value = a[i * n + j];
            for (size_t k = 0; k < j; ++k) {
                value -= a[i * n + k] * a[j * n + k];
            }
            if (i == j && !(value > 0)) {
                return false;
            }
            a[i * n + j] = i == j ? std::sqrt(value) : value / a[j * n + j];
        }
    }
    return true;
}

}  // namespace quantscope
