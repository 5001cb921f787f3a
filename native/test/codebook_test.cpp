#include "quantizer/codebook.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "stats/sphere.h"
#include "support.h"

namespace quantscope {
namespace {

/// One unit in the sixth significant digit.
double sixthDigit(double value) { return std::pow(10.0, std::floor(std::log10(value)) - 5); }

struct Row {
    uint64_t width;
    double distortion[8];  // bits 1..8
};

// Computed independently by Newton iteration in mpmath (sphere marginal, D d).
constexpr Row kSphere[] = {
    {16, {.343185, .105847, .0300841, .00809366, .00210608, 5.37794e-4, 1.35934e-4, 3.41755e-5}},
    {32, {.353357, .111600, .0322611, .00877383, .00229768, 5.88806e-4, 1.49113e-4, 3.75264e-5}},
    {64, {.358387, .114526, .0333908, .00913152, .00239923, 6.15963e-4, 1.56145e-4, 3.93168e-5}},
    {128, {.360889, .116000, .0339659, .00931479, .00245146, 6.29961e-4, 1.59774e-4, 4.02412e-5}},
    {256, {.362136, .116740, .0342560, .00940753, .00247794, 6.37065e-4, 1.61617e-4, 4.07107e-5}},
    {1024, {.363069, .117296, .0344747, .00947757, .00249796, 6.42439e-4, 1.63011e-4, 4.10660e-5}},
    {4096, {.363303, .117435, .0345295, .00949514, .00250299, 6.43789e-4, 1.63361e-4, 4.11553e-5}},
};

TEST(Codebook, DistortionOfTheSphereMarginalToSixDigits) {
    for (const Row& row : kSphere) {
        for (int bits = 1; bits <= 8; ++bits) {
            const double expected = row.distortion[bits - 1];
            EXPECT_NEAR(codebookFor(row.width, bits)->distortion, expected, 0.51 * sixthDigit(expected))
                << "width " << row.width << " bits " << bits;
        }
    }
}

TEST(Codebook, LargeWidthsReachTheGaussianDistortion) {
    const double gaussian[] = {0.363380227632, 0.117481847829, 0.0345477607885, 0.00950100800819,
                               0.00250466835567, 6.44239665317e-4, 1.6347822998e-4, 4.11850828671e-5};
    for (int bits = 1; bits <= 8; ++bits) {
        // The difference is about 2.5 / d in relative terms.
        EXPECT_NEAR(codebookFor(kMaxWidth, bits)->distortion / gaussian[bits - 1], 1.0, 1e-6) << bits;
    }
}

TEST(Codebook, ThresholdsAreApartAsKernelsExpect) {
    for (int bits = 2; bits <= 4; ++bits) {
        for (const int width : {1, 2, 3, 4, 8, 32, 1152, 15360, 1 << 24}) {
            const LevelTable& table = codebookFor(static_cast<uint64_t>(width), bits)->table;
            float last = 0;
            for (size_t i = 0; i + 1 < table.size; ++i) {
                EXPECT_GE(table.thresholds[i] - last, table.thresholds[table.size - 2] / 14) << "width " << width << " bits " << bits << " threshold " << i;
                last = table.thresholds[i];
            }
        }
    }
}

TEST(Codebook, LevelTables) {
    const auto four = codebookFor(128, 4);
    const double expected[] = {.127873, .386381, .653619, .937097, 1.247770, 1.604343, 2.045925, 2.688859};
    for (size_t i = 0; i < 8; ++i) {
        EXPECT_NEAR(four->levels[8 + i] * std::sqrt(128.0), expected[i], 5.1e-7);
        EXPECT_EQ(four->levels[7 - i], -four->levels[8 + i]);
    }
    const double unit = std::sqrt(static_cast<double>(kMaxWidth));
    const auto gaussian = codebookFor(kMaxWidth, 3);
    EXPECT_NEAR(gaussian->levels[7] * unit, 2.151946, 1e-6);
    EXPECT_NEAR(gaussian->levels[4] * unit, 0.245094, 5.1e-7);
    EXPECT_NEAR(gaussian->thresholds[4] * unit, 0.500550, 5.1e-7);
    EXPECT_NEAR(gaussian->thresholds[6] * unit, 1.747927, 5.1e-7);
    EXPECT_EQ(gaussian->thresholds[3], 0.0);
}

TEST(Codebook, EveryLevelIsTheCentroidOfItsCell) {
    for (const uint64_t width : {2, 3, 4, 5, 7, 16, 77, 1152, 3072, 15360, 1 << 24}) {
        const SphereMarginal marginal(width);
        for (int bits = 1; bits <= 8; ++bits) {
            const auto book = codebookFor(width, bits);
            const size_t n = book->levels.size();
            ASSERT_EQ(n, size_t{1} << bits);
            ASSERT_EQ(book->thresholds.size(), n - 1);
            for (size_t i = n / 2; i < n; ++i) {
                const double a = book->thresholds[i - 1];
                const double b = i + 1 < n ? book->thresholds[i] : 1.0;
                const double centroid = marginal.partialMoment(a, b) / (marginal.tail(a) - marginal.tail(b));
                const double tolerance = width < 100000 ? 1e-10 : 1e-7;  // the beta function loses digits with the width
                EXPECT_NEAR(book->levels[i] / centroid, 1.0, tolerance) << "width " << width << " bits " << bits << " level " << i;
                EXPECT_GT(book->levels[i], book->levels[i - 1]);
            }
        }
    }
}

TEST(Codebook, ClosedFormsForTinyWidths) {
    // d = 3 is uniform on [-1, 1]: levels are evenly spaced, D = 4^-b.
    for (int bits = 1; bits <= 8; ++bits) {
        EXPECT_NEAR(codebookFor(3, bits)->distortion * std::pow(4.0, bits), 1.0, 1e-8);
    }
    // d = 2, one bit: the mean of |cos| is 2/pi.
    EXPECT_NEAR(codebookFor(2, 1)->levels[1], 2 / std::numbers::pi, 1e-13);
    // d = 1: a unit vector is -1 or 1, both are levels.
    for (int bits = 1; bits <= 8; ++bits) {
        EXPECT_EQ(codebookFor(1, bits)->levels.back(), 1.0);
        EXPECT_EQ(codebookFor(1, bits)->distortion, 0.0);
    }
}

TEST(Codebook, RandomRowsGetTheExpectedDistortion) {
    test::Gaussian gaussian(5);
    for (const int bits : {1, 2, 4, 6}) {
        const size_t width = 1152;
        double error = 0;
        double energy = 0;
        const CodebookRows rows({bits, FloatType::Fp32}, width);
        for (int i = 0; i < 200; ++i) {
            const auto values = gaussian.floats(width);
            const double square = scalarKernels().sumSquares(values.data(), width);
            energy += square;
            error += rows.squaredError({values.data(), width, std::sqrt(square), 0}, kernels());
        }
        EXPECT_NEAR(error / energy / codebookFor(width, bits)->distortion, 1.0, 0.02) << bits;
    }
}

TEST(Codebook, TheStoredNormIsRounded) {
    // A row that is exactly a codebook vector times a norm that BF16 cannot hold: all that is left is the norm's rounding.
    const auto book = codebookFor(4, 1);
    const float level = static_cast<float>(book->levels[1]);
    const std::vector<float> row{level, -level, level, -level};
    const double norm = 2.0 * level;
    const CodebookRows rows({1, FloatType::Bf16}, 4);
    const double stored = roundTo(FloatType::Bf16, norm);
    double expected = 0;
    for (const float value : row) {
        const double error = std::fabs(value) - stored * book->levels[1];
        expected += error * error;
    }
    EXPECT_NEAR(rows.squaredError({row.data(), 4, norm, 0}, kernels()) / expected, 1.0, 1e-5);
}

TEST(Codebook, RefusesNonsense) {
    EXPECT_THROW(codebookFor(64, 0), Error);
    EXPECT_THROW(codebookFor(64, 9), Error);
    EXPECT_THROW(codebookFor(0, 4), Error);
    EXPECT_THROW(codebookFor(kMaxWidth + 1, 4), Error);
}

}  // namespace
}  // namespace quantscope
