#include "stats/marginal.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "stats/sphere.h"
#include "support.h"

namespace quantscope {
namespace {

/// Rows added as measure() does: divided by the norm, times sqrt(width).
struct Collected {
    Marginal marginal;
    std::vector<double> sorted;
};

Collected collect(const std::vector<std::vector<float>>& rows, uint32_t bins = 96) {
    const MarginalGrid grid(bins);
    std::vector<uint32_t> counts(grid.countsSize());
    MarginalSums sums;
    Collected result;
    const size_t width = rows.front().size();
    for (const auto& row : rows) {
        double square = 0;
        for (const float value : row) {
            square += static_cast<double>(value) * value;
        }
        const double scale = std::sqrt(static_cast<double>(width) / square);
        sums.add(row.data(), width, static_cast<float>(scale), grid, counts.data(), kernels());
        for (const float value : row) {
            result.sorted.push_back(value * scale);
        }
    }
    std::sort(result.sorted.begin(), result.sorted.end());
    result.marginal = finishMarginal(sums, std::vector<uint64_t>(counts.begin(), counts.end()), grid, width);
    return result;
}

double exactKs(const std::vector<double>& sorted, uint64_t width) {
    const SphereMarginal marginal(width);
    const double n = static_cast<double>(sorted.size());
    double distance = 0;
    for (size_t i = 0; i < sorted.size(); ++i) {
        const double f = marginal.cdf(sorted[i] / std::sqrt(static_cast<double>(width)));
        distance = std::max({distance, (static_cast<double>(i) + 1) / n - f, f - static_cast<double>(i) / n});
    }
    return distance;
}

/// Integral of |empirical - marginal| by the midpoint rule on a grid ten times finer than the histogram's.
double exactWasserstein(const std::vector<double>& sorted, uint64_t width) {
    const SphereMarginal marginal(width);
    const double unit = std::sqrt(static_cast<double>(width));
    const double limit = std::max({8.0, -sorted.front(), sorted.back()}) + 0.01;
    const size_t steps = static_cast<size_t>(2 * limit / 5e-5);
    double area = 0;
    size_t below = 0;
    for (size_t i = 0; i < steps; ++i) {
        const double x = -limit + 2 * limit * (static_cast<double>(i) + 0.5) / static_cast<double>(steps);
        while (below < sorted.size() && sorted[below] < x) {
            ++below;
        }
        area += std::fabs(static_cast<double>(below) / static_cast<double>(sorted.size()) - marginal.cdf(x / unit));
    }
    return area * 2 * limit / static_cast<double>(steps);
}

void expectExact(const Collected& c, uint64_t width) {
    EXPECT_NEAR(c.marginal.ks, exactKs(c.sorted, width), 1e-4);
    EXPECT_NEAR(c.marginal.wasserstein1, exactWasserstein(c.sorted, width), 5e-5);
    EXPECT_NEAR(c.marginal.maxAbs, std::max(-c.sorted.front(), c.sorted.back()), 1e-5);
}

TEST(Marginal, GaussianRowsFollowTheFixedMarginal) {
    test::Gaussian gaussian(3);
    std::vector<std::vector<float>> rows;
    for (int i = 0; i < 64; ++i) {
        rows.push_back(gaussian.floats(1152));
    }
    const Collected c = collect(rows);
    expectExact(c, 1152);
    EXPECT_LT(c.marginal.ks, 1.63 / std::sqrt(64 * 1152.0));  // the 1 % point of the Kolmogorov distribution
    EXPECT_NEAR(c.marginal.excessKurtosis, -6.0 / 1154, 0.1);  // exact value of the marginal: -6 / (d + 2)
}

TEST(Marginal, RowsWithOutliersDoNot) {
    test::Gaussian gaussian(4);
    std::vector<std::vector<float>> rows;
    for (int i = 0; i < 32; ++i) {
        auto row = gaussian.floats(768);
        row[5] *= 60;
        row[99] *= 60;
        rows.push_back(row);
    }
    const Collected c = collect(rows);
    expectExact(c, 768);
    EXPECT_GT(c.marginal.ks, 0.1);
    EXPECT_GT(c.marginal.excessKurtosis, 50);
    EXPECT_GT(c.marginal.maxAbs, MarginalGrid::kLimit);
    EXPECT_GT(c.marginal.histogram.counts.front() + c.marginal.histogram.counts.back(), 0u);
}

TEST(Marginal, DiscreteRows) {
    // Atoms: signs only. Every coordinate is -1 or 1, far from the marginal; and exact zeros.
    SplitMix64 random(5);
    std::vector<std::vector<float>> rows(20, std::vector<float>(256));
    for (auto& row : rows) {
        for (auto& value : row) {
            value = static_cast<float>(static_cast<int>(random.below(3)) - 1);
        }
    }
    const Collected c = collect(rows);
    expectExact(c, 256);
}

TEST(Marginal, SmallWidths) {
    test::Gaussian gaussian(6);
    for (const size_t width : {3, 4, 8, 30}) {
        std::vector<std::vector<float>> rows;
        for (int i = 0; i < 3000; ++i) {
            rows.push_back(gaussian.floats(width));
        }
        const Collected c = collect(rows);
        expectExact(c, width);
        EXPECT_LT(c.marginal.ks, 0.03) << width;
    }
    std::vector<std::vector<float>> pairs;
    for (int i = 0; i < 3000; ++i) {
        pairs.push_back(gaussian.floats(2));
    }
    const Collected two = collect(pairs);
    EXPECT_NEAR(two.marginal.ks, exactKs(two.sorted, 2), 2e-3);
    const Collected one = collect({{1.0f}, {-2.0f}, {3.0f}, {4.0f}});
    EXPECT_DOUBLE_EQ(one.marginal.ks, 0.25);
    EXPECT_DOUBLE_EQ(one.marginal.wasserstein1, 0.5);
}

TEST(Marginal, KurtosisIsCentral) {
    std::vector<float> row(100, 1.0f);
    row[0] = 3.0f;
    double mean = 0;
    for (const float v : row) {
        mean += v / 100.0;
    }
    double m2 = 0;
    double m4 = 0;
    for (const float v : row) {
        m2 += std::pow(v - mean, 2) / 100;
        m4 += std::pow(v - mean, 4) / 100;
    }
    EXPECT_NEAR(collect({row}).marginal.excessKurtosis, m4 / (m2 * m2) - 3, 0.01);
    EXPECT_EQ(collect({std::vector<float>(100, 1.0f)}).marginal.excessKurtosis, 0.0);
}

TEST(Marginal, HistogramBinsAreExact) {
    test::Gaussian gaussian(7);
    for (const uint32_t bins : {1u, 7u, 96u, 100u, 4096u}) {
        const Collected c = collect({gaussian.floats(2000)}, bins);
        const Histogram& histogram = c.marginal.histogram;
        ASSERT_EQ(histogram.counts.size(), bins + 2);
        uint64_t total = 0;
        std::vector<uint64_t> expected(bins + 2);
        for (const double u : c.sorted) {
            ++expected[u < -6 ? 0 : u >= 6 ? bins + 1 : 1 + static_cast<size_t>((u + 6) * bins / 12)];
        }
        uint64_t moved = 0;
        for (size_t i = 0; i < expected.size(); ++i) {
            total += histogram.counts[i];
            moved += expected[i] > histogram.counts[i] ? expected[i] - histogram.counts[i] : 0;
        }
        EXPECT_EQ(total, 2000u);
        EXPECT_LE(moved, 2u) << bins;  // single precision may move a value that lies on an edge
    }
}

TEST(Marginal, NothingMeasured) {
    const MarginalGrid grid(10);
    const Marginal marginal = finishMarginal({}, std::vector<uint64_t>(grid.countsSize()), grid, 64);
    EXPECT_EQ(marginal.ks, 0);
    EXPECT_EQ(marginal.histogram.counts, std::vector<uint64_t>(12));
}

}  // namespace
}  // namespace quantscope
