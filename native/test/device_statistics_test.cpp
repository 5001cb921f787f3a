// Weight diagnostics on a device against those of the processor.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cpu/kernels.h"
#include "device/measure.h"
#include "device_support.h"
#include "support.h"

namespace quantscope {
namespace {

Measurement onProcessor(const MeasureRequest& request) {
    ThreadPool pool(1);
    return measure(request, pool, Cancellation{}, [](double) {}, scalarKernels());
}

Measurement onDevice(const MeasureRequest& request) {
    return measureOnDevice(request, test::testedDevice(), Cancellation{}, [](double) {}, scalarKernels());
}

void compare(const MeasureRequest& request) {
    const Measurement found = onDevice(request);
    const Measurement expected = onProcessor(request);
    EXPECT_NEAR(found.relativeMse, expected.relativeMse, 2e-5 * expected.relativeMse);
    EXPECT_EQ(found.expectedRelativeMse, expected.expectedRelativeMse);
    EXPECT_NEAR(found.rho, expected.rho, 1e-5 * expected.rho);
    EXPECT_EQ(found.rows, expected.rows);
    EXPECT_EQ(found.sampledRows, expected.sampledRows);
    EXPECT_EQ(found.zeroRows, expected.zeroRows);
    EXPECT_EQ(found.nonFinite, expected.nonFinite);
    test::compare(found.before, expected.before, "before");
    test::compare(found.after, expected.after, "after");
}

/// Rows of a heavy tail: some lie beyond six standard deviations.
std::vector<float> weights(size_t count, uint64_t seed) {
    std::vector<float> values = test::Gaussian(seed).floats(count);
    for (size_t i = 0; i < count; ++i) {
        values[i] *= i % 61 == 0 ? 12.0f : 0.02f;
    }
    return values;
}

MeasureRequest requestFor(TensorRef tensor, Quantizer quantizer, std::optional<uint64_t> seed) {
    MeasureRequest request;
    request.tensor = std::move(tensor);
    request.weights = quantizer;
    request.rotationSeed = seed;
    return request;
}

TEST(DeviceStatistics, ReportsOfOddShapes) {
    const auto device = test::testedDevice();
    const size_t widest = device->api().rotate->maxWidth(device->context());  // beside which there is hardly room for histograms
    const struct {
        size_t rows;
        size_t width;
        int bits;
    } cases[] = {{1, 1, 2}, {9, 7, 1}, {33, 77, 4}, {5, 96, 3}, {20, 1152, 4}, {3, 3072, 2}, {2, 12288, 8}, {150, 64, 4},
                 {60, 2560, 4}, {12, 15360, 3}, {1, widest, 4}, {3, widest - 5, 8}};
    for (const auto& [rows, width, bits] : cases) {
        const std::vector<float> values = weights(rows * width, width);
        const test::TemporaryFile floats(test::bytesOf(values));
        const std::vector<uint16_t> rounded = test::toBF16(values);
        const test::TemporaryFile halves(test::bytesOf(rounded));
        SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(width) + ", " + std::to_string(bits) + " bits");
        compare(requestFor(test::tensorIn(floats, Dtype::F32, {rows, width}), CodebookQuantizer{bits, FloatType::Bf16}, 3));
        compare(requestFor(test::tensorIn(halves, Dtype::BF16, {rows, width}), CodebookQuantizer{bits, FloatType::Fp32}, std::nullopt));
    }
}

TEST(DeviceStatistics, RowsThatAreSampledZeroOrNotFinite) {
    std::vector<float> values = weights(40 * 192, 5);
    std::fill_n(values.begin() + 192, 192, 0.0f);
    values[3 * 192 + 4] = std::numeric_limits<float>::quiet_NaN();
    values[5 * 192 + 7] = std::numeric_limits<float>::infinity();
    values[5 * 192 + 8] = -std::numeric_limits<float>::infinity();
    for (size_t k = 0; k < 192; ++k) {
        values[7 * 192 + k] *= 0x1p90f;
        values[8 * 192 + k] *= 0x1p-90f;
    }
    const test::TemporaryFile file(test::bytesOf(values));
    for (const uint64_t sample : {0, 40, 7, 1}) {
        MeasureRequest request = requestFor(test::tensorIn(file, Dtype::F32, {40, 192}), CodebookQuantizer{4, FloatType::Fp32}, 3);
        request.sampleRows = sample;
        request.histogramBins = 24;
        SCOPED_TRACE(sample);
        compare(request);
    }
}

TEST(DeviceStatistics, KeptWeightsAndEmptyOnes) {
    const std::vector<float> values = weights(4 * 64, 5);
    const test::TemporaryFile file(test::bytesOf(values));
    compare(requestFor(test::tensorIn(file, Dtype::F32, {4, 64}), KeepQuantizer{}, std::nullopt));
    compare(requestFor(test::tensorIn(file, Dtype::F32, {0, 64}), CodebookQuantizer{}, std::nullopt));
    compare(requestFor(test::tensorIn(file, Dtype::F32, {4, 0}), CodebookQuantizer{}, std::nullopt));
}

TEST(DeviceStatistics, WhatStaysOnTheProcessorIsNamed) {
    const std::vector<float> values = weights(64, 5);
    const test::TemporaryFile file(test::bytesOf(values));
    const TensorRef tensor = test::tensorIn(file, Dtype::F32, {1, 64});
    test::expectError(ErrorCode::Argument, "only the error of codebooks", [&] { onDevice(requestFor(tensor, IntQuantizer{}, 3)); });
    test::expectError(ErrorCode::Argument, "F64", [&] { onDevice(requestFor(test::tensorIn(file, Dtype::F64, {1, 32}), CodebookQuantizer{}, 3)); });
    Cancellation cancellation;
    cancellation.cancel();
    test::expectError(ErrorCode::Cancelled, "", [&] {
        measureOnDevice(requestFor(tensor, CodebookQuantizer{}, 3), test::testedDevice(), cancellation, [](double) {}, scalarKernels());
    });
}

}  // namespace
}  // namespace quantscope
