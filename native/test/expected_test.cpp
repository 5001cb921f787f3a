#include "quantizer/expected.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "quantizer/codebook.h"
#include "quantizer/integer.h"
#include "support.h"

namespace quantscope {
namespace {

double expected(int bits, bool symmetric, uint64_t group) {
    return *expectedDistortion(IntQuantizer{bits, symmetric, Granularity::Group, group, FloatType::Fp32}, group, 0);
}

// Monte Carlo of 4 million N(0, 1) numbers with an exact scale, three digits.
TEST(Expected, SymmetricAgreesWithPublishedMonteCarlo) {
    const uint64_t groups[] = {16, 32, 64, 128, 256};
    const double four[] = {.00726, .00941, .0116, .0138, .0160};
    const double three[] = {.0396, .0513, .0632, .0750, .0868};
    for (int i = 0; i < 5; ++i) {
        EXPECT_NEAR(expected(4, true, groups[i]) / four[i], 1, 0.015) << groups[i];
        EXPECT_NEAR(expected(3, true, groups[i]) / three[i], 1, 0.015) << groups[i];
    }
    EXPECT_NEAR(expected(8, true, 16) / 2.2e-5, 1, 0.015);
    EXPECT_NEAR(expected(8, true, 256) / 4.8e-5, 1, 0.015);
}

// Those numbers have a real-valued zero point. Ours is an integer, so the two extremes miss the grid by up to half a step each:
// 2/g of the values gain an error of step^2 / 12, which fades with the group size.
TEST(Expected, AsymmetricApproachesPublishedMonteCarlo) {
    EXPECT_NEAR(expected(4, false, 256) / .0119, 1, 0.015);
    EXPECT_NEAR(expected(2, false, 256) / .299, 1, 0.015);
    EXPECT_GT(expected(4, false, 16), .00423);
    EXPECT_LT(expected(4, false, 16), .00423 / (1 - 2.0 / 16) * 1.02);
}

/// The very quantizer on seeded Gaussian groups.
double monteCarlo(int bits, bool symmetric, uint64_t group, size_t values) {
    test::Gaussian gaussian(group * 31 + static_cast<uint64_t>(bits));
    const auto row = gaussian.floats(values / group * group);
    const IntegerRows rows({bits, symmetric, Granularity::Group, group, FloatType::Fp32}, row.size(), {});
    const Kernels& k = kernels();
    return rows.squaredError({row.data(), row.size(), 1.0, 0}, k) / k.sumSquares(row.data(), row.size());
}

TEST(Expected, AgreesWithTheQuantizerOnGaussianWeights) {
    for (const uint64_t group : {2, 3, 5, 16, 64, 300}) {
        for (const int bits : {2, 4, 8}) {
            EXPECT_NEAR(monteCarlo(bits, true, group, 400000) / expected(bits, true, group), 1, 0.02) << "sym " << bits << " g " << group;
            EXPECT_NEAR(monteCarlo(bits, false, group, 400000) / expected(bits, false, group), 1, 0.02) << "asym " << bits << " g " << group;
        }
        EXPECT_NEAR(monteCarlo(1, false, group, 400000) / expected(1, false, group), 1, 0.02) << "1 bit, g " << group;
    }
}

TEST(Expected, GranularityDecidesTheGroup) {
    const IntQuantizer row{4, true, Granularity::Row, 0, FloatType::Fp16};
    IntQuantizer tensor = row;
    tensor.granularity = Granularity::Tensor;
    EXPECT_EQ(expectedDistortion(row, 256, 1000), expected(4, true, 256));
    EXPECT_EQ(expectedDistortion(tensor, 256, 4), expected(4, true, 1024));
    EXPECT_EQ(expectedDistortion(tensor, 256, 0), std::nullopt);
    EXPECT_GT(*expectedDistortion(tensor, 3072, 12288), *expectedDistortion(row, 3072, 12288));
}

TEST(Expected, OtherQuantizers) {
    EXPECT_EQ(expectedDistortion(CodebookQuantizer{4, FloatType::Bf16}, 1152, 10), codebookFor(1152, 4)->distortion);
    EXPECT_EQ(expectedDistortion(KeepQuantizer{FloatType::Bf16}, 1152, 10), std::nullopt);
    EXPECT_EQ(expected(4, true, 1), 0.0);
    EXPECT_EQ(expected(4, false, 1), 0.0);
    EXPECT_THROW(expectedDistortion(IntQuantizer{4, true, Granularity::Group, 7, FloatType::Fp16}, 64, 1), Error);
}

}  // namespace
}  // namespace quantscope
