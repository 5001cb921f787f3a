#include "stats/marginal.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/lru_cache.h"
#include "stats/sphere.h"

namespace quantscope {

namespace {

/// The marginal's distribution function at the grid's edges, cells + 1 values.
using EdgeValues = std::vector<double>;

EdgeValues edgeValues(uint64_t width, uint32_t cells) {
    const SphereMarginal marginal(width);
    const double unit = std::sqrt(marginal.dimension());
    EdgeValues values(size_t{cells} + 1);
    for (size_t i = 0; i <= cells / 2; ++i) {  // the edges are symmetric about 0
        const double edge = -MarginalGrid::kLimit + 2 * MarginalGrid::kLimit * static_cast<double>(i) / cells;
        values[i] = marginal.cdf(edge / unit);
        values[cells - i] = 1.0 - values[i];
    }
    return values;
}

std::shared_ptr<const EdgeValues> edgeValuesFor(uint64_t width, uint32_t cells) {
    static LruCache<std::pair<uint64_t, uint32_t>, EdgeValues> cache(32);
    return cache.get({width, cells}, 1, [&] { return edgeValues(width, cells); });
}

/// Integral of |a + (b - a) s| over s in 0..1.
double meanAbsolute(double a, double b) {
    const double sum = std::fabs(a) + std::fabs(b);
    return a * b >= 0 ? 0.5 * sum : 0.5 * (a * a + b * b) / sum;
}

void measureDistances(Marginal& result, const MarginalSums& sums, const std::vector<uint64_t>& counts, const MarginalGrid& grid,
                      const EdgeValues& expected) {
    const double n = static_cast<double>(sums.count);
    double least = 0;  // bounds of the Kolmogorov-Smirnov distance
    double most = 0;
    double area = 0;
    double previous = 0;          // empirical distribution at the cell's left edge
    double previousExpected = 0;  // the marginal's
    uint64_t below = 0;
    for (size_t cell = 0; cell < grid.countsSize(); ++cell) {
        below += counts[cell];
        const double current = static_cast<double>(below) / n;
        const double currentExpected = cell < expected.size() ? expected[cell] : 1.0;
        least = std::max(least, std::fabs(current - currentExpected));
        most = std::max({most, current - previousExpected, currentExpected - previous});
        if (cell > 0 && cell <= grid.cells) {
            area += meanAbsolute(previous - previousExpected, current - currentExpected);
        }
        previous = current;
        previousExpected = currentExpected;
    }
    result.ks = 0.5 * (least + most);
    result.wasserstein1 = area * (2 * MarginalGrid::kLimit / grid.cells) + (sums.excessBelow + sums.excessAbove) / n;
}

double excessKurtosis(const MarginalSums& sums) {
    const double n = static_cast<double>(sums.count);
    const double mean = sums.powers.s1 / n;
    const double m2 = sums.powers.s2 / n - mean * mean;
    const double m4 = sums.powers.s4 / n - mean * (4 * sums.powers.s3 / n - mean * (6 * sums.powers.s2 / n - 3 * mean * mean));
    // Coordinates have a mean square of 1. A variance at rounding level means that they are all equal: no shape to speak of.
    return m2 < 1e-6 ? 0.0 : m4 / (m2 * m2) - 3.0;
}

}  // namespace

MarginalGrid::MarginalGrid(uint32_t bins) : histogramBins(bins), cells((24576 + bins - 1) / bins * bins) {
    const double perUnit = cells / (2 * kLimit);
    binning = {static_cast<float>(perUnit), static_cast<float>(kLimit * perUnit + 1), cells + 1};
}

void MarginalSums::add(const float* x, size_t n, float scale, const MarginalGrid& grid, uint32_t* counts, const Kernels& kernels) {
    const PowerSums row = kernels.binAndSum(x, n, scale, grid.binning, counts);
    if (row.maxAbs > MarginalGrid::kLimit) {
        for (size_t i = 0; i < n; ++i) {
            const double u = static_cast<double>(x[i]) * scale;
            excessBelow += std::max(0.0, -MarginalGrid::kLimit - u);
            excessAbove += std::max(0.0, u - MarginalGrid::kLimit);
        }
    }
    MarginalSums added;
    added.count = n;
    added.powers = row;
    merge(added);
}

void MarginalSums::merge(const MarginalSums& other) {
    count += other.count;
    powers.s1 += other.powers.s1;
    powers.s2 += other.powers.s2;
    powers.s3 += other.powers.s3;
    powers.s4 += other.powers.s4;
    powers.maxAbs = std::max(powers.maxAbs, other.powers.maxAbs);
    excessBelow += other.excessBelow;
    excessAbove += other.excessAbove;
}

Marginal finishMarginal(const MarginalSums& sums, const std::vector<uint64_t>& counts, const MarginalGrid& grid, uint64_t width) {
    Marginal result;
    result.histogram = {-MarginalGrid::kLimit, MarginalGrid::kLimit, std::vector<uint64_t>(size_t{grid.histogramBins} + 2)};
    const size_t cellsPerBin = grid.cells / grid.histogramBins;
    result.histogram.counts.front() = counts.front();
    result.histogram.counts.back() = counts.back();
    for (size_t cell = 0; cell < grid.cells; ++cell) {
        result.histogram.counts[1 + cell / cellsPerBin] += counts[1 + cell];
    }
    if (sums.count == 0) {
        return result;
    }
    result.maxAbs = sums.powers.maxAbs;
    result.excessKurtosis = excessKurtosis(sums);
    if (width == 1) {
        // Every coordinate is -1 or 1; only the share of each can differ from one half.
        uint64_t negative = 0;
        for (size_t cell = 0; cell <= grid.cells / 2; ++cell) {
            negative += counts[cell];
        }
        result.ks = std::fabs(static_cast<double>(negative) / static_cast<double>(sums.count) - 0.5);
        result.wasserstein1 = 2 * result.ks;
    } else {
        measureDistances(result, sums, counts, grid, *edgeValuesFor(width, grid.cells));
    }
    return result;
}

}  // namespace quantscope
