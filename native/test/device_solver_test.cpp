// The solvers' kernels against their definitions, with nothing but the library: on a device this needs no BLAS (device_gptq_test.cpp has the whole).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "device/self_test/definitions.h"
#include "device_support.h"
#include "support.h"
#include "tensor/decode.h"

namespace quantscope {
namespace {

using cuda::Element;
using cuda::Status;

TEST(DeviceSolver, AddsSecondMomentsOfUsableRows) {
    const auto device = test::testedDevice();
    const cuda::SolverCalls& calls = *device->api().solver;
    test::Gaussian random(31);
    for (const auto& [rows, width] : {std::pair<size_t, size_t>{3, 5}, {1030, 70}}) {
        auto x = random.floats(rows * (width + 2));  // rows stand width + 2 apart
        x[width + 2] = std::numeric_limits<float>::infinity();
        std::vector<double> wanted(width * width);
        for (size_t r = 0; r < rows; ++r) {
            for (size_t i = 0; r != 1 && i < width; ++i) {
                for (size_t j = 0; j < width; ++j) {
                    wanted[i * width + j] += double(x[r * (width + 2) + i]) * double(x[r * (width + 2) + j]) / double(rows - 1);
                }
            }
        }
        const auto onDevice = device->upload(x);
        auto sums = device->allocate<double>(width * width);
        auto counted = device->allocate<uint64_t>(1);
        sums.clear();
        counted.clear();
        const auto usable = device->allocate<uint8_t>(rows);
        const auto mean = device->allocate<float>(width * width);
        const cuda::MomentsRequest request{onDevice.data(), Element::F32, rows, width, width + 2, sums.data(), counted.data(), usable.data()};
        device->check(calls.addMoments(device->context(), &request), "moments");
        device->check(calls.meanMoments(device->context(), sums.data(), width, counted.data(), 0, width, mean.data()), "mean");
        EXPECT_EQ(counted.read()[0], rows - 1);
        const auto found = mean.read();
        for (size_t i = 0; i < width * width; ++i) {
            ASSERT_NEAR(found[i], wanted[i], 1e-5 * std::sqrt(wanted[i / width * (width + 1)] * wanted[i % width * (width + 1)])) << i;
        }
    }
}

/// Rows of bfloat16 that stand `stride` values apart, the first one `offset` values behind an address that is aligned to 16 bytes.
struct Bf16Rows {
    size_t rows;
    size_t width;
    size_t stride;
    size_t offset = 0;
};

TEST(DeviceSolver, AddsSecondMomentsOfBf16) {
    const auto device = test::testedDevice();
    const cuda::SolverCalls& calls = *device->api().solver;
    test::Gaussian random(32);
    for (const Bf16Rows& each : {Bf16Rows{0, 7, 7}, {1, 1, 1}, {1100, 1, 3}, {37, 7, 8}, {1024, 72, 72}, {1025, 129, 136}, {2100, 200, 200}, {37, 200, 201},
                                 {70, 264, 264, 1}, {1030, 264, 272, 8}, {40, 1030, 1032}}) {  // the last one has more tiles than stand in a band
        const auto& [rows, width, stride, offset] = each;
        SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(width));
        std::vector<uint16_t> x(offset + rows * stride + 1, 0x7fff);  // NaN between rows
        std::vector<float> values(rows * width);
        for (size_t i = 0; i < values.size(); ++i) {
            x[offset + i / width * stride + i % width] = test::toBF16(static_cast<float>(random()));
            values[i] = decodeBF16(x[offset + i / width * stride + i % width]);
        }
        const size_t unusable = rows > 4 ? 2 : 0;
        if (unusable > 0) {  // which do not count
            x[offset + stride] = test::toBF16(std::numeric_limits<float>::quiet_NaN());
            x[offset + (rows - 2) * stride + width - 1] = test::toBF16(-std::numeric_limits<float>::infinity());
            std::fill_n(values.begin() + static_cast<ptrdiff_t>(width), width, 0.0f);
            std::fill_n(values.begin() + static_cast<ptrdiff_t>((rows - 2) * width), width, 0.0f);
        }
        std::vector<double> wanted(width * width);
        for (size_t r = 0; r < rows; ++r) {
            const float* const row = values.data() + r * width;
            for (size_t i = 0; i < width; ++i) {
                for (size_t j = 0; j <= i; ++j) {
                    wanted[i * width + j] += 2 * double(row[i]) * double(row[j]);
                }
            }
        }
        const auto onDevice = device->upload(x);
        std::vector<double> before(width * width);
        for (double& sum : before) {
            sum = random();
        }
        const auto sums = device->upload(before);
        const auto counted = device->upload(std::vector<uint64_t>{5});
        const auto usable = device->allocate<uint8_t>(rows + 1);
        const cuda::MomentsRequest request{onDevice.data() + offset, Element::BF16, rows, width, stride, sums.data(), counted.data(), usable.data()};
        for (int time = 0; time < 2; ++time) {
            device->check(calls.addMoments(device->context(), &request), "moments");
        }
        EXPECT_EQ(counted.read()[0], 5 + 2 * (rows - unusable));
        const auto found = sums.read();
        for (size_t i = 0; i < width; ++i) {
            for (size_t j = 0; j < width; ++j) {
                if (j > i) {
                    ASSERT_EQ(found[i * width + j], before[i * width + j]) << i << ", " << j << " lies above the diagonal";
                } else {
                    ASSERT_NEAR(found[i * width + j] - before[i * width + j], wanted[i * width + j],
                                1e-5 * std::sqrt(wanted[i * (width + 1)] * wanted[j * (width + 1)]) + 1e-12) << i << ", " << j;
                }
            }
        }
    }
}

TEST(DeviceSolver, ProductsOf1024RowsMeetInFloat64) {
    const auto device = test::testedDevice();
    constexpr size_t kRows = 2048;
    std::vector<float> x(kRows);
    x[0] = 0x1p15f;  // in float32 its square swallows all that follow
    std::fill_n(x.begin() + 1024, 1024, 1.0f);
    const auto floats = device->upload(x);
    const auto shorts = device->upload(test::toBF16(x));
    const auto usable = device->allocate<uint8_t>(kRows);
    for (const Element element : {Element::F32, Element::BF16}) {
        const void* const rows = element == Element::F32 ? static_cast<const void*>(floats.data()) : shorts.data();
        const auto sums = device->upload(std::vector<double>{0});
        const auto counted = device->upload(std::vector<uint64_t>{0});
        const cuda::MomentsRequest request{rows, element, kRows, 1, 1, sums.data(), counted.data(), usable.data()};
        device->check(device->api().solver->addMoments(device->context(), &request), "moments");
        EXPECT_EQ(sums.read()[0], 0x1p30 + 1024);
    }
}

TEST(DeviceSolver, RefusesSecondMomentsOfMoreThanTheyCanBeOf) {
    const auto device = test::testedDevice();
    for (const auto& [rows, width] : {std::pair<uint64_t, uint64_t>{uint64_t{1} << 31, 1}, {1, (uint64_t{1} << 20) + 1}}) {
        const cuda::MomentsRequest request{nullptr, Element::BF16, rows, width, width, nullptr, nullptr, nullptr};
        EXPECT_EQ(device->api().solver->addMoments(device->context(), &request), Status::Argument);
    }
}

/// A Gram matrix of more samples than columns, and an order of its coordinates.
struct Problem {
    size_t n;
    std::vector<float> moments;
    std::vector<uint32_t> order;
    std::vector<uint8_t> dead;
};

Problem problemOf(size_t n, uint64_t seed) {
    test::Gaussian random(seed);
    Problem result{n, std::vector<float>(n * n), std::vector<uint32_t>(n), std::vector<uint8_t>(n)};
    std::vector<double> x(3 * n * n);
    for (size_t s = 0; s < 3 * n; ++s) {
        double carried = 0;
        for (size_t j = 0; j < n; ++j) {
            x[s * n + j] = carried = 0.6 * carried + random();
        }
    }
    result.dead[n / 2] = n > 4;
    for (size_t i = 0; i < n; ++i) {
        for (size_t j = 0; j < n; ++j) {
            double sum = 0;
            for (size_t s = 0; s < 3 * n; ++s) {
                sum += x[s * n + i] * x[s * n + j];
            }
            result.moments[i * n + j] = result.dead[i] != 0 || result.dead[j] != 0 ? 0.0f : static_cast<float>(sum / double(3 * n));
        }
    }
    std::iota(result.order.begin(), result.order.end(), 0u);
    SplitMix64 shuffle(seed);
    for (size_t i = n; i > 1; --i) {
        std::swap(result.order[i - 1], result.order[shuffle.below(i)]);
    }
    return result;
}

constexpr double kDamping = 0.01;
constexpr double kMeanDiagonal = 1.25;

/// The lower factor [n, n] and how it went.
std::pair<std::vector<double>, int32_t> factorOf(const Problem& problem) {
    const auto device = test::testedDevice();
    const auto moments = device->upload(problem.moments);
    const auto order = device->upload(problem.order);
    const auto dead = device->upload(problem.dead);
    const auto lower = device->allocate<double>(problem.n * problem.n);
    const auto state = device->allocate<int32_t>(1);
    const cuda::FactorRequest request{moments.data(), problem.n, problem.n, order.data(), dead.data(), kMeanDiagonal, kDamping, lower.data(), state.data()};
    device->check(device->api().solver->factor(device->context(), &request), "factor");
    return {lower.read(), state.read()[0]};
}

TEST(DeviceSolver, FactorsSecondMoments) {
    for (const size_t n : {1, 7, 64, 65, 150}) {
        const Problem problem = problemOf(n, n);
        const auto [lower, state] = factorOf(problem);
        ASSERT_EQ(state, cuda::kFactored);
        for (size_t i = 0; i < n; ++i) {
            for (size_t j = 0; j <= i; ++j) {
                double product = 0;
                for (size_t k = 0; k <= j; ++k) {
                    product += lower[i * n + k] * lower[j * n + k];
                }
                const size_t row = problem.order[i], column = problem.order[j];
                const double moment = i == j && problem.dead[row] != 0 ? kMeanDiagonal : double(problem.moments[row * n + column]);
                ASSERT_NEAR(product, moment + (i == j ? kDamping : 0.0), 1e-12) << n << ": " << i << ", " << j;
            }
        }
    }
}

TEST(DeviceSolver, SaysHowAFactorisationFails) {
    Problem problem = problemOf(70, 3);
    problem.moments[problem.order[68] * 71] = -5;
    EXPECT_EQ(factorOf(problem).second, cuda::kNotPositive);
    problem.moments[problem.order[3] * 70 + problem.order[66]] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_EQ(factorOf(problem).second, cuda::kNotFinite);
}

TEST(DeviceSolver, SweepsAsGptqIsDefined) {
    const auto device = test::testedDevice();
    test::Gaussian random(33);
    for (const auto& [rows, n, group] : {std::tuple<size_t, size_t, size_t>{1, 1, 1}, {67, 96, 32}, {5, 130, 130}}) {
        const Problem problem = problemOf(n, 7 * n);
        const std::vector<double> lower = factorOf(problem).first;
        const auto weights = random.floats(rows * n);
        constexpr int kBits = 3;
        std::vector<float> levels(1 << kBits);
        std::iota(levels.begin(), levels.end(), 0.0f);
        std::vector<float> sides(rows * 2 * (n / group));
        for (size_t i = 0; i < sides.size(); i += 2) {
            sides[i] = 0.4f + 0.01f * static_cast<float>(i % 7);
            sides[i + 1] = -3.0f - static_cast<float>(i / 2 % 2);
        }
        const auto lowerOnDevice = device->upload(lower), errors = device->allocate<double>(rows * n), sums = device->allocate<double>(rows * 64),
                   lossesOnDevice = device->allocate<double>(rows);
        const auto order = device->upload(problem.order);
        const auto dead = device->upload(problem.dead), codesOnDevice = device->allocate<uint8_t>(rows * n);
        const auto weightsOnDevice = device->upload(weights), levelsOnDevice = device->upload(levels), sidesOnDevice = device->upload(sides);
        cuda::SweepRequest request{};
        request.lower = lowerOnDevice.data();
        request.size = n;
        request.order = order.data();
        request.dead = dead.data();
        request.damping = kDamping;
        request.weights = weightsOnDevice.data();
        request.rows = rows;
        request.bits = kBits;
        request.hasOffsets = 1;
        request.levels = levelsOnDevice.data();
        request.unit = 1.0f;
        request.group = group;
        request.sides = sidesOnDevice.data();
        request.sidesOfRow = 2 * (n / group);
        request.codes = codesOnDevice.data();
        request.losses = lossesOnDevice.data();
        request.errors = errors.data();
        request.sums = sums.data();
        device->check(device->api().solver->sweep(device->context(), &request), "sweep");
        cuda::SweepRequest plainly = request;
        plainly.lower = lower.data();
        plainly.order = problem.order.data();
        plainly.dead = problem.dead.data();
        plainly.weights = weights.data();
        plainly.levels = levels.data();
        plainly.sides = sides.data();
        const auto expected = sweepPlainly(plainly);
        EXPECT_EQ(codesOnDevice.read(), expected.codes);
        const auto found = lossesOnDevice.read();
        for (size_t row = 0; row < rows; ++row) {
            ASSERT_NEAR(found[row], expected.losses[row], 1e-9 * std::fabs(expected.losses[row]) + 1e-12);
        }
    }
}

}  // namespace
}  // namespace quantscope
