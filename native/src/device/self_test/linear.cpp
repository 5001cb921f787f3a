#include <cmath>

#include "base/rounding.h"
#include "cpu/kernels.h"
#include "device/linear.h"
#include "device/self_test/definitions.h"
#include "device/self_test/groups.h"
#include "packed/codes.h"
#include "quantizer/row_codec.h"

namespace quantscope {

namespace {

constexpr size_t kOutputs = 72;
constexpr size_t kWidth = 320;
constexpr size_t kTokens = 37;

/// One side of a product: coded by RowCodec on the host, or the values themselves, and what they stand for on the device.
struct Side {
    std::vector<uint8_t> packed;
    std::vector<float> sides;
    std::vector<float> values;

    Side(const Quantizer& quantizer, const cuda::LinearSide& as, size_t rows, uint64_t seed) : values(gaussians(rows * kWidth, seed)) {
        if (std::holds_alternative<KeepQuantizer>(quantizer)) {
            return;
        }
        const RowCodec codec(quantizer, kWidth, {}, scalarKernels());
        const size_t rowBytes = packedBytes(kWidth, codec.bits());
        packed.resize(rows * rowBytes);
        sides.resize(rows * codec.sides());
        std::vector<uint8_t> codes(kWidth);
        for (size_t i = 0; i < rows; ++i) {
            float* const row = values.data() + i * kWidth;
            codec.encode(row, codes.data(), sides.data() + i * codec.sides());
            packCodes(codes.data(), kWidth, codec.bits(), packed.data() + i * rowBytes);
            codec.decode(codes.data(), sides.data() + i * codec.sides(), row);
            for (size_t k = 0; as.integers != nullptr && k < kWidth; ++k) {
                row[k] = static_cast<float>(as.integers[codes[k]]) * as.unit * sides[i];  // integers stand for a codebook's levels
            }
        }
    }
    void roundToBf16() {
        for (float& value : values) {
            value = static_cast<float>(roundTo(FloatType::Bf16, value));
        }
    }
};

struct Case {
    const char* name;
    Quantizer weights;
    Quantizer activations;
    bool bf16;  ///< both sides meet in bfloat16
};

std::optional<std::string> test(const std::shared_ptr<Device>& device, const Case& as) {
    const DeviceLinear linear(device, {kOutputs, kWidth, as.weights, as.activations});
    Side w(as.weights, linear.shape().weights, kOutputs, 3);
    Side x(as.activations, linear.shape().activations, kTokens, 4);
    std::vector<uint8_t> packed(linear.weightBytes());
    const bool floatWeights = w.packed.empty(), floatActivations = x.packed.empty();
    linear.pack({floatWeights ? nullptr : w.packed.data(), floatWeights ? nullptr : w.sides.data(), floatWeights ? w.values.data() : nullptr, nullptr, nullptr, nullptr},
                packed.data());
    const DeviceArray<uint8_t> weights = device->upload(packed);
    const DeviceArray<uint8_t> codes = device->upload(x.packed);
    const DeviceArray<float> values = device->upload(x.values);
    const DeviceArray<float> sides = device->upload(x.sides);
    const DeviceArray<uint8_t> scratch = device->allocate<uint8_t>(linear.scratchBytes(kTokens));
    const DeviceArray<float> y = device->allocate<float>(kTokens * kOutputs);
    cuda::LinearRequest request{};
    request.weights = weights.data();
    request.rows = kTokens;
    request.x = floatActivations ? static_cast<const void*>(values.data()) : codes.data();
    request.xSides = sides.data();
    request.xStride = kWidth;
    request.y = y.data();
    request.yStride = kOutputs;
    request.scratch = scratch.data();
    request.scratchBytes = scratch.bytes();
    linear.run(request);
    if (as.bf16) {
        w.roundToBf16();
        x.roundToBf16();
    }
    const std::vector<float> found = y.read();
    for (size_t i = 0; i < kTokens * kOutputs; ++i) {
        double sum = 0;
        for (size_t k = 0; k < kWidth; ++k) {
            sum += static_cast<double>(x.values[i / kOutputs * kWidth + k]) * w.values[i % kOutputs * kWidth + k];
        }
        if (!(std::fabs(found[i] - sum) <= 1e-3)) {  // sums of 320 products of ones: float32 is off by some 1e-5
            return std::string(as.name) + ", row " + std::to_string(i / kOutputs) + ", output " + std::to_string(i % kOutputs);
        }
    }
    return std::nullopt;
}

}  // namespace

std::optional<std::string> selfTest::linear(const std::shared_ptr<Device>& device) {
    const auto groups = [](bool symmetric) { return Quantizer(IntQuantizer{4, symmetric, Granularity::Group, 64}); };
    for (const Case& each : {Case{"W8A8", IntQuantizer{8}, IntQuantizer{8}, false},
                             Case{"W4A4", groups(true), groups(true), false},
                             Case{"W4A8 with zero points", groups(false), IntQuantizer{8, false}, false},
                             Case{"4-bit codebooks", CodebookQuantizer{4}, CodebookQuantizer{4}, false},
                             Case{"W4A16", groups(true), KeepQuantizer{}, true},
                             Case{"bfloat16", KeepQuantizer{}, KeepQuantizer{}, true},
                             Case{"float32", KeepQuantizer{FloatType::Fp32}, KeepQuantizer{}, false}}) {
        if (const auto wrong = test(device, each)) {
            return wrong;
        }
    }
    return std::nullopt;
}

}  // namespace quantscope
