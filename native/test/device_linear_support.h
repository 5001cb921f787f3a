// What tests of the CUDA backend's linears share: rows as quantizers code them, products run on the tested device, plain sums beside them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "cpu/kernels.h"
#include "device_support.h"
#include "integer/plan.h"
#include "packed/codes.h"
#include "quantizer/row_codec.h"
#include "support.h"

namespace quantscope::cuda {

inline float fromBF16(uint32_t bits) { return std::bit_cast<float>(bits << 16); }

/// Rounded to nearest, ties to even.
inline uint16_t bf16(float value) {
    const auto bits = std::bit_cast<uint32_t>(value);
    return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline std::vector<uint16_t> bf16(const std::vector<float>& values) {
    std::vector<uint16_t> result;
    for (const float value : values) {
        result.push_back(bf16(value));
    }
    return result;
}

inline std::vector<float> throughBF16(std::vector<float> values) {
    for (float& value : values) {
        value = fromBF16(bf16(value));
    }
    return values;
}

/// y [rows, outputs] of packed weights and a request in which everything but memory is set; its pointers are the device's.
inline std::vector<float> run(const LinearShape& shape, const LinearWeights& weights, LinearRequest request, uint64_t yStride = 0) {
    const auto device = test::testedDevice();
    const LinearCalls& calls = *device->api().linear;
    uint64_t bytes = 0;
    device->check(calls.weightBytes(&shape, &bytes), "bytes");
    std::vector<uint8_t> packed(bytes);
    device->check(calls.pack(&shape, &weights, packed.data()), "packing");
    DeviceArray<uint8_t> onDevice = device->upload(packed);
    request.weights = onDevice.data();
    device->check(calls.scratchBytes(device->context(), &shape, request.rows, &request.scratchBytes), "bytes");
    DeviceArray<uint8_t> scratch = device->allocate<uint8_t>(request.scratchBytes);
    request.scratch = scratch.data();
    request.yStride = yStride == 0 ? shape.outputs : yStride;
    const size_t each = request.yElement == Element::BF16 ? 2 : 4;
    constexpr uint8_t kUntouched = 0x5a;
    DeviceArray<uint8_t> y = device->upload(std::vector<uint8_t>(request.rows * request.yStride * each, kUntouched));
    request.y = y.data();
    const DeviceArray<uint32_t> nonFinite = device->upload(std::vector<uint32_t>{0});
    request.nonFinite = nonFinite.data();
    device->check(calls.run(device->context(), &shape, &request), "running");
    const std::vector<uint8_t> raw = y.read();
    std::vector<float> result(request.rows * shape.outputs);
    for (size_t i = 0; i < request.rows * request.yStride; ++i) {
        const size_t row = i / request.yStride;
        const size_t column = i % request.yStride;
        if (column >= shape.outputs) {
            EXPECT_TRUE(std::all_of(raw.begin() + static_cast<ptrdiff_t>(i * each), raw.begin() + static_cast<ptrdiff_t>((i + 1) * each),
                                    [](uint8_t byte) { return byte == kUntouched; }))
                << "written behind row " << row;
        } else if (each == 2) {
            result[row * shape.outputs + column] = fromBF16(static_cast<uint32_t>(raw[2 * i] | raw[2 * i + 1] << 8));
        } else {
            std::memcpy(&result[row * shape.outputs + column], raw.data() + 4 * i, 4);
        }
    }
    EXPECT_EQ(nonFinite.read()[0] != 0, std::any_of(result.begin(), result.end(), [](float value) { return !std::isfinite(value); }));
    return result;
}

/// Rows as one quantizer codes them, and what tells the device about it.
struct Coded {
    LinearSide side{};
    std::vector<uint8_t> codes;   ///< one each
    std::vector<uint8_t> packed;
    std::vector<float> sides;
    std::vector<int8_t> integers;
    std::vector<float> levels;
    std::vector<float> decoded;
};

inline Coded code(const Quantizer& quantizer, const IntegerCodes& meaning, const std::vector<float>& values, size_t width) {
    const RowCodec codec(quantizer, width, {}, scalarKernels());
    const size_t rows = width == 0 ? 0 : values.size() / width;
    Coded result{{}, std::vector<uint8_t>(values.size()), {}, std::vector<float>(rows * codec.sides()), {}, {}, std::vector<float>(values.size())};
    const size_t bytes = packedBytes(width, codec.bits());
    result.packed.resize(rows * bytes);
    for (size_t i = 0; i < rows; ++i) {
        codec.encode(values.data() + i * width, result.codes.data() + i * width, result.sides.data() + i * codec.sides());
        codec.decode(result.codes.data() + i * width, result.sides.data() + i * codec.sides(), result.decoded.data() + i * width);
        packCodes(result.codes.data() + i * width, width, codec.bits(), result.packed.data() + i * bytes);
    }
    result.side.bits = codec.bits();
    if (const auto* integer = std::get_if<IntQuantizer>(&quantizer)) {
        result.side.code = integer->symmetric ? Code::Symmetric : Code::Asymmetric;
        result.side.group = integer->granularity == Granularity::Group ? integer->group : width;
    } else {
        result.side.code = std::holds_alternative<CodebookQuantizer>(quantizer) ? Code::Codebook : Code::MidRise;
        result.side.unit = meaning.unit;
        result.integers.assign(meaning.levels.begin(), meaning.levels.end());
        std::vector<uint8_t> all(width);
        std::vector<float> decoded(width);
        const std::vector<float> one(codec.sides(), 1.0f);
        for (size_t first = 0; first < meaning.levels.size(); ++first) {
            std::fill(all.begin(), all.end(), static_cast<uint8_t>(first));
            codec.decode(all.data(), one.data(), decoded.data());
            result.levels.push_back(decoded[0]);
        }
        result.side.integers = result.integers.data();
        result.side.levels = result.levels.data();
    }
    return result;
}

inline Quantizer integers(int bits, uint64_t group = 0, bool symmetric = true) {
    return IntQuantizer{bits, symmetric, group == 0 ? Granularity::Row : Granularity::Group, group};
}

/// Σ x w + bias in float64.
inline std::vector<double> plainly(const std::vector<float>& x, const std::vector<float>& w, size_t rows, size_t outputs, size_t width, const std::vector<float>& bias = {}) {
    std::vector<double> y(rows * outputs);
    for (size_t i = 0; i < rows; ++i) {
        for (size_t j = 0; j < outputs; ++j) {
            double sum = bias.empty() ? 0.0 : double(bias[j]);
            for (size_t k = 0; k < width; ++k) {
                sum += double(x[i * width + k]) * double(w[j * width + k]);
            }
            y[i * outputs + j] = sum;
        }
    }
    return y;
}

inline void expectNear(const std::vector<float>& y, const std::vector<double>& wanted, double relative, double absolute) {
    ASSERT_EQ(y.size(), wanted.size());
    for (size_t i = 0; i < y.size(); ++i) {
        ASSERT_NEAR(double(y[i]), wanted[i], relative * std::fabs(wanted[i]) + absolute) << i;
    }
}

}  // namespace quantscope::cuda
