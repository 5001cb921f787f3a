// GPTQ against its own definition (explicit inverse, column by column, in double), and what must hold for any layer.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "solver/dense.h"
#include "solver/gptq.h"
#include "solver/levels.h"
#include "support.h"

namespace quantscope {
namespace {

using Matrix = std::vector<double>;

struct Context {
    explicit Context(unsigned threads = 2) : pool(threads) {}
    ThreadPool pool;
    Cancellation cancellation;
    Progress progress = [](double) {};
    Workers workers{pool, cancellation, progress, 1};
};

/// mean x xᵀ of Gaussian inputs whose channels are mixed, so that they correlate; `outliers` channels are far larger.
std::vector<float> momentsOf(size_t n, size_t samples, uint64_t seed, size_t outliers = 0) {
    test::Gaussian random(seed);
    std::vector<double> x(samples * n);
    for (size_t s = 0; s < samples; ++s) {
        double carried = 0;
        for (size_t j = 0; j < n; ++j) {
            carried = 0.7 * carried + random();
            x[s * n + j] = carried * (j * 7 % 13 < outliers ? 20 : 1);
        }
    }
    std::vector<float> result(n * n);
    for (size_t i = 0; i < n; ++i) {
        for (size_t j = 0; j < n; ++j) {
            double sum = 0;
            for (size_t s = 0; s < samples; ++s) {
                sum += x[s * n + i] * x[s * n + j];
            }
            result[i * n + j] = static_cast<float>(sum / static_cast<double>(samples));
        }
    }
    return result;
}

double proxyLoss(const std::vector<float>& w, const std::vector<float>& q, const std::vector<float>& h, size_t n) {
    double loss = 0;
    for (size_t row = 0; row < w.size() / n; ++row) {
        for (size_t i = 0; i < n; ++i) {
            for (size_t j = 0; j < n; ++j) {
                loss += (static_cast<double>(w[row * n + i]) - q[row * n + i]) * h[i * n + j] *
                        (static_cast<double>(w[row * n + j]) - q[row * n + j]);
            }
        }
    }
    return loss;
}

std::vector<float> decode(const Rounding& rounding, const RowCodec& codec) {
    std::vector<float> result(rounding.codes.size());
    for (size_t row = 0; row < result.size() / codec.width(); ++row) {
        codec.decode(rounding.codes.data() + row * codec.width(), rounding.sides.data() + row * codec.sides(),
                     result.data() + row * codec.width());
    }
    return result;
}

/// Inverse by Gauss and Jordan.
Matrix inverse(Matrix a, size_t n) {
    Matrix result(n * n);
    for (size_t i = 0; i < n; ++i) {
        result[i * n + i] = 1;
    }
    for (size_t i = 0; i < n; ++i) {
        const double pivot = a[i * n + i];
        for (size_t j = 0; j < n; ++j) {
            a[i * n + j] /= pivot;
            result[i * n + j] /= pivot;
        }
        for (size_t k = 0; k < n; ++k) {
            const double factor = a[k * n + i];
            for (size_t j = 0; k != i && j < n; ++j) {
                a[k * n + j] -= factor * a[i * n + j];
                result[k * n + j] -= factor * result[i * n + j];
            }
        }
    }
    return result;
}

/// Upper U with U^T U = a.
Matrix upperFactor(const Matrix& a, size_t n) {
    Matrix u(n * n);
    for (size_t i = 0; i < n; ++i) {
        for (size_t j = i; j < n; ++j) {
            double sum = a[i * n + j];
            for (size_t k = 0; k < i; ++k) {
                sum -= u[k * n + i] * u[k * n + j];
            }
            u[i * n + j] = i == j ? std::sqrt(sum) : sum / u[i * n + i];
        }
    }
    return u;
}

/// The paper's program: q = nearest, e = (w - q) / U_ii, w_j -= e U_ij. Scales of symmetric integer groups from `w` as it is when
/// the group begins, or, static, as it was at first.
std::vector<float> plainGptq(const std::vector<float>& weights, const std::vector<float>& h, size_t n, const IntQuantizer& quantizer,
                             const std::vector<uint32_t>& order, double share, bool staticGroups) {
    Matrix damped(n * n);
    double mean = 0;
    for (size_t i = 0; i < n; ++i) {
        mean += h[i * n + i] / static_cast<double>(n);
    }
    for (size_t i = 0; i < n; ++i) {
        for (size_t j = 0; j < n; ++j) {
            damped[i * n + j] = h[order[i] * n + order[j]] + (i == j ? share * mean : 0);
        }
    }
    const Matrix u = upperFactor(inverse(damped, n), n);
    const size_t group = quantizer.granularity == Granularity::Group ? quantizer.group : n;
    const double top = std::ldexp(1.0, quantizer.bits - 1) - 1;
    std::vector<float> result(weights.size());
    for (size_t row = 0; row < weights.size() / n; ++row) {
        Matrix w(weights.begin() + static_cast<ptrdiff_t>(row * n), weights.begin() + static_cast<ptrdiff_t>((row + 1) * n));
        const auto scaleOf = [&](size_t g) {
            double largest = 0;
            for (size_t j = g * group; j < (g + 1) * group; ++j) {
                largest = std::max(largest, std::fabs(static_cast<double>(static_cast<float>(w[j]))));
            }
            return roundTo(quantizer.scale, largest / top);
        };
        Matrix scales;
        for (size_t g = 0; g < n / group; ++g) {
            scales.push_back(scaleOf(g));
        }
        for (size_t i = 0; i < n; ++i) {
            const size_t j = order[i];
            if (!staticGroups && j % group == 0) {
                scales[j / group] = scaleOf(j / group);
            }
            const double scale = scales[j / group];
            const double q = std::clamp(std::nearbyint(w[j] / scale), -top - 1, top) * scale;
            const double e = (w[j] - q) / u[i * n + i];
            for (size_t k = i; k < n; ++k) {
                w[order[k]] -= e * u[i * n + k];
            }
            result[row * n + j] = static_cast<float>(q);
        }
    }
    return result;
}

TEST(Gptq, IsThePapersProgram) {
    constexpr size_t kRows = 37, kWidth = 96;
    const auto weights = test::Gaussian(5).floats(kRows * kWidth);
    const auto h = momentsOf(kWidth, 400, 6, 2);
    std::vector<uint32_t> inOrder(kWidth), byDiagonal(kWidth);
    std::iota(inOrder.begin(), inOrder.end(), 0u);
    byDiagonal = inOrder;
    std::stable_sort(byDiagonal.begin(), byDiagonal.end(),
                     [&](uint32_t a, uint32_t b) { return h[a * kWidth + a] > h[b * kWidth + b]; });
    struct Case {
        IntQuantizer quantizer;
        bool actOrder;
        bool staticGroups;
    };
    const IntQuantizer perRow{4, true, Granularity::Row, 0, FloatType::Fp16};
    const IntQuantizer grouped{3, true, Granularity::Group, 24, FloatType::Fp32};
    const IntQuantizer wide{3, true, Granularity::Group, 96, FloatType::Fp32};
    const IntQuantizer narrow{4, true, Granularity::Group, 3, FloatType::Bf16};
    for (const Case& c : {Case{perRow, false, true}, {perRow, true, true}, {perRow, false, false}, {grouped, true, true},
                          {grouped, false, false}, {wide, false, false}, {narrow, false, false}}) {
        Context context;
        const RowCodec codec(c.quantizer, kWidth, {}, kernels());
        GptqOptions options;
        options.actOrder = c.actOrder;
        options.staticGroups = c.staticGroups;
        const Gptq found = gptq(weights, h.data(), kWidth, codec, options, context.workers);
        const auto expected =
            plainGptq(weights, h, kWidth, c.quantizer, c.actOrder ? byDiagonal : inOrder, 0.01, c.staticGroups);
        const auto decoded = decode(found.rounding, codec);
        // A value within rounding of a threshold may fall either way, and its row then goes on differently.
        size_t differing = 0;
        for (size_t row = 0; row < kRows; ++row) {
            differing += std::equal(decoded.begin() + static_cast<ptrdiff_t>(row * kWidth),
                                    decoded.begin() + static_cast<ptrdiff_t>((row + 1) * kWidth),
                                    expected.begin() + static_cast<ptrdiff_t>(row * kWidth),
                                    [](float a, float b) { return std::fabs(a - b) <= 1e-5f * (1 + std::fabs(b)); })
                             ? 0
                             : 1;
        }
        EXPECT_LE(differing, 1u);
        EXPECT_NEAR(found.loss.solver, proxyLoss(weights, decoded, h, kWidth), 1e-6 * found.loss.solver);
        const Rounding nearest = roundToNearest(weights.data(), kRows, codec, context.workers);
        EXPECT_NEAR(found.loss.rtn, proxyLoss(weights, decode(nearest, codec), h, kWidth), 1e-6 * found.loss.rtn);
        EXPECT_EQ(found.retries, 0u);
    }
}

TEST(Gptq, NoWorseThanRoundingForEveryQuantizer) {
    for (const size_t width : {37, 64, 192}) {
        for (const uint64_t seed : {1, 2, 3}) {
            const auto weights = test::Gaussian(seed).floats(24 * width);
            const auto h = momentsOf(width, 3 * width, seed + 10, seed);
            for (const Quantizer& quantizer :
                 {Quantizer(IntQuantizer{4, true, Granularity::Row, 0, FloatType::Fp16}),
                  Quantizer(IntQuantizer{2, false, Granularity::Row, 0, FloatType::Fp32}),
                  Quantizer(IntQuantizer{3, false, Granularity::Group, width % 32 == 0 ? 32 : width, FloatType::Bf16}),
                  Quantizer(IntQuantizer{8, true, Granularity::Row, 0, FloatType::Fp16}), Quantizer(CodebookQuantizer{2, FloatType::Bf16}),
                  Quantizer(CodebookQuantizer{4, FloatType::Bf16})}) {
                const RowCodec codec(quantizer, width, {}, kernels());
                for (const bool actOrder : {false, true}) {
                    Context context;
                    GptqOptions options;
                    options.actOrder = actOrder;
                    const Gptq found = gptq(weights, h.data(), width, codec, options, context.workers);
                    EXPECT_LT(found.loss.solver, found.loss.rtn) << "quantizer " << quantizer.index() << " width " << width;
                    EXPECT_GT(found.loss.solver, 0);
                }
            }
        }
    }
}

TEST(Gptq, UncorrelatedInputsRoundToNearest) {
    constexpr size_t kRows = 5, kWidth = 70;
    const auto weights = test::Gaussian(1).floats(kRows * kWidth);
    std::vector<float> h(kWidth * kWidth);
    for (size_t i = 0; i < kWidth; ++i) {
        h[i * kWidth + i] = static_cast<float>(1 + i % 5);
    }
    const RowCodec codec(IntQuantizer{4, true, Granularity::Row, 0, FloatType::Fp16}, kWidth, {}, kernels());
    Context context;
    const Gptq found = gptq(weights, h.data(), kWidth, codec, {}, context.workers);
    EXPECT_EQ(found.rounding.codes, roundToNearest(weights.data(), kRows, codec, context.workers).codes);
    EXPECT_NEAR(found.loss.solver, found.loss.rtn, 1e-9 * found.loss.rtn);
}

TEST(Gptq, DoesNotDependOnThreads) {
    constexpr size_t kRows = 200, kWidth = 300;
    const auto weights = test::Gaussian(1).floats(kRows * kWidth);
    const auto h = momentsOf(kWidth, 500, 2);
    const RowCodec codec(CodebookQuantizer{3, FloatType::Bf16}, kWidth, {}, kernels());
    std::vector<Gptq> found;
    for (const unsigned threads : {1u, 4u}) {
        Context context(threads);
        found.push_back(gptq(weights, h.data(), kWidth, codec, {}, context.workers));
    }
    EXPECT_EQ(found[0].rounding.codes, found[1].rounding.codes);
    EXPECT_EQ(found[0].loss.solver, found[1].loss.solver);
}

TEST(Gptq, ChannelsThatAreNeverUsed) {
    constexpr size_t kRows = 8, kWidth = 40;
    auto weights = test::Gaussian(1).floats(kRows * kWidth);
    auto h = momentsOf(kWidth, 200, 2);
    for (size_t i = 0; i < kWidth; ++i) {
        h[7 * kWidth + i] = h[i * kWidth + 7] = 0;
    }
    const RowCodec codec(IntQuantizer{4, true, Granularity::Row, 0, FloatType::Fp16}, kWidth, {}, kernels());
    Context context;
    const Gptq found = gptq(weights, h.data(), kWidth, codec, {}, context.workers);
    const auto decoded = decode(found.rounding, codec);
    for (size_t i = 0; i < kRows; ++i) {
        EXPECT_EQ(decoded[i * kWidth + 7], 0);
    }
    EXPECT_NEAR(found.loss.solver, proxyLoss(weights, decoded, h, kWidth), 1e-6 * found.loss.solver);
}

/// Fewer samples than channels, and channels that are copies of each other.
TEST(Gptq, RankDeficientMoments) {
    constexpr size_t kRows = 16, kWidth = 128;
    const auto weights = test::Gaussian(3).floats(kRows * kWidth);
    const RowCodec codec(IntQuantizer{4, true, Granularity::Group, 32, FloatType::Fp16}, kWidth, {}, kernels());
    for (const size_t samples : {size_t{1}, size_t{20}}) {
        const auto h = momentsOf(kWidth, samples, 4);
        Context context;
        const Gptq found = gptq(weights, h.data(), kWidth, codec, {}, context.workers);
        EXPECT_EQ(found.retries, 0u);
        EXPECT_LT(found.loss.solver, found.loss.rtn);
        GptqOptions undamped;
        undamped.damping.share = 0;
        EXPECT_TRUE(std::isfinite(gptq(weights, h.data(), kWidth, codec, undamped, context.workers).loss.solver));
    }
}

TEST(Gptq, DampingGrowsUntilAnIndefiniteMatrixIsPositive) {
    constexpr size_t kWidth = 32;
    auto h = momentsOf(kWidth, 100, 4);
    h[1] = h[kWidth] = 50;  // no covariance is beyond the variances
    const auto weights = test::Gaussian(3).floats(4 * kWidth);
    const RowCodec codec(CodebookQuantizer{4, FloatType::Bf16}, kWidth, {}, kernels());
    Context context;
    const Gptq found = gptq(weights, h.data(), kWidth, codec, {}, context.workers);
    EXPECT_GT(found.retries, 5u);
    EXPECT_GT(found.damping, 40);
}

TEST(Gptq, RefusesMomentsThatAreNone) {
    constexpr size_t kWidth = 16;
    const auto weights = test::Gaussian(3).floats(4 * kWidth);
    const RowCodec codec(IntQuantizer{}, kWidth, {}, kernels());
    Context context;
    const auto complaint = [&](const std::vector<float>& h, GptqOptions options = {}) {
        try {
            gptq(weights, h.data(), kWidth, codec, options, context.workers);
        } catch (const Error& error) {
            EXPECT_EQ(error.code(), ErrorCode::Argument);
            return std::string(error.what());
        }
        return std::string("none");
    };
    auto h = momentsOf(kWidth, 100, 4);
    EXPECT_NE(complaint(std::vector<float>(kWidth * kWidth)).find("all zero"), std::string::npos);
    h[5 * kWidth + 5] = -1;
    EXPECT_NE(complaint(h).find("input 5"), std::string::npos);
    h[5 * kWidth + 5] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_NE(complaint(h).find("input 5"), std::string::npos);
    h[5 * kWidth + 5] = 1;
    h[2 * kWidth + 3] = std::numeric_limits<float>::infinity();
    EXPECT_NE(complaint(h).find("not finite"), std::string::npos);
    h = momentsOf(kWidth, 100, 4);
    GptqOptions options;
    options.staticGroups = false;
    const RowCodec grouped(IntQuantizer{4, true, Granularity::Group, 8, FloatType::Fp16}, kWidth, {}, kernels());
    EXPECT_THROW(gptq(weights, h.data(), kWidth, grouped, options, context.workers), Error);
}

TEST(Gptq, StopsWhenCancelled) {
    constexpr size_t kWidth = 512;
    const auto weights = test::Gaussian(3).floats(64 * kWidth);
    std::vector<float> h(kWidth * kWidth);
    for (size_t i = 0; i < kWidth; ++i) {
        h[i * kWidth + i] = 1;
    }
    const RowCodec codec(IntQuantizer{}, kWidth, {}, kernels());
    ThreadPool pool(2);
    Cancellation cancellation;
    std::atomic<int> reports{0};
    const Progress progress = [&](double) {
        if (++reports == 2) {
            cancellation.cancel();
        }
    };
    Workers workers(pool, cancellation, progress, gptqWork(64, kWidth));
    try {
        gptq(weights, h.data(), kWidth, codec, {}, workers);
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::Cancelled);
    }
}

TEST(Dense, LowerFactorOfAwkwardSizes) {
    for (const size_t n : {1, 2, 127, 129, 400, 601}) {
        Context context;
        const auto h = momentsOf(n, 2 * n + 3, n);
        std::vector<double> a(h.begin(), h.end());
        for (size_t i = 0; i < n; ++i) {
            for (size_t j = i + 1; j < n; ++j) {
                a[i * n + j] = -7;  // nobody's business
            }
        }
        ASSERT_TRUE(factorLower(a.data(), n, context.workers));
        double worst = 0;
        for (size_t i = 0; i < n; ++i) {
            for (size_t j = 0; j <= i; ++j) {
                double sum = 0;
                for (size_t k = 0; k <= j; ++k) {
                    sum += a[i * n + k] * a[j * n + k];
                }
                worst = std::max(worst, std::fabs(sum - h[i * n + j]));
                if (i != j) {
                    ASSERT_EQ(a[j * n + i], -7);
                }
            }
        }
        EXPECT_LT(worst, 1e-11 * static_cast<double>(n));
    }
}

TEST(RowLevels, NearestIsNearestOfAllCodes) {
    constexpr size_t kWidth = 24;
    test::Gaussian random(9);
    const auto row = random.floats(kWidth);
    for (const Quantizer& quantizer : {Quantizer(IntQuantizer{8, false, Granularity::Group, 3, FloatType::Fp16}),
                                       Quantizer(IntQuantizer{3, true, Granularity::Row, 0, FloatType::Fp16}),
                                       Quantizer(CodebookQuantizer{5, FloatType::Bf16})}) {
        const RowCodec codec(quantizer, kWidth, {}, kernels());
        std::vector<uint8_t> codes(kWidth);
        std::vector<float> sides(codec.sides()), decoded(kWidth);
        codec.encode(row.data(), codes.data(), sides.data());
        RowLevels levels(codec);
        levels.set(sides.data());
        for (int repeat = 0; repeat < 200; ++repeat) {
            const size_t column = static_cast<size_t>(repeat) % kWidth;
            const double value = 2 * random();
            double best = 1e9;
            for (int code = 0; code < 1 << codec.bits(); ++code) {
                std::fill(codes.begin(), codes.end(), static_cast<uint8_t>(code));
                codec.decode(codes.data(), sides.data(), decoded.data());
                best = std::min(best, std::fabs(value - decoded[column]));
            }
            const auto choice = levels.nearest(column, value);
            EXPECT_EQ(std::fabs(value - choice.value), best);
            std::fill(codes.begin(), codes.end(), choice.code);
            codec.decode(codes.data(), sides.data(), decoded.data());
            EXPECT_EQ(decoded[column], choice.value);
        }
    }
}

}  // namespace
}  // namespace quantscope
