#include "rotation/rpbh.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "cpu/kernels.h"
#include "support.h"

namespace quantscope {
namespace {

TEST(Rotation, BlockIsTheLargestPowerOfTwoThatDividesTheWidth) {
    const uint64_t table[][2] = {{1152, 128}, {1536, 512},  {1920, 128},  {2240, 64},    {2432, 128},  {2560, 512},   {3072, 1024}, {3584, 512},
                                 {3840, 256}, {4096, 4096}, {4608, 512},  {5120, 1024},  {5600, 32},   {6144, 2048},  {7680, 512},  {8960, 256},
                                 {9216, 1024}, {10240, 2048}, {12288, 4096}, {13824, 512}, {15360, 1024}, {18432, 2048}, {1, 1},       {77, 1}};
    for (const auto& [width, block] : table) {
        EXPECT_EQ(hadamardBlock(width), block) << width;
    }
}

TEST(Rotation, DenseMatrixIsOrthogonal) {
    for (const size_t d : {1, 2, 3, 6, 7, 8, 12, 16, 40, 64, 96, 128, 256, 1152}) {
        const auto rotation = rotationFor(d, 3);
        std::vector<std::vector<double>> columns;  // images of the unit vectors
        for (size_t i = 0; i < d; ++i) {
            std::vector<double> unit(d, 0.0);
            unit[i] = 1;
            columns.push_back(test::rotatePlainly(*rotation, unit));
            if (d > 256) {
                break;  // the plain matrix costs d^3; the norm test below covers large widths
            }
        }
        for (size_t i = 0; i < columns.size(); ++i) {
            for (size_t j = 0; j <= i; ++j) {
                double product = 0;
                for (size_t k = 0; k < d; ++k) {
                    product += columns[i][k] * columns[j][k];
                }
                ASSERT_NEAR(product, i == j ? 1.0 : 0.0, 1e-12) << "width " << d;
            }
        }
    }
}

TEST(Rotation, KernelsAgreeWithTheDefinition) {
    test::Gaussian gaussian(1);
    for (const size_t d : {1, 2, 3, 7, 24, 80, 320, 1152, 3072}) {
        const auto rotation = rotationFor(d, 11);
        const auto row = gaussian.floats(d);
        const auto expected = test::rotatePlainly(*rotation, std::vector<double>(row.begin(), row.end()));
        std::vector<float> rotated(d);
        for (const Kernels* level : supportedKernels()) {
            rotation->apply(row.data(), rotated.data(), *level);
            for (size_t i = 0; i < d; ++i) {
                ASSERT_NEAR(rotated[i], expected[i], 2e-6) << level->name << " width " << d;
            }
        }
    }
}

TEST(Rotation, RotatedProductEqualsProduct) {
    // rotate(x) . rotate(w) = x . w, so a layer computes the same output in the rotated coordinates.
    test::Gaussian gaussian(2);
    for (const size_t d : {3, 64, 1152, 3072, 15360}) {
        const auto rotation = rotationFor(d, 0);
        const auto x = gaussian.floats(d);
        std::vector<float> rx(d);
        rotation->apply(x.data(), rx.data(), kernels());
        for (int row = 0; row < 4; ++row) {
            const auto w = gaussian.floats(d);
            std::vector<float> rw(d);
            rotation->apply(w.data(), rw.data(), kernels());
            double plain = 0;
            double rotated = 0;
            for (size_t i = 0; i < d; ++i) {
                plain += static_cast<double>(x[i]) * w[i];
                rotated += static_cast<double>(rx[i]) * rw[i];
            }
            EXPECT_NEAR(rotated, plain, 1e-5 * std::sqrt(static_cast<double>(d))) << d;
        }
    }
}

TEST(Rotation, DrawFollowsTheDocumentedOrder) {
    const uint64_t d = 6;
    const uint64_t seed = 42;
    SplitMix64 random(seed ^ (d << 32));
    std::vector<uint32_t> permutation{0, 1, 2, 3, 4, 5};
    for (uint64_t i = d - 1; i >= 1; --i) {
        std::swap(permutation[i], permutation[random.below(i + 1)]);
    }
    const auto rotation = rotationFor(d, seed);
    for (size_t i = 0; i < d; ++i) {
        EXPECT_EQ(rotation->source(i), permutation[i]);
        EXPECT_EQ(rotation->sign(i), (random.next() >> 63) != 0 ? -1 : 1);
    }
}

TEST(Rotation, DrawIsAPermutationWithBalancedSigns) {
    const auto rotation = rotationFor(4096, 9);
    std::vector<uint32_t> sources;
    int sum = 0;
    for (size_t i = 0; i < 4096; ++i) {
        sources.push_back(rotation->source(i));
        sum += rotation->sign(i);
    }
    std::sort(sources.begin(), sources.end());
    for (size_t i = 0; i < 4096; ++i) {
        ASSERT_EQ(sources[i], i);
    }
    EXPECT_LT(std::abs(sum), 6 * 64);  // six standard deviations
}

TEST(Rotation, OneDrawPerWidthAndSeed) {
    EXPECT_EQ(rotationFor(96, 1), rotationFor(96, 1));
    EXPECT_NE(rotationFor(96, 1)->source(0) * 1000 + rotationFor(96, 1)->source(1),
              rotationFor(96, 2)->source(0) * 1000 + rotationFor(96, 2)->source(1));
}

TEST(Rotation, SplitMixKnownValues) {
    SplitMix64 random(1234567);  // the reference implementation's published sequence
    EXPECT_EQ(random.next(), 6457827717110365317ull);
    EXPECT_EQ(random.next(), 3203168211198807973ull);
    EXPECT_EQ(random.next(), 9817491932198370423ull);
}

TEST(Rotation, RefusesWidthsOutOfRange) {
    EXPECT_THROW(rotationFor(0, 0), Error);
    EXPECT_THROW(rotationFor(kMaxWidth + 1, 0), Error);
}

TEST(Rotation, DrawCanBeCancelled) {
    Cancellation cancellation;
    cancellation.cancel();
    EXPECT_THROW(rotationFor(1 << 18, 77, &cancellation), Error);
}

}  // namespace
}  // namespace quantscope
