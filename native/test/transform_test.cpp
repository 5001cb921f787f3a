// Transforms: orthogonal where they say so, the same product on both sides, the same bits for any number of rows, refusals.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "support.h"
#include "transform/hadamard.h"
#include "transform/orthogonal.h"
#include "transform/transform.h"

namespace quantscope {
namespace {

using test::TemporaryFile;

TEST(Hadamard, RowsAreOrthogonalForEveryOrderInUse) {
    for (const uint64_t order : {1, 12, 20, 28, 36, 52, 60, 76, 108, 140, 172, 312, 700}) {
        const auto h = hadamardMatrix(order);
        ASSERT_EQ(h.size(), order * order);
        ASSERT_TRUE(std::all_of(h.begin(), h.end(), [](int8_t entry) { return entry == 1 || entry == -1; }));
        for (uint64_t i = 0; i < order; ++i) {
            for (uint64_t j = 0; j <= i; ++j) {
                int64_t dot = 0;
                for (uint64_t k = 0; k < order; ++k) {
                    dot += h[i * order + k] * h[j * order + k];
                }
                ASSERT_EQ(dot, i == j ? static_cast<int64_t>(order) : 0) << order << ": rows " << i << " and " << j;
            }
        }
    }
}

TEST(Hadamard, OrdersOfTheWidthsOfDiffusionTransformers) {
    const std::pair<uint64_t, uint64_t> known[] = {{1, 1},     {64, 1},    {1152, 36},  {1536, 12},  {1920, 60},  {2240, 140}, {2432, 76},
                                                   {3072, 12}, {3584, 28}, {3840, 60},  {4096, 1},   {4608, 36},  {5600, 700}, {8960, 140},
                                                   {13824, 108}, {40, 20}, {312, 312},  {52, 52},    {172, 172},  {11008, 172}};
    for (const auto& [width, order] : known) {
        EXPECT_EQ(hadamardOrder(width), std::optional(order)) << width;
    }
    for (const uint64_t width : {0, 3, 6, 1153, 2309, 156, 18, 4 * 1021}) {
        EXPECT_EQ(hadamardOrder(width), std::nullopt) << width;
    }
    EXPECT_THROW(hadamardMatrix(156), Error);
}

class TransformsTest : public testing::Test {
protected:
    Transforms load(const std::vector<Transform>& list, uint64_t width) {
        validate(list, width);
        return Transforms(list, width, workers_, kernels());
    }
    template <class T>
    TensorRef stored(const std::vector<T>& values, Dtype dtype, std::vector<uint64_t> shape) {
        files_.push_back(std::make_unique<TemporaryFile>(test::bytesOf(values)));
        return test::tensorIn(*files_.back(), dtype, std::move(shape));
    }
    TensorRef scale(uint64_t width) {
        auto values = test::Gaussian(3).floats(width);
        for (float& value : values) {
            value = std::exp(value) * (value < 0 ? -1.0f : 1.0f);
        }
        return stored(values, Dtype::F32, {width});
    }
    TensorRef order(uint64_t width) {
        std::vector<int32_t> sources(width);
        for (uint64_t i = 0; i < width; ++i) {
            sources[i] = static_cast<int32_t>((i + width / 3) % width);
        }
        std::swap(sources.front(), sources.back());
        return stored(sources, Dtype::I32, {width});
    }
    TensorRef blocks(uint64_t count, uint64_t block) {
        std::vector<float> values;
        for (uint64_t b = 0; b < count; ++b) {
            const auto matrix = randomOrthogonal(block, b, workers_);
            values.insert(values.end(), matrix.begin(), matrix.end());
        }
        return stored(values, Dtype::F32, {count, block, block});
    }

