// DiRotQ's basis (arXiv 2605.16732, section 2.2 of its program): coordinates in which the activations' variance sits at the end.
#pragma once

#include <cstdint>
#include <vector>

#include "base/workers.h"

namespace quantscope {

inline constexpr uint64_t kMaxBasis = 12288;

struct Basis {
    uint64_t block = 0;                 ///< coordinates per head
    std::vector<float> matrices;        ///< [heads, block, block], y_head = M x_head
    std::vector<int32_t> sources;       ///< with several heads, [width]: puts the low parts of all heads before all high parts; else empty
};

/// secondMoments [width, width]: mean of x xᵀ. With more than one head only the blocks on its diagonal count, one basis for each. M = (U R)ᵀ:
/// U the eigenvectors in ascending order, the last high / heads of them the high part, R a random orthogonal matrix (seed, see orthogonal.h) over
/// the low part, the same for every head. The paper's damping adds a multiple of the identity, which has no influence on eigenvectors.
/// Throws Error(Argument) when heads do not divide the width and `high`, nothing is low, a head is wider than kMaxBasis, or moments are not finite.
Basis fitBasis(const std::vector<float>& secondMoments, uint64_t width, uint64_t heads, uint64_t high, uint64_t seed, Workers& workers);

/// What fitBasis() advances the workers by, about.
double basisWork(uint64_t width, uint64_t heads, uint64_t high);

}  // namespace quantscope
