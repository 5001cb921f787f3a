// Low-rank branches: singular vectors where they are known, and SVDQuant's iteration.
#include <gtest/gtest.h>

#include "base/error.h"
#include "solver/gptq.h"
#include "solver/low_rank.h"
#include "support.h"

namespace quantscope {
namespace {

struct Context {
    explicit Context(unsigned threads = 2) : pool(threads) {}
    ThreadPool pool;
    Cancellation cancellation;
    Progress progress = [](double) {};
    Workers workers{pool, cancellation, progress, 1};
};

double energy(const std::vector<float>& values) {
    double sum = 0;
    for (const float v : values) {
        sum += static_cast<double>(v) * v;
    }
    return sum;
}

/// Gaussian noise of `noise` around a product of Gaussian factors with singular values near strength, strength / 2, strength / 4…
std::vector<float> planted(size_t rows, size_t width, size_t rank, double strength, double noise, uint64_t seed) {
    test::Gaussian random(seed);
    auto result = random.floats(rows * width);
    for (float& v : result) {
        v *= static_cast<float>(noise);
    }
    for (size_t r = 0; r < rank; ++r, strength /= 2) {
        const auto left = random.floats(rows);
        const auto right = random.floats(width);
        for (size_t i = 0; i < rows; ++i) {
            for (size_t j = 0; j < width; ++j) {
                result[i * width + j] += static_cast<float>(strength * left[i] * right[j] / std::sqrt(static_cast<double>(rows * width)));
            }
        }
    }
    return result;
}

std::vector<float> residualOf(const std::vector<float>& weights, size_t rows, size_t width, size_t rank, unsigned threads = 2) {
    Context context(threads);
    SubspaceIteration subspace(rows, width, rank);
    const LowRankBranch branch = subspace.approximate(weights.data(), context.workers);
    std::vector<float> residual(weights.size());
    subtractProduct(branch, weights.data(), rows, width, residual.data(), context.workers);
    return residual;
}

TEST(LowRank, FindsWhatWasPlanted) {
    struct Case {
        size_t rows, width, rank;
    };
    for (const Case& c : {Case{40, 97, 3}, {130, 300, 5}, {300, 130, 5}, {1, 50, 1}, {50, 1, 1}, {7, 7, 7}}) {
        const auto exact = planted(c.rows, c.width, c.rank, 1, 0, c.rows);
        // What BF16 leaves: 2^-9 of each factor at most.
        EXPECT_LT(energy(residualOf(exact, c.rows, c.width, c.rank)), 2e-5 * energy(exact)) << c.rows << " x " << c.width;
    }
    const auto noisy = planted(200, 256, 4, 30, 0.01, 9);
    const double noise = 0.01 * 0.01 * 200 * 256;
    EXPECT_LT(energy(residualOf(noisy, 200, 256, 4)), noise + 2e-5 * energy(noisy));
}

TEST(LowRank, SingularValuesOfADiagonal) {
    constexpr size_t kSide = 64, kRank = 8;
    std::vector<float> weights(kSide * kSide);
    double rest = 0;
    for (size_t i = 0; i < kSide; ++i) {
        weights[i * kSide + (i * 5 + 3) % kSide] = static_cast<float>(std::pow(0.7, i));
        rest += i < kRank ? 0 : std::pow(0.49, i);
    }
    EXPECT_NEAR(energy(residualOf(weights, kSide, kSide, kRank)), rest, 2e-5);
}

TEST(LowRank, ZeroAndRankDeficientWeights) {
    EXPECT_EQ(energy(residualOf(std::vector<float>(30 * 20), 30, 20, 4)), 0);
    const auto one = planted(30, 20, 1, 1, 0, 3);
    EXPECT_LT(energy(residualOf(one, 30, 20, 6)), 2e-5 * energy(one));
}

TEST(LowRank, DoesNotDependOnThreads) {
    const auto weights = planted(300, 400, 6, 10, 0.1, 4);
    EXPECT_EQ(residualOf(weights, 300, 400, 8, 1), residualOf(weights, 300, 400, 8, 3));
}

TEST(LowRank, RefusesRanksThatAreNone) {
    EXPECT_THROW(SubspaceIteration(10, 20, 0), Error);
    EXPECT_THROW(SubspaceIteration(10, 20, 11), Error);
}

TEST(LowRank, IterationTakesOutliersOutOfTheResidual) {
    constexpr size_t kRows = 96, kWidth = 128;
    auto weights = planted(kRows, kWidth, 2, 100, 0.05, 5);
    const RowCodec codec(IntQuantizer{4, true, Granularity::Group, 64, FloatType::Fp16}, kWidth, {}, kernels());
    Context context;
    const auto errorOf = [&](const std::vector<float>& residual, std::vector<float>& quantized) {
        const Rounding rounding = roundToNearest(residual.data(), kRows, codec, context.workers);
        double error = 0;
        for (size_t i = 0; i < kRows; ++i) {
            codec.decode(rounding.codes.data() + i * kWidth, rounding.sides.data() + i * codec.sides(), quantized.data() + i * kWidth);
        }
        for (size_t i = 0; i < quantized.size(); ++i) {
            error += std::pow(static_cast<double>(residual[i]) - quantized[i], 2);
        }
        return error;
    };
    std::vector<float> quantized(weights.size());
    const double plain = errorOf(weights, quantized);
    const LowRankFit once = fitLowRank(weights, kRows, kWidth, 8, 1, errorOf, context.workers);
    EXPECT_EQ(once.iterations, 1u);
    EXPECT_LT(once.error, plain / 100);
    const LowRankFit often = fitLowRank(weights, kRows, kWidth, 8, 100, errorOf, context.workers);
    EXPECT_LT(often.error, once.error);
    EXPECT_GT(often.iterations, 2u);
    EXPECT_LT(often.iterations, 100u);
    // The residual is that of the rounded factors.
    std::vector<float> residual(weights.size());
    subtractProduct(often.branch, weights.data(), kRows, kWidth, residual.data(), context.workers);
    EXPECT_EQ(residual, often.residual);
    EXPECT_EQ(errorOf(often.residual, quantized), often.error);
}

}  // namespace
}  // namespace quantscope
