#include "stats/columns.h"

#include <gtest/gtest.h>

#include <limits>

#include "support.h"

namespace quantscope {
namespace {

using test::TemporaryFile;

std::vector<float> rangeOf(const TensorRef& tensor, unsigned threads = 2) {
    ThreadPool pool(threads);
    return columnRange({tensor}, pool, Cancellation{}, [](double) {}, kernels()).absMax;
}

TEST(Columns, AreTheLargestMagnitudesOfEveryColumnWhateverTheThreads) {
    constexpr size_t kRows = 701;
    constexpr size_t kColumns = 1153;  // several tiles, none of them full
    test::Gaussian gaussian(3);
    auto values = gaussian.floats(kRows * kColumns);
    values[5 * kColumns + 7] = -90;
    std::vector<float> expected(kColumns, 0);
    for (size_t i = 0; i < values.size(); ++i) {
        expected[i % kColumns] = std::max(expected[i % kColumns], std::abs(values[i]));
    }
    const TemporaryFile file(test::bytesOf(values));
    EXPECT_EQ(rangeOf(test::tensorIn(file, Dtype::F32, {kRows, kColumns}), 1), expected);
    EXPECT_EQ(rangeOf(test::tensorIn(file, Dtype::F32, {kRows, kColumns}), 4), expected);
    EXPECT_EQ(expected[7], 90);
}

TEST(Columns, WhatFollowsTheFirstDimensionIsOneRow) {
    const std::vector<float> values{1, -2, 3, 4, -5, 0};
    const TemporaryFile file(test::bytesOf(values));
    EXPECT_EQ(rangeOf(test::tensorIn(file, Dtype::F32, {1, 3, 2})), (std::vector<float>{1, 2, 3, 4, 5, 0}));
    EXPECT_EQ(rangeOf(test::tensorIn(file, Dtype::F32, {3, 2, 1})), (std::vector<float>{5, 4}));
    EXPECT_TRUE(rangeOf(test::tensorIn(file, Dtype::F32, {0, 4})).empty());
}

TEST(Columns, ANaNShowsAsInfinity) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> values{1, nan, 2, 3};
    const TemporaryFile file(test::bytesOf(values));
    const auto range = rangeOf(test::tensorIn(file, Dtype::F32, {2, 2}));
    EXPECT_EQ(range[0], 2);
    EXPECT_TRUE(std::isinf(range[1]));
}

}  // namespace
}  // namespace quantscope