    std::vector<std::unique_ptr<TemporaryFile>> files_;
    ThreadPool pool_{2};
    const Cancellation cancellation_;
    const Progress progress_ = [](double) {};
    Workers workers_{pool_, cancellation_, progress_, 1};
    Scratch scratch_;
};

TEST_F(TransformsTest, KeepProductsUndoThemselvesAndDoNotDependOnTheRowsAtOnce) {
    for (const uint64_t width : {1, 2, 7, 36, 96, 120, 577, 1152, 1920}) {
        const uint64_t block = width % 12 == 0 ? width / 12 : width;
        std::vector<std::vector<Transform>> lists{{},
                                                  {ScaleTransform{scale(width)}},
                                                  {PermuteTransform{order(width)}},
                                                  {RpbhTransform{5}},
                                                  {RandomTransform{9}},
                                                  {BlocksTransform{blocks(1, block)}},
                                                  {BlocksTransform{blocks(width / block, block)}},
                                                  {ScaleTransform{scale(width)}, BlocksTransform{blocks(1, block)}, PermuteTransform{order(width)}, RpbhTransform{1}}};
        if (hadamardOrder(width)) {
            lists.push_back({HadamardTransform{4}});
            lists.push_back({ScaleTransform{scale(width)}, HadamardTransform{4}, PermuteTransform{order(width)}});
        }
        constexpr uint64_t kRows = 37;
        const auto x = test::Gaussian(width).floats(kRows * width);
        const auto w = test::Gaussian(width + 1).floats(kRows * width);
        for (size_t which = 0; which < lists.size(); ++which) {
            SCOPED_TRACE("width " + std::to_string(width) + ", list " + std::to_string(which));
            const Transforms transforms = load(lists[which], width);
            std::vector<float> tx(x.size()), tw(w.size()), back(w.size()), one(width);
            transforms.apply(Transforms::Side::Inputs, x.data(), kRows, tx.data(), scratch_);
            transforms.apply(Transforms::Side::Weights, w.data(), kRows, tw.data(), scratch_);
            transforms.restoreWeights(tw.data(), kRows, back.data(), scratch_);
            for (uint64_t i = 0; i < kRows; ++i) {
                double product = 0, transformed = 0, size = 0;
                for (uint64_t j = 0; j < width; ++j) {
                    const uint64_t at = i * width + j;
                    product += static_cast<double>(x[at]) * w[at];
                    transformed += static_cast<double>(tx[at]) * tw[at];
                    size += std::fabs(static_cast<double>(tx[at]) * tw[at]);
                    ASSERT_NEAR(back[at], w[at], 2e-4 * (1 + std::fabs(w[at])));
                }
                ASSERT_NEAR(transformed, product, 1e-5 * (size + 1e-3));
                transforms.apply(Transforms::Side::Weights, w.data() + i * width, 1, one.data(), scratch_);
                ASSERT_TRUE(std::equal(one.begin(), one.end(), tw.begin() + static_cast<ptrdiff_t>(i * width))) << "row " << i;
            }
        }
    }
}

TEST_F(TransformsTest, ScaleMultipliesInputsAndDividesWeights) {
    const Transforms transforms = load({ScaleTransform{stored<float>({2, -4}, Dtype::F32, {2})}}, 2);
    const float x[] = {3, 5};
    float y[2];
    transforms.apply(Transforms::Side::Inputs, x, 1, y, scratch_);
    EXPECT_EQ(std::vector<float>(y, y + 2), (std::vector<float>{6, -20}));
    transforms.apply(Transforms::Side::Weights, x, 1, y, scratch_);
    EXPECT_EQ(std::vector<float>(y, y + 2), (std::vector<float>{1.5, -1.25}));
}

TEST_F(TransformsTest, RandomMatricesAreOrthogonalAndFollowTheirSeed) {
    const uint64_t n = 301;
    const auto q = randomOrthogonal(n, 7, workers_);
    for (uint64_t i = 0; i < n; ++i) {
        for (uint64_t j = 0; j < n; ++j) {
            double dot = 0;
            for (uint64_t k = 0; k < n; ++k) {
                dot += q[i * n + k] * q[j * n + k];
            }
            ASSERT_NEAR(dot, i == j ? 1.0 : 0.0, 1e-13);
        }
    }
    EXPECT_EQ(randomOrthogonal(n, 7, workers_), q);
    EXPECT_NE(randomOrthogonal(n, 8, workers_), q);
    ThreadPool three(3);
    Workers others(three, cancellation_, progress_, 1);
    EXPECT_EQ(randomOrthogonal(n, 7, others), q);
}

TEST_F(TransformsTest, RefusesWhatDoesNotFit) {
    const auto refused = [&](const Transform& transform, uint64_t width, const std::string& message) {
        test::expectError(ErrorCode::Argument, message, [&] { load({transform}, width); });
    };
    refused(ScaleTransform{scale(5)}, 6, "transforms[0].values: expected F32 [6]");
    refused(ScaleTransform{stored<float>({1, 0, 2}, Dtype::F32, {3})}, 3, "the scale of channel 1 is 0");
    refused(ScaleTransform{stored<float>({1, 1, std::numeric_limits<float>::quiet_NaN()}, Dtype::F32, {3})}, 3, "channel 2 is nan");
    refused(PermuteTransform{order(5)}, 4, "transforms[0].sources: expected I32 [4]");
    refused(PermuteTransform{stored<int32_t>({0, 2, 2}, Dtype::I32, {3})}, 3, "2 is out of range or there twice");
    refused(PermuteTransform{stored<int32_t>({0, -1, 2}, Dtype::I32, {3})}, 3, "-1 is out of range");
    refused(HadamardTransform{0}, 1153, "Use rpbh");
    refused(RandomTransform{0}, 4609, "Use hadamard or rpbh");
    refused(BlocksTransform{blocks(1, 5)}, 12, "transforms[0].matrices: expected F32 [n, b, b] with n · b = 12");
    refused(BlocksTransform{blocks(2, 4)}, 12, "transforms[0].matrices");
    refused(BlocksTransform{stored<float>({1, 0, 0, 2}, Dtype::F32, {1, 2, 2})}, 4, "row 1 of matrix 0 has length 2");
    test::expectError(ErrorCode::Io, "truncated", [&] { load({BlocksTransform{stored<float>({1}, Dtype::F32, {1, 3, 3})}}, 3); });
}

}  // namespace
}  // namespace quantscope
