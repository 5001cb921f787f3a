// How far rows of a weight are from the fixed marginal: rows divided by their norm and multiplied by sqrt(d), pooled, against
// sqrt(d) T of SphereMarginal. Unit: standard deviations of the marginal.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "cpu/kernels.h"

namespace quantscope {

/// counts[0] holds everything below lo, the last everything at or above hi.
struct Histogram {
    double lo = 0;
    double hi = 0;
    std::vector<uint64_t> counts;
};

struct Marginal {
    double ks = 0;            ///< Kolmogorov-Smirnov distance, 0..1
    double wasserstein1 = 0;  ///< Wasserstein-1 distance
    double excessKurtosis = 0;
    double maxAbs = 0;
    Histogram histogram;
};

/// Cells of the fine histogram that everything is read from: at most 12/24576 wide over -6..6, an exact multiple of the bins that
/// are reported.
///
/// Accuracy. Inside a cell both distribution functions lie between their values at its edges, so the Kolmogorov-Smirnov distance is
/// known to within the marginal's own mass in one cell; the middle of the two bounds is reported and is off by at most half of it:
/// 1e-4 for d >= 3 (0.4 * 12/24576 / 2), 2e-3 for d = 2, whose density is unbounded. For the Wasserstein distance the
/// empirical function is taken as linear inside a cell: off by at most half a cell, 2.5e-4, and by far less for spread-out data.
/// Beyond +-6, where the marginal has less than 2e-9 of its mass, the sum of the excesses replaces the cells, exact to 1e-9.
struct MarginalGrid {
    static constexpr double kLimit = 6.0;

    /// histogramBins in 1..4096.
    explicit MarginalGrid(uint32_t histogramBins);
    uint32_t histogramBins;
    uint32_t cells;  ///< between -6 and 6
    BinGrid binning;
    size_t countsSize() const { return size_t{cells} + 2; }
};

/// What rows add to, besides the counts. Merging in a fixed order gives the same result whatever thread measured which row.
struct MarginalSums {
    uint64_t count = 0;
    PowerSums powers;
    double excessBelow = 0;  ///< sum of (-6 - u) over u < -6
    double excessAbove = 0;  ///< sum of (u - 6) over u > 6

    /// Adds n values x * scale, counting them into `counts` (grid.countsSize() cells).
    void add(const float* x, size_t n, float scale, const MarginalGrid& grid, uint32_t* counts, const Kernels& kernels);
    void merge(const MarginalSums& other);
};

/// The distances for rows of `width` >= 1. Without any value all numbers are 0.
Marginal finishMarginal(const MarginalSums& sums, const std::vector<uint64_t>& counts, const MarginalGrid& grid, uint64_t width);

}  // namespace quantscope
