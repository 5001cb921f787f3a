// Rows rounded to small floats on a device against RowCodec.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "device/small_floats.h"
#include "device_support.h"
#include "quantizer/row_codec.h"
#include "support.h"
#include "tensor/decode.h"

namespace quantscope {
namespace {

using cuda::Element;

constexpr size_t kRows = 6, kWidth = 192, kStride = 200;

/// Rows of very different sizes, of zeros, and one that has no codes.
std::vector<float> unequalRows(uint64_t seed) {
    std::vector<float> values = test::Gaussian(seed).floats(kRows * kStride);
    for (size_t i = 0; i < values.size(); ++i) {
        values[i] = i / kStride == 1 ? 0.0f : std::ldexp(values[i], i / kStride == 4 ? -30 : static_cast<int>(i % 7));
    }
    values[3 * kStride + 40] = std::numeric_limits<float>::infinity();
    return values;
}

/// What the processor makes of the rows, rounded to bfloat16.
std::vector<float> expected(const FloatQuantizer& quantizer, const std::vector<float>& x) {
    TensorRange range;
    for (size_t i = 0; i < kRows; ++i) {
        const float* const row = x.data() + i * kStride;
        if (needsTensorRange(quantizer) && std::all_of(row, row + kWidth, [](float value) { return std::isfinite(value); })) {
            observe(quantizer, row, kWidth, 0, scalarKernels(), range);
        }
    }
    const RowCodec codec(quantizer, kWidth, range, scalarKernels());
    std::vector<uint8_t> codes(kWidth);
    std::vector<float> sides(codec.sides()), values(kRows * kWidth);
    for (size_t i = 0; i < kRows; ++i) {
        codec.encode(x.data() + i * kStride, codes.data(), sides.data());
        codec.decode(codes.data(), sides.data(), values.data() + i * kWidth);
    }
    castRow(FloatType::Bf16, values.data(), values.size());
    return values;
}

TEST(DeviceSmallFloats, AreThoseOfTheProcessorBitForBit) {
    const auto device = test::testedDevice();
    const FloatQuantizer quantizers[] = {{FloatFormat::Fp4, Granularity::Group, 12}, {FloatFormat::Fp4, Granularity::Group, 48}, {FloatFormat::Fp4, Granularity::Row, 0},
                                         {FloatFormat::Fp4, Granularity::Tensor, 0}, {FloatFormat::Nvfp4, Granularity::Group, 16}, {FloatFormat::Mxfp4, Granularity::Group, 32},
                                         {FloatFormat::Fp8, Granularity::Group, 64}, {FloatFormat::Fp8, Granularity::Row, 0}, {FloatFormat::Fp8, Granularity::Tensor, 0},
                                         {FloatFormat::Mxfp8, Granularity::Group, 32}};
    for (const FloatQuantizer& quantizer : quantizers) {
        for (const Element element : {Element::F32, Element::BF16}) {
            SCOPED_TRACE(std::to_string(static_cast<int>(quantizer.format)) + " in groups of " + std::to_string(quantizer.group) + (element == Element::F32 ? "" : ", bfloat16"));
            std::vector<float> values = unequalRows(7);
            const auto halves = test::toBF16(values);
            if (element == Element::BF16) {
                std::transform(halves.begin(), halves.end(), values.begin(), decodeBF16);
            }
            const auto wide = device->upload(values);
            const auto narrow = device->upload(halves);
            const auto y = device->allocate<uint16_t>(kRows * kWidth);
            const DeviceSmallFloats floats(device, quantizer, kWidth);
            for (int run = 0; run < 2; ++run) {
                floats.round({element == Element::F32 ? static_cast<const void*>(wide.data()) : narrow.data(), element, kRows, kStride}, y.data());
                const auto found = y.read();
                const auto wanted = expected(quantizer, values);
                for (size_t i = 0; i < found.size(); ++i) {
                    const float value = decodeBF16(found[i]);
                    ASSERT_TRUE(i / kWidth == 3 ? std::isnan(value) : value == wanted[i]) << "row " << i / kWidth << " value " << i % kWidth << ": " << value << ", not " << wanted[i];
                }
            }
        }
    }
}

TEST(DeviceSmallFloats, RefuseNonsense) {
    const auto device = test::testedDevice();
    test::expectError(ErrorCode::Argument, "must divide the width", [&] { DeviceSmallFloats(device, {FloatFormat::Fp4, Granularity::Group, 40}, 64); });
    const auto& calls = *device->api().smallFloats;
    cuda::SmallFloatRequest request{};
    EXPECT_EQ(calls.round(device->context(), &request), cuda::Status::Ok);  // no rows
    request.rows = 1;
    request.width = 64;
    request.mantissa = 3;
    request.group = 48;
    EXPECT_EQ(calls.round(device->context(), &request), cuda::Status::Argument);
    request.group = 16;
    request.mantissa = 2;
    EXPECT_EQ(calls.round(device->context(), &request), cuda::Status::Argument);
    request.mantissa = 1;
    request.scale = cuda::FloatScale::Nvfp4;
    EXPECT_EQ(calls.round(device->context(), &request), cuda::Status::Argument);
}

}  // namespace
}  // namespace quantscope
