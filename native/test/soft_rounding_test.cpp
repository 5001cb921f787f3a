// Learned rounding of one layer's weights against plain numbers.
#include <gtest/gtest.h>

#include "reconstruct/soft_rounding.h"
#include "reconstruct_support.h"

namespace quantscope {
namespace {

using test::Gaussian;
using test::Shop;

/// h by its definition, in double.
double gate(double alpha) { return std::clamp(1.2 / (1 + std::exp(-alpha)) - 0.1, 0.0, 1.0); }

struct Rows {
    explicit Rows(const IntQuantizer& quantizer, uint64_t rows = 9, uint64_t width = 24, std::vector<float> given = {})
        : weights(given.empty() ? Gaussian(4).floats(rows * width) : std::move(given)), codec(quantizer, width, {-3.5, 3.5}, kernels()),
          soft(weights.data(), rows, width, codec, shop.workers), rows(rows), width(width) {}

    std::vector<float> values() {
        std::vector<float> result(weights.size());
        soft.writeSoft(result.data(), width, shop.workers);
        return result;
    }

    Shop shop;
    std::vector<float> weights;
    RowCodec codec;
    SoftRounding soft;
    uint64_t rows;
    uint64_t width;
};

const IntQuantizer kGrids[] = {
    {.bits = 4, .symmetric = true, .granularity = Granularity::Row, .group = 0},
    {.bits = 3, .symmetric = false, .granularity = Granularity::Group, .group = 8},
    {.bits = 8, .symmetric = false, .granularity = Granularity::Tensor, .group = 0},
    {.bits = 2, .symmetric = true, .granularity = Granularity::Group, .group = 12},
};

TEST(SoftRounding, BeginsAsTheWeightsAndRoundsToNearest) {
    for (const IntQuantizer& quantizer : kGrids) {
        Rows rows(quantizer);
        const std::vector<float> soft = rows.values();
        const Rounding learned = rows.soft.learned(rows.shop.workers);
        EXPECT_EQ(learned.codes, rows.soft.nearest().codes);
        for (uint64_t i = 0; i < soft.size(); ++i) {
            const float* const sides = learned.sides.data() + i / rows.codec.group() * 2;
            const float highest = sides[1] + static_cast<float>((1 << quantizer.bits) - 1);
            ASSERT_NEAR(soft[i], std::clamp(rows.weights[i] / sides[0], sides[1], highest) * sides[0], 1e-4f * sides[0]) << i;
        }
    }
}

TEST(SoftRounding, LearnsByAdamOnTheGates) {
    Rows rows({.bits = 4, .symmetric = true, .granularity = Granularity::Row, .group = 0, .scale = FloatType::Fp32});
    const std::vector<float> gradient = Gaussian(8).floats(rows.weights.size());
    const double betas[] = {0, 20, 11};
    for (uint64_t step = 1; step <= 3; ++step) {
        rows.soft.learn(gradient.data(), {step, 0.3, betas[step - 1]}, rows.shop.workers);
    }
    const std::vector<float> soft = rows.values();
    for (uint64_t i = 0; i < rows.weights.size(); ++i) {
        const float scale = rows.soft.nearest().sides[i / rows.width * 2];
        const double steps = rows.weights[i] / scale;  // rounded to float: the largest weight of a row lies on a level
        const double floor = std::floor(steps);
        double alpha = -std::log(1.2 / (steps - floor + 0.1) - 1);
        double mean = 0;
        double square = 0;
        for (int step = 1; step <= 3; ++step) {
            const double h = gate(alpha);
            const double sigmoid = 1 / (1 + std::exp(-alpha));
            const bool inside = std::fabs(1.2 * sigmoid - 0.6) < 0.5 + 1e-6;
            const double beta = betas[step - 1];
            double slope = gradient[i] * scale;
            slope -= beta > 0 ? 0.01 * beta * 2 * std::pow(std::fabs(2 * h - 1), beta - 1) * (h > 0.5 ? 1 : -1) : 0;
            slope *= inside ? 1.2 * sigmoid * (1 - sigmoid) : 0;
            mean = 0.9 * mean + 0.1 * slope;
            square = 0.999 * square + 0.001 * slope * slope;
            alpha -= 0.3 * (mean / (1 - std::pow(0.9, step))) / (std::sqrt(square / (1 - std::pow(0.999, step))) + 1e-8);
        }
        ASSERT_NEAR(soft[i], (std::clamp(floor + gate(alpha), -8.0, 7.0)) * scale, 2e-3 * scale) << i;
    }
}

TEST(SoftRounding, ZeroAndConstantRowsStayWhatTheyAre) {
    std::vector<float> weights(48, 0.0f);
    std::fill(weights.begin() + 24, weights.end(), 1.75f);
    Rows rows({.bits = 4, .symmetric = true, .granularity = Granularity::Row, .group = 0, .scale = FloatType::Fp32}, 2, 24, weights);
    const std::vector<float> gradient = Gaussian(8).floats(48);
    rows.soft.learn(gradient.data(), {1, 0.01, 20}, rows.shop.workers);
    const std::vector<float> soft = rows.values();
    for (size_t i = 0; i < 24; ++i) {
        EXPECT_EQ(soft[i], 0.0f);
        EXPECT_NEAR(soft[24 + i], 1.75f, 0.01f);
    }
    EXPECT_EQ(rows.soft.learned(rows.shop.workers).codes, rows.soft.nearest().codes);
}

}  // namespace
}  // namespace quantscope
