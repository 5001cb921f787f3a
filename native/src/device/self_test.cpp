#include "device/self_test.h"

#include <cmath>
#include <numbers>
#include <numeric>

#include "base/random.h"
#include "cpu/kernels.h"
#include "device/coder.h"
#include "packed/codes.h"

namespace quantscope {

namespace {

std::vector<float> gaussians(size_t count, uint64_t seed) {
    SplitMix64 random(seed);
    std::vector<float> values(count);
    for (float& value : values) {
        const double radius = std::sqrt(-2 * std::log(1 - random.uniform()));
        value = static_cast<float>(radius * std::cos(2 * std::numbers::pi * random.uniform()));
    }
    return values;
}

std::optional<std::string> testMemory(const std::shared_ptr<Device>& device) {
    std::vector<uint32_t> values(100003);
    std::iota(values.begin(), values.end(), 1u);
    if (device->upload(values).read() != values) {
        return "what was copied to the device and back is not what it was";
    }
    return std::nullopt;
}

std::optional<std::string> testRotate(const std::shared_ptr<Device>& device) {
    const struct {
        size_t width;
        Quantizer quantizer;
    } cases[] = {{1152, CodebookQuantizer{4}}, {3072, CodebookQuantizer{3}}, {4096, MidRiseQuantizer{4}},
                 {1536, IntQuantizer{4, true, Granularity::Group, 128}}, {1152, IntQuantizer{8, false}}, {77, CodebookQuantizer{2}}};
    constexpr size_t kRows = 9;
    for (const auto& [width, quantizer] : cases) {
        const auto rotation = rotationFor(width, 1);
        const std::vector<float> x = gaussians(kRows * width, width);
        std::vector<float> rotated(kRows * width);
        for (size_t i = 0; i < kRows; ++i) {
            rotation->apply(x.data() + i * width, rotated.data() + i * width, scalarKernels());
        }
        const DeviceCoder coder(device, quantizer, width, rotation.get());
        const DeviceArray<float> input = device->upload(x);
        const DeviceArray<uint8_t> codes = device->allocate<uint8_t>(kRows * coder.rowBytes());
        const DeviceArray<float> sides = device->allocate<float>(kRows * coder.sides());
        coder.encode({input.data(), cuda::Element::F32, kRows, width}, codes.data(), sides.data());
        const RowCodec codec(quantizer, width, {}, scalarKernels());
        if (const auto wrong = compareCodes(codec, rotated.data(), kRows, codes.read().data(), sides.read().data())) {
            return "rows of " + std::to_string(width) + ": " + *wrong;
        }
    }
    return std::nullopt;
}

}  // namespace

std::optional<std::string> compareCodes(const RowCodec& codec, const float* values, size_t rows, const uint8_t* packed, const float* sides) {
    const size_t width = codec.width();
    const size_t rowBytes = packedBytes(width, codec.bits());
    const bool affine = codec.sides() > 1;  // scale and lowest step in turn
    std::vector<uint8_t> codes(width);
    std::vector<uint8_t> own(width);
    std::vector<float> expected(codec.sides());
    std::vector<float> want(width);
    std::vector<float> have(width);
    size_t differences = 0;
    for (size_t i = 0; i < rows; ++i) {
        const auto place = [&](size_t k) { return "row " + std::to_string(i) + ", value " + std::to_string(k); };
        const float* const row = values + i * width;
        const float* const ownSides = sides + i * codec.sides();
        codec.encode(row, codes.data(), expected.data());
        unpackCodes(packed + i * rowBytes, width, codec.bits(), own.data());
        for (size_t k = 0; k < codec.sides(); ++k) {
            // A zero point may fall either way at a half; a norm or a scale by one unit of the coarsest type that it is stored in.
            const float allowed = affine && k % 2 == 1 ? 1.0f : std::fabs(expected[k]) * 0x1p-7f;
            if (std::isnan(expected[k]) ? !std::isnan(ownSides[k]) : !(std::fabs(ownSides[k] - expected[k]) <= allowed)) {
                return "row " + std::to_string(i) + ", side " + std::to_string(k) + " is " + std::to_string(ownSides[k]) + ", not " + std::to_string(expected[k]);
            }
        }
        codec.decode(codes.data(), expected.data(), want.data());
        codec.decode(own.data(), ownSides, have.data());
        for (size_t k = 0; k < width; ++k) {
            if (own[k] == codes[k]) {
                continue;
            }
            ++differences;
            const float difference = std::fabs(std::fabs(have[k] - row[k]) - std::fabs(want[k] - row[k]));
            if (!(difference <= 0.02f * std::fabs(row[k]) + 1e-4f * std::fabs(want[k]))) {
                return place(k) + " has code " + std::to_string(own[k]) + ", not " + std::to_string(codes[k]);
            }
        }
        if (const size_t used = width * static_cast<size_t>(codec.bits()) % 8; used != 0 && packed[(i + 1) * rowBytes - 1] >> used != 0) {
            return "row " + std::to_string(i) + " has bits behind its last code";
        }
    }
    if (differences > 2 + rows * width / 500) {
        return std::to_string(differences) + " of " + std::to_string(rows * width) + " codes are different";
    }
    return std::nullopt;
}

const std::vector<SelfTest>& selfTests() {
    static const std::vector<SelfTest> tests{{"memory", testMemory}, {"rotation", testRotate}};
    return tests;
}

std::optional<std::string> runSelfTests(const std::shared_ptr<const CudaLibrary>& library, int32_t number) {
    try {
        const auto device = Device::open(library, number);
        for (const SelfTest& test : selfTests()) {
            if (const auto wrong = test.run(device)) {
                return std::string(test.group) + " computes something else than the processor: " + *wrong;
            }
        }
    } catch (const Error& error) {
        return error.what();
    }
    return std::nullopt;
}

}  // namespace quantscope
