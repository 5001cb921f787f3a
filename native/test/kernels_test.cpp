// Every kernel of every level this processor supports against its scalar twin: random data, odd sizes, tails, nothing at all.
#include "cpu/kernels.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdlib>
#include <limits>

#include "base/error.h"
#include "quantizer/codebook.h"
#include "stats/marginal.h"
#include "support.h"

namespace quantscope {
namespace {

constexpr size_t kSizes[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 127, 129, 1000, 1024, 1025, 3072, 4111};

std::string nameOfLevel(const ::testing::TestParamInfo<std::string>& info) { return info.param; }

std::vector<std::string> levelNames() {
    std::vector<std::string> names;
    for (const Kernels* level : supportedKernels()) {
        names.emplace_back(level->name);
    }
    return names;
}

class EachLevel : public ::testing::TestWithParam<std::string> {
protected:
    const Kernels& level() const { return kernelsFor(GetParam()); }
    const Kernels& twin() const { return scalarKernels(); }
    test::Gaussian gaussian{99};
};

INSTANTIATE_TEST_SUITE_P(Kernels, EachLevel, ::testing::ValuesIn(levelNames()), nameOfLevel);

TEST_P(EachLevel, Decode) {
    SplitMix64 random(1);
    for (const Dtype dtype : {Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64, Dtype::F8E4M3, Dtype::F8E5M2, Dtype::I8, Dtype::U8}) {
        for (const size_t n : kSizes) {
            std::vector<uint64_t> noise(n + 1);
            for (auto& word : noise) {
                word = random.next();
            }
            const auto* bytes = reinterpret_cast<const std::byte*>(noise.data());
            std::vector<uint32_t> actual(n + 1, 7);  // floats by their bits: NaN payloads count too
            std::vector<uint32_t> expected(n + 1, 7);
            level().decode(dtype, bytes, reinterpret_cast<float*>(actual.data()), n);
            twin().decode(dtype, bytes, reinterpret_cast<float*>(expected.data()), n);
            EXPECT_EQ(actual, expected) << nameOf(dtype) << " n " << n;
        }
    }
}

TEST_P(EachLevel, MaxMagnitude) {
    for (const size_t n : kSizes) {
        auto x = gaussian.floats(n);
        EXPECT_EQ(level().maxMagnitude(x.data(), n), twin().maxMagnitude(x.data(), n)) << n;
        for (const size_t i : {size_t{0}, n / 2, n - 1}) {
            if (n > 0) {  // wherever the odd one sits, it is found
                const float kept = x[i];
                x[i] = -1e6f;
                EXPECT_EQ(level().maxMagnitude(x.data(), n), std::bit_cast<uint32_t>(1e6f));
                x[i] = std::numeric_limits<float>::quiet_NaN();
                EXPECT_GT(level().maxMagnitude(x.data(), n), 0x7F800000u);
                x[i] = -std::numeric_limits<float>::infinity();
                EXPECT_EQ(level().maxMagnitude(x.data(), n), 0x7F800000u);
                x[i] = kept;
            }
        }
    }
}

TEST_P(EachLevel, Range) {
    for (const size_t n : kSizes) {
        if (n == 0) {
            continue;
        }
        auto x = gaussian.floats(n);
        x[n - 1] = n % 2 == 0 ? 50.0f : -50.0f;
        const Range actual = level().range(x.data(), n);
        const Range expected = twin().range(x.data(), n);
        EXPECT_EQ(actual.lowest, expected.lowest) << n;
        EXPECT_EQ(actual.highest, expected.highest) << n;
    }
}

TEST_P(EachLevel, SumSquares) {
    for (const size_t n : kSizes) {
        const auto x = gaussian.floats(n);
        const double expected = twin().sumSquares(x.data(), n);
        EXPECT_NEAR(level().sumSquares(x.data(), n), expected, 1e-6 * expected) << n;
    }
}

TEST_P(EachLevel, Multiply) {
    for (const size_t n : kSizes) {
        auto actual = gaussian.floats(n);
        auto expected = actual;
        level().multiply(actual.data(), n, 0.37f);
        twin().multiply(expected.data(), n, 0.37f);
        EXPECT_EQ(actual, expected) << n;
    }
}

TEST_P(EachLevel, BinAndSum) {
    const MarginalGrid grid(96);
    for (const size_t n : kSizes) {
        auto x = gaussian.floats(n);
        if (n > 2) {
            x[0] = 100.0f;
            x[1] = -100.0f;
        }
        std::vector<uint32_t> actual(grid.countsSize());
        std::vector<uint32_t> expected(grid.countsSize());
        const PowerSums a = level().binAndSum(x.data(), n, 1.3f, grid.binning, actual.data());
        const PowerSums e = twin().binAndSum(x.data(), n, 1.3f, grid.binning, expected.data());
        EXPECT_EQ(a.maxAbs, e.maxAbs);
        EXPECT_NEAR(a.s1, e.s1, 1e-6 * e.s2 + 1e-6);
        EXPECT_NEAR(a.s2, e.s2, 1e-6 * e.s2);
        EXPECT_NEAR(a.s3, e.s3, 1e-6 * std::pow(e.s4, 0.75) + 1e-6 * e.s2);
        EXPECT_NEAR(a.s4, e.s4, 5e-6 * e.s4);  // two outliers carry it all: the small ones round off beside them
        // A fused multiply-add may put a value at an edge into the neighbouring cell: one step to the side, and rarely.
        int64_t shifted = 0;
        int64_t difference = 0;
        for (size_t i = 0; i < actual.size(); ++i) {
            difference += static_cast<int64_t>(actual[i]) - static_cast<int64_t>(expected[i]);
            ASSERT_LE(std::abs(difference), 1) << "n " << n << " cell " << i;
            shifted += std::abs(difference);
        }
        EXPECT_EQ(difference, 0);
        EXPECT_LE(shifted, static_cast<int64_t>(n / 200 + 1));
    }
}

TEST_P(EachLevel, GatherSigned) {
    SplitMix64 random(2);
    for (const size_t n : kSizes) {
        const auto x = gaussian.floats(n);
        std::vector<uint32_t> sources(n);
        for (auto& source : sources) {
            source = static_cast<uint32_t>(random.below(n)) | static_cast<uint32_t>(random.next() >> 63) << 31;
        }
        std::vector<float> actual(n);
        std::vector<float> expected(n);
        level().gatherSigned(x.data(), sources.data(), n, actual.data());
        twin().gatherSigned(x.data(), sources.data(), n, expected.data());
        EXPECT_EQ(actual, expected) << n;
    }
}

TEST_P(EachLevel, Hadamard) {
    for (size_t block = 1; block <= 16384; block *= 2) {
        for (const size_t blocks : {size_t{0}, size_t{1}, size_t{3}, size_t{5}}) {
            if (block * blocks > 20000) {
                continue;
            }
            const size_t n = block * blocks;
            auto actual = gaussian.floats(n);
            auto expected = actual;
            const float factor = static_cast<float>(1 / std::sqrt(static_cast<double>(block)));
            level().hadamard(actual.data(), n, block, factor);
            twin().hadamard(expected.data(), n, block, factor);
            ASSERT_EQ(actual, expected) << "block " << block << " n " << n;
        }
    }
}

TEST_P(EachLevel, CodebookError) {
    for (const uint64_t width : {2, 5, 64, 3072}) {
        for (int bits = 1; bits <= 8; ++bits) {
            const auto book = codebookFor(width, bits);
            for (const size_t n : kSizes) {
                const auto x = gaussian.floats(n);
                const double expected = twin().codebookError(x.data(), n, 0.9f, 1.001f, book->table);
                EXPECT_NEAR(level().codebookError(x.data(), n, 0.9f, 1.001f, book->table), expected, 2e-5 * expected + 1e-12)
                    << "width " << width << " bits " << bits << " n " << n;
            }
        }
    }
}

TEST_P(EachLevel, CodebookErrorAtThresholds) {
    // Magnitudes on, just below and just above every threshold: either neighbour is as good, anything else is a wrong level.
    for (int bits = 2; bits <= 8; ++bits) {
        const auto book = codebookFor(3072, bits);
        std::vector<float> x;
        for (size_t i = 0; i + 1 < book->table.size; ++i) {
            const float threshold = book->table.thresholds[i];
            for (const float value : {std::nextafter(threshold, 0.0f), threshold, std::nextafter(threshold, 10.0f)}) {
                x.insert(x.end(), 16, value);
            }
        }
        const double expected = twin().codebookError(x.data(), x.size(), 1.0f, 1.0f, book->table);
        EXPECT_NEAR(level().codebookError(x.data(), x.size(), 1.0f, 1.0f, book->table), expected, 1e-5 * expected) << bits;
    }
}

TEST_P(EachLevel, IntegerError) {
    const IntegerGrid grids[] = {{0.5f, -2, 1}, {0.13f, -8, 7}, {0.02f, -128, 127}, {0.3f, 0, 15}};
    for (const IntegerGrid& grid : grids) {
        for (const size_t n : kSizes) {
            const auto x = gaussian.floats(n);
            const double expected = twin().integerError(x.data(), n, grid);
            EXPECT_NEAR(level().integerError(x.data(), n, grid), expected, 1e-5 * expected + 1e-12) << n;
        }
    }
}

TEST_P(EachLevel, IntegerErrorRoundsTiesToEven) {
    // Ties are equally far from both neighbours inside the grid, but not at its end: 1.5 is half a step from 1 and from 2.
    std::vector<float> x(32, 0.5f);
    EXPECT_EQ(level().integerError(x.data(), x.size(), {1.0f, -2, 1}), 32 * 0.25);
    x.assign(33, 2.5f);
    EXPECT_EQ(level().integerError(x.data(), x.size(), {1.0f, -2, 1}), 33 * 2.25);
}

TEST_P(EachLevel, CastError) {
    SplitMix64 random(8);
    for (const FloatType type : {FloatType::Fp16, FloatType::Bf16, FloatType::Fp32}) {
        for (const size_t n : kSizes) {
            std::vector<float> x(n);
            for (auto& value : x) {
                value = static_cast<float>(std::ldexp(random.uniform() - 0.5, static_cast<int>(random.below(48)) - 28));
            }
            const double expected = twin().castError(x.data(), n, type);
            EXPECT_NEAR(level().castError(x.data(), n, type), expected, 1e-5 * expected) << n;
        }
    }
    const std::vector<float> large(17, 1e5f);
    const double expected = 17 * (1e5 - 65504.0) * (1e5 - 65504.0);
    EXPECT_NEAR(level().castError(large.data(), large.size(), FloatType::Fp16), expected, 1e-5 * expected);
}

TEST_P(EachLevel, AddProductsGivesARowTheSameBitsWhateverTheOthersAre) {
    for (const size_t rows : {0, 1, 2, 3, 5, 6, 11, 12, 13, 37}) {
        for (const size_t width : {0, 1, 7, 129}) {
            const size_t xStride = width + 3, yStride = kProductColumns + 2;
            const auto x = gaussian.floats(rows * xStride);
            const auto panel = gaussian.floats(width * kProductColumns);
            const auto start = gaussian.floats(rows * yStride);
            auto y = start, expected = start;
            level().addProducts(x.data(), xStride, rows, panel.data(), width, y.data(), yStride);
            twin().addProducts(x.data(), xStride, rows, panel.data(), width, expected.data(), yStride);
            for (size_t i = 0; i < y.size(); ++i) {
                ASSERT_NEAR(y[i], expected[i], 1e-5 * (1 + static_cast<double>(width))) << rows << " rows of " << width;
            }
            for (size_t row = 0; row < rows; ++row) {
                std::vector<float> alone(start.begin() + static_cast<ptrdiff_t>(row * yStride), start.begin() + static_cast<ptrdiff_t>(row * yStride + kProductColumns));
                level().addProducts(x.data() + row * xStride, xStride, 1, panel.data(), width, alone.data(), kProductColumns);
                ASSERT_TRUE(std::equal(alone.begin(), alone.end(), y.begin() + static_cast<ptrdiff_t>(row * yStride))) << "row " << row << " of " << rows;
            }
        }
    }
}

TEST(KernelChoice, ByName) {
    EXPECT_EQ(&kernelsFor("scalar"), &scalarKernels());
    EXPECT_EQ(supportedKernels().back(), &scalarKernels());
    try {
        kernelsFor("sse17");
        FAIL() << "no error";
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::Argument);
        EXPECT_NE(std::string(error.what()).find("scalar"), std::string::npos);
    }
}

}  // namespace
}  // namespace quantscope
