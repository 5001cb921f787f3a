// Fits: eigenvectors, DiRotQ's basis, DuQuant's rotation of outliers.
#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "base/error.h"
#include "support.h"
#include "transform/basis.h"
#include "transform/eigen.h"
#include "transform/outlier_rotation.h"

namespace quantscope {
namespace {

class Fit : public testing::Test {
protected:
    ThreadPool pool_{2};
    const Cancellation cancellation_;
    const Progress progress_ = [](double) {};
    Workers workers_{pool_, cancellation_, progress_, 1};
};

/// Mean of x xᵀ.
std::vector<float> momentsOf(const std::vector<float>& x, size_t width) {
    std::vector<float> moments(width * width);
    for (size_t i = 0; i < width; ++i) {
        for (size_t j = 0; j < width; ++j) {
            double sum = 0;
            for (size_t row = 0; row < x.size(); row += width) {
                sum += static_cast<double>(x[row + i]) * x[row + j];
            }
            moments[i * width + j] = static_cast<float>(sum * static_cast<double>(width) / static_cast<double>(x.size()));
        }
    }
    return moments;
}

template <class T>
void expectOrthogonal(const T* m, size_t n, double tolerance) {
    for (size_t i = 0; i < n; ++i) {
        for (size_t j = 0; j <= i; ++j) {
            double dot = 0;
            for (size_t k = 0; k < n; ++k) {
                dot += static_cast<double>(m[i * n + k]) * m[j * n + k];
            }
            ASSERT_NEAR(dot, i == j ? 1 : 0, tolerance) << i << ", " << j;
        }
    }
}

TEST_F(Fit, EigenvectorsOfSmallLargeDegenerateAndZeroMatrices) {
    for (const size_t n : {1, 2, 3, 31, 64, 65, 97, 200}) {
        for (const size_t rank : {n, size_t{1}, size_t{0}}) {
            std::vector<double> a(n * n);
            const auto x = test::Gaussian(n).floats(rank * n + 1);
            for (size_t i = 0; i < n; ++i) {
                for (size_t j = 0; j < n; ++j) {
                    for (size_t r = 0; r < rank; ++r) {
                        a[i * n + j] += static_cast<double>(x[r * n + i]) * x[r * n + j];
                    }
                }
            }
            const auto eigen = symmetricEigen(a, n, workers_);
            ASSERT_TRUE(std::is_sorted(eigen.values.begin(), eigen.values.end()));
            expectOrthogonal(eigen.vectors.data(), n, 1e-12);
            const double size = std::max(1.0, std::fabs(eigen.values.back()));
            for (size_t k = 0; k < n; ++k) {
                for (size_t i = 0; i < n; ++i) {
                    double sum = 0;
                    for (size_t j = 0; j < n; ++j) {
                        sum += a[i * n + j] * eigen.vectors[k * n + j];
                    }
                    ASSERT_NEAR(sum, eigen.values[k] * eigen.vectors[k * n + i], 1e-12 * size * static_cast<double>(n)) << n << ", rank " << rank;
                }
            }
        }
    }
}

TEST_F(Fit, TheBasisPutsTheLargestVariancesLastAndMixesTheRest) {
    constexpr size_t kWidth = 96, kHigh = 12, kRows = 500;
    auto x = test::Gaussian(5).floats(kRows * kWidth);
    for (size_t i = 0; i < x.size(); ++i) {
        x[i] *= i % kWidth < 12 ? 20.0f : 1.0f;
    }
    for (const uint64_t heads : {1, 4}) {
        const auto basis = fitBasis(momentsOf(x, kWidth), kWidth, heads, kHigh, 42, workers_);
        const size_t block = kWidth / heads, high = kHigh / heads;
        ASSERT_EQ(basis.block, block);
        const std::set<int32_t> used(basis.sources.begin(), basis.sources.end());
        EXPECT_EQ(used.size(), heads == 1 ? 0 : kWidth);
        for (uint64_t head = 0; head < heads; ++head) {
            const float* m = basis.matrices.data() + head * block * block;
            expectOrthogonal(m, block, 1e-5);
            std::vector<double> variance(block);
            for (size_t row = 0; row < x.size(); row += kWidth) {
                for (size_t i = 0; i < block; ++i) {
                    double y = 0;
                    for (size_t j = 0; j < block; ++j) {
                        y += static_cast<double>(m[i * block + j]) * x[row + head * block + j];
                    }
                    variance[i] += y * y / kRows;
                }
            }
            const auto lowEnd = variance.begin() + static_cast<ptrdiff_t>(block - high);
            ASSERT_TRUE(std::is_sorted(lowEnd, variance.end()));
            if (heads == 1) {
                EXPECT_GT(*lowEnd, 200.0);
                EXPECT_LT(*std::max_element(variance.begin(), lowEnd), 2.0);
            }
        }
        for (size_t i = 0; i < basis.sources.size(); ++i) {  // high coordinates of every head at the end
            EXPECT_EQ(static_cast<size_t>(basis.sources[i]) % block >= block - high, i >= kWidth - kHigh);
        }
    }
}

TEST_F(Fit, TheBasisOfMomentsWithoutFullRankIsStillOrthogonal) {
    constexpr size_t kWidth = 40;
    auto x = test::Gaussian(1).floats(3 * kWidth);
    for (size_t i = 0; i < x.size(); i += kWidth) {
        x[i] = 0;  // a dead channel
    }
    expectOrthogonal(fitBasis(momentsOf(x, kWidth), kWidth, 1, 5, 0, workers_).matrices.data(), kWidth, 1e-5);
    expectOrthogonal(fitBasis(std::vector<float>(kWidth * kWidth), kWidth, 1, 5, 0, workers_).matrices.data(), kWidth, 1e-5);
}

TEST_F(Fit, TheBasisRefusesWhatItCannotDo) {
    std::vector<float> moments(36, 1.0f);
    const auto refused = [&](uint64_t heads, uint64_t high, const std::string& message) {
        test::expectError(ErrorCode::Argument, message, [&] { fitBasis(moments, 6, heads, high, 0, workers_); });
    };
    refused(4, 0, "4 heads do not divide 6 inputs");
    refused(3, 2, "tail of 2");
    refused(1, 6, "leaves nothing to quantize");
    moments[13] = std::numeric_limits<float>::quiet_NaN();
    refused(1, 1, "is not finite");
}

TEST_F(Fit, SpreadingRotationsAreOrthogonalAndSpreadTheFirstCoordinate) {
    for (const uint64_t n : {2, 3, 16, 128}) {
        const auto r = spreadingRotation(n, 1, workers_);
        expectOrthogonal(r.data(), n, 1e-12);
        for (uint64_t j = 0; j < n; ++j) {
            EXPECT_NEAR(r[j], 1 / std::sqrt(static_cast<double>(n)), 1e-12);
        }
    }
}

TEST_F(Fit, ChannelsAreDealtBackAndForthOrInTurn) {
    const std::vector<double> keys{1, 6, 3, 4, 5, 2};  // ranked 1 4 3 2 5 0
    EXPECT_EQ(dealChannels(keys, 2, DealOrder::Zigzag), (std::vector<int32_t>{1, 0, 4, 5, 3, 2}));
    EXPECT_EQ(dealChannels(keys, 2, DealOrder::RoundRobin), (std::vector<int32_t>{1, 2, 4, 5, 3, 0}));
    EXPECT_EQ(dealChannels(std::vector<double>(4, 1.0), 4, DealOrder::Zigzag), (std::vector<int32_t>{0, 1, 2, 3}));
}

TEST_F(Fit, OutliersAreSpreadAndTheBestPrefixIsKept) {
    constexpr size_t kWidth = 384, kBlock = 128;
    auto x = test::Gaussian(2).floats(20 * kWidth);
    for (size_t row = 0; row < x.size(); row += kWidth) {
        x[row + 3] += 80;  // the same channel in every token
        x[row + 200] -= 50;
    }
    for (const DealOrder order : {DealOrder::Zigzag, DealOrder::RoundRobin}) {
        const auto fit = fitOutlierRotation(x, kWidth, kBlock, 64, order, 3, workers_);
        expectOrthogonal(fit.first.data(), kBlock, 1e-5);
        expectOrthogonal(fit.second.data(), kBlock, 1e-5);
        EXPECT_EQ(std::set<int32_t>(fit.sources.begin(), fit.sources.end()).size(), kWidth);
        EXPECT_GT(fit.peakBefore, 130);
        EXPECT_LT(fit.peakAfter, 0.3 * fit.peakBefore);
        // More steps find no worse prefix.
        EXPECT_LE(fitOutlierRotation(x, kWidth, kBlock, 128, order, 3, workers_).peakAfter, 1.2 * fit.peakAfter);
        ThreadPool three(3);
        Workers others(three, cancellation_, progress_, 1);
        EXPECT_EQ(fitOutlierRotation(x, kWidth, kBlock, 64, order, 3, others).second, fit.second);
    }
    // Nothing to gain: no step is kept.
    std::vector<float> flat(kBlock * 4);
    for (size_t i = 0; i < flat.size(); ++i) {
        flat[i] = i % 2 == 0 ? 1.0f : -1.0f;
    }
    const auto fit = fitOutlierRotation(flat, kBlock, kBlock, 1, DealOrder::Zigzag, 3, workers_);
    EXPECT_EQ(fit.first[0], 1.0f);
    EXPECT_EQ(fit.peakAfter, 2.0);
}

TEST_F(Fit, OutlierRotationsRefuseWhatTheyCannotDo) {
    const auto refused = [&](std::vector<float> sample, uint64_t block, const std::string& message) {
        test::expectError(ErrorCode::Argument, message, [&] { fitOutlierRotation(sample, 6, block, 4, DealOrder::Zigzag, 0, workers_); });
    };
    refused(std::vector<float>(12, 1.0f), 4, "blocks of 4 do not divide 6 inputs");
    refused(std::vector<float>(12, 1.0f), 1, "blocks of 1");
    refused({}, 3, "Calibrate with more data");
    refused({1, 2, std::numeric_limits<float>::infinity(), 0, 0, 0}, 3, "input 2 is NaN or infinite");
}

TEST_F(Fit, AreCancelled) {
    Cancellation cancelled;
    cancelled.cancel();
    Workers workers(pool_, cancelled, progress_, 1);
    const std::vector<float> values(64 * 64, 1.0f);
    test::expectError(ErrorCode::Cancelled, "", [&] { fitBasis(values, 64, 1, 8, 0, workers); });
    test::expectError(ErrorCode::Cancelled, "", [&] { fitOutlierRotation(values, 64, 8, 4, DealOrder::Zigzag, 0, workers); });
}

}  // namespace
}  // namespace quantscope
