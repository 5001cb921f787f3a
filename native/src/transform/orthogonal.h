// Dense random orthogonal matrices.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/workers.h"

namespace quantscope {

/// Of what a recipe draws by its seed: 81 MiB of float32, a few seconds.
inline constexpr uint64_t kMaxOrthogonal = 4608;

/// Standard normal numbers from SplitMix64 with state seed XOR (width << 32): Box-Muller on pairs of uniform() values u and v,
/// sqrt(-2 ln(1 - u)) times cos(2πv), then sin(2πv).
std::vector<double> gaussianNumbers(uint64_t count, uint64_t width, uint64_t seed);

/// Q [width, width] of the QR decomposition of a matrix of gaussianNumbers (row-major), R's diagonal positive, so that Q is uniform over
/// the orthogonal matrices (Mezzadri 2007). In float64 by Cholesky QR, twice.
std::vector<double> randomOrthogonal(uint64_t width, uint64_t seed, Workers& workers);

/// What randomOrthogonal() advances the workers by.
inline double orthogonalWork(uint64_t width) {
    const auto n = static_cast<double>(width);
    return 2.0 * n * n * n / 3.0;
}

/// The same in float32, from a bounded cache.
std::shared_ptr<const std::vector<float>> orthogonalFor(uint64_t width, uint64_t seed, Workers& workers);

}  // namespace quantscope
