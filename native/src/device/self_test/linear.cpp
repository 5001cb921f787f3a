#include <algorithm>
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

struct Sizes {
    size_t outputs;
    size_t width;
    size_t tokens;
};

/// One side of a product: coded by RowCodec on the host, or the values themselves, and what they stand for on the device.
struct Side {
    std::vector<uint8_t> packed;
    std::vector<float> sides;
    std::vector<float> values;

    Side(const Quantizer& quantizer, const cuda::LinearSide& as, size_t rows, size_t width, uint64_t seed) : values(gaussians(rows * width, seed)) {
        if (std::holds_alternative<KeepQuantizer>(quantizer)) {
            return;
        }
        const RowCodec codec(quantizer, width, {}, scalarKernels());
        const size_t rowBytes = packedBytes(width, codec.bits());
        packed.resize(rows * rowBytes);
        sides.resize(rows * codec.sides());
        std::vector<uint8_t> codes(width);
        for (size_t i = 0; i < rows; ++i) {
            float* const row = values.data() + i * width;
            codec.encode(row, codes.data(), sides.data() + i * codec.sides());
            packCodes(codes.data(), width, codec.bits(), packed.data() + i * rowBytes);
            codec.decode(codes.data(), sides.data() + i * codec.sides(), row);
            for (size_t k = 0; as.integers != nullptr && k < width; ++k) {
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

std::optional<std::string> test(const std::shared_ptr<Device>& device, const Case& as, const Sizes& sizes) {
    const auto [outputs, width, tokens] = sizes;
    const DeviceLinear linear(device, {outputs, width, as.weights, as.activations});
    Side w(as.weights, linear.shape().weights, outputs, width, 3);
    Side x(as.activations, linear.shape().activations, tokens, width, 4);
    std::vector<uint8_t> packed(linear.weightBytes());
    const bool floatWeights = w.packed.empty(), floatActivations = x.packed.empty();
    linear.pack({floatWeights ? nullptr : w.packed.data(), floatWeights ? nullptr : w.sides.data(), floatWeights ? w.values.data() : nullptr, nullptr, nullptr, nullptr},
                packed.data());
    const DeviceArray<uint8_t> weights = device->upload(packed);
    const DeviceArray<uint8_t> codes = device->upload(x.packed);
    const DeviceArray<float> values = device->upload(x.values);
    const DeviceArray<float> sides = device->upload(x.sides);
    const DeviceArray<uint8_t> scratch = device->allocate<uint8_t>(linear.scratchBytes(tokens));
    const DeviceArray<float> y = device->allocate<float>(tokens * outputs);
    cuda::LinearRequest request{};
    request.weights = weights.data();
    request.rows = tokens;
    request.x = floatActivations ? static_cast<const void*>(values.data()) : codes.data();
    request.xSides = sides.data();
    request.xStride = width;
    request.y = y.data();
    request.yStride = outputs;
    request.scratch = scratch.data();
    request.scratchBytes = scratch.bytes();
    linear.run(request);
    if (as.bf16) {
        w.roundToBf16();
        x.roundToBf16();
    }
    const std::vector<float> found = y.read();
    const size_t every = std::max<size_t>(tokens / 97, 1);
    for (size_t i = 0; i < tokens * outputs; ++i) {
        if (i / outputs % every != 0) {
            continue;
        }
        double sum = 0;
        for (size_t k = 0; k < width; ++k) {
            sum += static_cast<double>(x.values[i / outputs * width + k]) * w.values[i % outputs * width + k];
        }
        if (!(std::fabs(found[i] - sum) <= 1e-3)) {  // sums of 320 products of ones: float32 is off by some 1e-5
            return std::string(as.name) + ", " + std::to_string(tokens) + " rows: row " + std::to_string(i / outputs) + ", output " + std::to_string(i % outputs);
        }
    }
    return std::nullopt;
}

}  // namespace

std::optional<std::string> selfTest::linear(const std::shared_ptr<Device>& device) {
    const auto groups = [](int bits, bool symmetric, uint64_t length) { return Quantizer(IntQuantizer{bits, symmetric, Granularity::Group, length}); };
    const Case bytes{"W8A8", IntQuantizer{8}, IntQuantizer{8}, false};
    const Case codebooks{"4-bit codebooks", CodebookQuantizer{4}, CodebookQuantizer{4}, false};
    const Case floats{"bfloat16", KeepQuantizer{}, KeepQuantizer{}, true};
    const Case byteGroups{"W8A8 in groups", groups(8, true, 64), groups(8, true, 64), false};
    const Case nibbleGroups{"W4A4 in groups", groups(4, true, 64), groups(4, true, 64), false};
    for (const Case& each : {bytes, codebooks, floats, byteGroups, nibbleGroups, Case{"W4A8 with zero points", groups(4, false, 64), IntQuantizer{8, false}, false},
                             Case{"W4A16", groups(4, true, 64), KeepQuantizer{}, true}, Case{"float32", KeepQuantizer{FloatType::Fp32}, KeepQuantizer{}, false},
                             Case{"W8A8 in groups of 160", groups(8, true, 160), groups(8, true, 160), false}}) {
        if (const auto wrong = test(device, each, {72, 320, 37})) {
            return wrong;
        }
    }
    for (const Case& each : {bytes, codebooks, floats, byteGroups, nibbleGroups}) {
        if (const auto wrong = test(device, each, {136, 192, 137})) {
            return wrong;
        }
    }
    for (const size_t outputs : {72, 136}) {
        if (const auto wrong = test(device, {"W4A4 in groups of 128", groups(4, true, 128), groups(4, true, 128), false}, {outputs, 384, 37})) {
            return wrong;
        }
    }
    // Wide tiles, where narrow ones would be more than multiprocessors: of outputs, with an odd and an even number of tiles of 128 tokens; of tokens, with
    // one tile of outputs and with two.
    const size_t multiprocessors = device->description().multiprocessors;
    const size_t half = std::max<size_t>(multiprocessors / 2, 2);
    for (const size_t rowTiles : {(half - 1) | 1, half & ~size_t{1}}) {
        for (const size_t columns : {192, 256}) {
            for (const Case& each : {bytes, floats}) {
                if (const auto wrong = test(device, each, {columns * std::max<size_t>(multiprocessors / rowTiles, 1), 64, 128 * rowTiles})) {
                    return wrong;
                }
            }
        }
    }
    for (const size_t outputTiles : {1, 2}) {
        if (const auto wrong = test(device, codebooks, {72 * outputTiles, 64, multiprocessors / outputTiles * 128 + 37})) {
            return wrong;
        }
    }
    return std::nullopt;
}

}  // namespace quantscope
