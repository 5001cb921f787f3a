#include "stats/values.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "support.h"

namespace quantscope {
namespace {

using test::TemporaryFile;

ValueStats statsOf(const TensorRef& tensor, uint32_t bins = 16, unsigned threads = 2) {
    ThreadPool pool(threads);
    return valueStats({tensor, bins}, pool, Cancellation{}, [](double) {});
}

TEST(Values, AgreesWithAPlainReference) {
    test::Gaussian gaussian(12);
    auto values = gaussian.floats(700001);
    for (auto& value : values) {
        value = 1000 + value * value;  // a mean far from 0: naive sums of powers would lose the variance
    }
    const TemporaryFile file(test::bytesOf(values));
    const ValueStats stats = statsOf(test::tensorIn(file, Dtype::F32, {values.size()}));
    double mean = 0;
    for (const float v : values) {
        mean += v / static_cast<double>(values.size());
    }
    double m2 = 0;
    double m4 = 0;
    for (const float v : values) {
        m2 += std::pow(v - mean, 2) / static_cast<double>(values.size());
        m4 += std::pow(v - mean, 4) / static_cast<double>(values.size());
    }
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    EXPECT_EQ(stats.count, values.size());
    EXPECT_EQ(*stats.min, *low);
    EXPECT_EQ(*stats.max, *high);
    EXPECT_EQ(*stats.absMax, *high);
    EXPECT_NEAR(*stats.mean, mean, 1e-9);
    EXPECT_NEAR(*stats.std, std::sqrt(m2), 1e-10);
    EXPECT_NEAR(*stats.kurtosis, m4 / (m2 * m2) - 3, 1e-8);
    const Histogram& histogram = *stats.histogram;
    EXPECT_EQ(histogram.lo, *low);
    EXPECT_EQ(histogram.hi, *high);
    ASSERT_EQ(histogram.counts.size(), 18u);
    EXPECT_EQ(histogram.counts.front(), 0u);
    EXPECT_EQ(histogram.counts.back(), 0u);
    std::vector<uint64_t> expected(18);
    for (const float v : values) {
        const double position = (static_cast<double>(v) - *low) / (static_cast<double>(*high) - *low) * 16;
        ++expected[1 + static_cast<size_t>(std::min(position, 15.0))];
    }
    for (size_t i = 0; i < expected.size(); ++i) {  // rounding may move a value that lies on an edge
        EXPECT_NEAR(static_cast<double>(histogram.counts[i]), static_cast<double>(expected[i]), 2) << i;
    }
}

TEST(Values, TypesOfOneOrTwoBytesAreCounted) {
    // So many values that they are counted by code; the same numbers as float32 are gone through twice.
    constexpr size_t kCount = 300001;
    SplitMix64 random(4);
    for (const Dtype dtype : {Dtype::BF16, Dtype::F16, Dtype::F8E4M3, Dtype::F8E5M2, Dtype::I8, Dtype::U8}) {
        const size_t bytes = elementBytes(dtype);
        std::vector<std::byte> stored(kCount * bytes);
        for (auto& value : stored) value = static_cast<std::byte>(random.next());
        for (size_t i = 0; bytes == 2 && i < kCount; ++i) stored[2 * i + 1] &= std::byte{0xBF};  // magnitudes up to 2, but for
        if (bytes == 2) std::fill_n(stored.begin(), 4, std::byte{0xFF});                         // two NaN
        std::vector<double> doubles(kCount);
        decodeToDouble(dtype, stored.data(), doubles.data(), kCount);
        const std::vector<float> floats(doubles.begin(), doubles.end());
        const TemporaryFile file(stored), plain(test::bytesOf(floats));
        const ValueStats found = statsOf(test::tensorIn(file, dtype, {kCount})), expected = statsOf(test::tensorIn(plain, Dtype::F32, {kCount}));
        EXPECT_EQ(found.count, kCount);
        EXPECT_EQ(found.nan, expected.nan) << nameOf(dtype);
        EXPECT_EQ(found.inf, expected.inf) << nameOf(dtype);
        EXPECT_EQ(found.zeros, expected.zeros) << nameOf(dtype);
        EXPECT_EQ(found.min, expected.min) << nameOf(dtype);
        EXPECT_EQ(found.max, expected.max) << nameOf(dtype);
        EXPECT_EQ(found.absMax, expected.absMax) << nameOf(dtype);
        EXPECT_NEAR(*found.mean, *expected.mean, 1e-12 * *expected.absMax) << nameOf(dtype);
        EXPECT_NEAR(*found.std, *expected.std, 1e-12 * *expected.std) << nameOf(dtype);
        EXPECT_NEAR(*found.kurtosis, *expected.kurtosis, 1e-10 * (3 + *expected.kurtosis)) << nameOf(dtype);
        EXPECT_EQ(found.histogram->counts, expected.histogram->counts) << nameOf(dtype);
        EXPECT_EQ(statsOf(test::tensorIn(file, dtype, {kCount}), 16, 3).mean, found.mean);
    }
}

TEST(Values, NonFiniteValuesAreCountedAndLeftOut) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const float infinity = std::numeric_limits<float>::infinity();
    const std::vector<float> values{nan, 1, 0, infinity, -infinity, -3, -0.0f, nan, nan};
    const TemporaryFile file(test::bytesOf(values));
    const ValueStats stats = statsOf(test::tensorIn(file, Dtype::F32, {3, 3}));
    EXPECT_EQ(stats.count, 9u);
    EXPECT_EQ(stats.nan, 3u);
    EXPECT_EQ(stats.inf, 2u);
    EXPECT_EQ(stats.zeros, 2u);
    EXPECT_EQ(stats.min, -3.0);
    EXPECT_EQ(stats.absMax, 3.0);
    EXPECT_EQ(stats.mean, -0.5);
}

TEST(Values, NothingFinite) {
    const std::vector<float> values(5, std::numeric_limits<float>::quiet_NaN());
    const TemporaryFile file(test::bytesOf(values));
    for (const auto& shape : {std::vector<uint64_t>{5}, std::vector<uint64_t>{0, 5}}) {
        const ValueStats stats = statsOf(test::tensorIn(file, Dtype::F32, shape));
        EXPECT_FALSE(stats.min || stats.max || stats.mean || stats.std || stats.absMax || stats.kurtosis || stats.histogram);
    }
}

TEST(Values, AllEqual) {
    const std::vector<float> values(100, 2.5f);
    const TemporaryFile file(test::bytesOf(values));
    const ValueStats stats = statsOf(test::tensorIn(file, Dtype::F32, {100}));
    EXPECT_EQ(stats.std, 0.0);
    EXPECT_EQ(stats.kurtosis, std::nullopt);
    EXPECT_EQ(stats.histogram->counts[1], 100u);
}

TEST(Values, ExtremeDoubles) {
    const double most = std::numeric_limits<double>::max();
    const std::vector<double> values{-most, 0, most};
    const TemporaryFile file(test::bytesOf(values));
    const ValueStats stats = statsOf(test::tensorIn(file, Dtype::F64, {3}), 2);
    EXPECT_EQ(stats.min, -most);
    EXPECT_EQ(stats.max, most);
    EXPECT_EQ(stats.std, std::nullopt);  // beyond a double
    EXPECT_EQ(stats.histogram->counts, (std::vector<uint64_t>{0, 1, 2, 0}));
}

TEST(Values, EveryReadableDtype) {
    const std::vector<uint64_t> words(64, 0x0101010101010101ull);
    const TemporaryFile file(test::bytesOf(words));
    for (int i = 0; i < 22; ++i) {
        const auto dtype = static_cast<Dtype>(i);
        const TensorRef tensor = test::tensorIn(file, dtype, {4, 8});
        if (elementBytes(dtype) == 0) {
            EXPECT_THROW(statsOf(tensor), Error) << nameOf(dtype);
        } else {
            const ValueStats stats = statsOf(tensor);
            EXPECT_EQ(stats.count, 32u) << nameOf(dtype);
            EXPECT_EQ(stats.min, stats.max) << nameOf(dtype);
            EXPECT_GT(*stats.max, 0.0) << nameOf(dtype);
        }
    }
}

TEST(Values, SameForEveryNumberOfThreads) {
    test::Gaussian gaussian(13);
    const TemporaryFile file(test::bytesOf(gaussian.floats(1500000)));
    const TensorRef tensor = test::tensorIn(file, Dtype::F32, {1500000});
    const ValueStats one = statsOf(tensor, 32, 1);
    const ValueStats three = statsOf(tensor, 32, 3);
    EXPECT_EQ(one.mean, three.mean);
    EXPECT_EQ(one.std, three.std);
    EXPECT_EQ(one.kurtosis, three.kurtosis);
    EXPECT_EQ(one.histogram->counts, three.histogram->counts);
}

TEST(Values, RefusesSillyBins) {
    const TemporaryFile file(test::bytesOf(std::vector<float>(4)));
    EXPECT_THROW(statsOf(test::tensorIn(file, Dtype::F32, {4}), 0), Error);
    EXPECT_THROW(statsOf(test::tensorIn(file, Dtype::F32, {4}), 5000), Error);
}

}  // namespace
}  // namespace quantscope
