// How far a Hadamard rotation can promise the marginal for a given row.
#pragma once

#include <cmath>
#include <cstdint>

#include "rotation/rpbh.h"

namespace quantscope {

/// rho of OrbitQuant's Proposition 1 (arXiv 2607.02461), delta = 0.01: d max(x)^2 sqrt(ln(4 k / delta) / (2 h)) for unit rows x,
/// h the Hadamard block of the width d and k = d / h. `peak` is the largest d max(x)^2 over the rows.
inline double concentrationRho(double peak, uint64_t width) {
    constexpr double kDelta = 0.01;
    const double h = static_cast<double>(hadamardBlock(width));
    const double k = static_cast<double>(width) / h;
    return peak * std::sqrt(std::log(4 * k / kDelta) / (2 * h));
}

}  // namespace quantscope
