#include "device/self_test.h"

#include <cmath>
#include <numbers>
#include <numeric>

#include "base/random.h"
#include "cpu/kernels.h"
#include "device/coder.h"
#include "device/linear.h"
#include "packed/codes.h"
#include "quantizer/codebook.h"

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

std::optional<std::string> testStatistics(const std::shared_ptr<Device>& device) {
    constexpr size_t kRows = 6;
    constexpr size_t kWidth = 1152;
    const auto rotation = rotationFor(kWidth, 1);
    const std::vector<float> x = gaussians(kRows * kWidth, 7);
    const BinGrid grid{2048.0f, 12289.0f, 24577};
    const LevelTable& table = codebookFor(kWidth, 4)->table;
    const DeviceArray<float> input = device->upload(x);
    const DeviceArray<uint32_t> sources = device->upload(rotation->signedSources());
    const DeviceLevels levels(*device, table);
    DeviceArray<uint32_t> counts = device->allocate<uint32_t>(2 * (size_t{grid.last} + 1));
    counts.clear();
    const DeviceArray<cuda::RowStatistics> rows = device->allocate<cuda::RowStatistics>(kRows);
    cuda::StatisticsRequest request{};
    request.x = input.data();
    request.rows = kRows;
    request.width = request.xStride = kWidth;
    request.element = cuda::Element::F32;
    request.sources = sources.data();
    request.block = static_cast<uint32_t>(rotation->block());
    request.perUnit = grid.perUnit;
    request.shift = grid.shift;
    request.last = grid.last;
    request.limit = 6.0f;
    request.before = counts.data();
    request.after = counts.data() + grid.last + 1;
    request.errorAfter = 1;
    request.levels = levels.count;
    request.level = levels.levels.data();
    request.thresholds = levels.thresholds.data();
    request.stored = cuda::Stored::Fp32;
    request.statistics = rows.data();
    device->check(device->api().statistics->measure(device->context(), &request), "measuring rows");
    const std::vector<cuda::RowStatistics> measured = rows.read();
    const std::vector<uint32_t> found = counts.read();
    std::vector<uint32_t> expected(found.size());
    std::vector<float> rotated(kWidth);
    for (size_t i = 0; i < kRows; ++i) {
        const float* const row = x.data() + i * kWidth;
        const Kernels& kernels = scalarKernels();
        const auto scale = static_cast<float>(std::sqrt(kWidth / kernels.sumSquares(row, kWidth)));
        rotation->apply(row, rotated.data(), kernels);
        const PowerSums before = kernels.binAndSum(row, kWidth, scale, grid, expected.data());
        const PowerSums after = kernels.binAndSum(rotated.data(), kWidth, scale, grid, expected.data() + grid.last + 1);
        const double errors = kernels.codebookError(rotated.data(), kWidth, scale, 1.0f, table);
        const auto differs = [](double a, double b, double by) { return !(std::fabs(a - b) <= by); };
        if (differs(measured[i].before[3], before.s4, 1e-4 * before.s4) || differs(measured[i].after[3], after.s4, 1e-4 * after.s4) ||
            differs(measured[i].errors, errors, 1e-4 * errors) || differs(measured[i].largest[1], after.maxAbs, 1e-5 * after.maxAbs)) {
            return "the sums of row " + std::to_string(i);
        }
    }
    uint64_t moved = 0;
    for (size_t i = 0; i < found.size(); ++i) {
        moved += found[i] > expected[i] ? found[i] - expected[i] : expected[i] - found[i];
    }
    // A value at the edge of a cell may be counted in either.
    return moved > kRows * kWidth / 50 ? std::optional<std::string>("the histograms") : std::nullopt;
}

/// Coded by RowCodec on the host, or the values themselves, and what they decode to.
struct Coded {
    std::vector<uint8_t> packed;
    std::vector<float> sides;
    std::vector<float> values;

    Coded(const Quantizer& quantizer, size_t rows, size_t width, uint64_t seed) : values(gaussians(rows * width, seed)) {
        if (std::holds_alternative<KeepQuantizer>(quantizer)) {
            return;
        }
        const RowCodec codec(quantizer, width, {}, scalarKernels());
        const size_t rowBytes = packedBytes(width, codec.bits());
        packed.resize(rows * rowBytes);
        sides.resize(rows * codec.sides());
        std::vector<uint8_t> codes(width);
        for (size_t i = 0; i < rows; ++i) {
            codec.encode(values.data() + i * width, codes.data(), sides.data() + i * codec.sides());
            packCodes(codes.data(), width, codec.bits(), packed.data() + i * rowBytes);
            codec.decode(codes.data(), sides.data() + i * codec.sides(), values.data() + i * width);
        }
    }
};

std::optional<std::string> testLinear(const std::shared_ptr<Device>& device) {
    const struct {
        const char* name;
        Quantizer weights;
        Quantizer activations;
    } cases[] = {{"W8A8", IntQuantizer{8}, IntQuantizer{8}},
                 {"W4A4", IntQuantizer{4, true, Granularity::Group, 64}, IntQuantizer{4, true, Granularity::Group, 64}},
                 {"float32", KeepQuantizer{FloatType::Fp32}, KeepQuantizer{}}};
    constexpr size_t kOutputs = 72;
    constexpr size_t kWidth = 320;
    constexpr size_t kTokens = 37;
    for (const auto& [name, weightsAs, activationsAs] : cases) {
        const DeviceLinear linear(device, {kOutputs, kWidth, weightsAs, activationsAs});
        const Coded w(weightsAs, kOutputs, kWidth, 3);
        const Coded x(activationsAs, kTokens, kWidth, 4);
        const bool floats = w.packed.empty();
        std::vector<uint8_t> packed(linear.weightBytes());
        linear.pack({floats ? nullptr : w.packed.data(), floats ? nullptr : w.sides.data(), floats ? w.values.data() : nullptr, nullptr, nullptr, nullptr}, packed.data());
        const DeviceArray<uint8_t> weights = device->upload(packed);
        const DeviceArray<uint8_t> codes = device->upload(x.packed);
        const DeviceArray<float> values = device->upload(x.values);
        const DeviceArray<float> sides = device->upload(x.sides);
        const DeviceArray<uint8_t> scratch = device->allocate<uint8_t>(linear.scratchBytes(kTokens));
        const DeviceArray<float> y = device->allocate<float>(kTokens * kOutputs);
        cuda::LinearRequest request{};
        request.weights = weights.data();
        request.rows = kTokens;
        request.x = floats ? static_cast<const void*>(values.data()) : codes.data();
        request.xSides = sides.data();
        request.xStride = kWidth;
        request.y = y.data();
        request.yStride = kOutputs;
        request.scratch = scratch.data();
        request.scratchBytes = scratch.bytes();
        linear.run(request);
        const std::vector<float> found = y.read();
        for (size_t i = 0; i < kTokens * kOutputs; ++i) {
            double sum = 0;
            for (size_t k = 0; k < kWidth; ++k) {
                sum += static_cast<double>(x.values[i / kOutputs * kWidth + k]) * w.values[i % kOutputs * kWidth + k];
            }
            if (!(std::fabs(found[i] - sum) <= 1e-3)) {  // sums of 320 products of ones: float32 is off by some 1e-5
                return std::string(name) + ", row " + std::to_string(i / kOutputs) + ", output " + std::to_string(i % kOutputs);
            }
        }
    }
    return std::nullopt;
}

std::optional<std::string> testMoments(const std::shared_ptr<Device>& device) {
    constexpr size_t kRows = 130;
    constexpr size_t kWidth = 48;
    const std::vector<float> x = gaussians(kRows * kWidth, 5);
    const DeviceArray<float> input = device->upload(x);
    DeviceArray<double> sums = device->allocate<double>(kWidth * kWidth);
    DeviceArray<uint64_t> counted = device->allocate<uint64_t>(1);
    sums.clear();
    counted.clear();
    const DeviceArray<uint8_t> usable = device->allocate<uint8_t>(kRows);
    const DeviceArray<float> mean = device->allocate<float>(kWidth * kWidth);
    const cuda::MomentsRequest request{input.data(), cuda::Element::F32, kRows, kWidth, kWidth, sums.data(), counted.data(), usable.data()};
    const cuda::SolverCalls& calls = *device->api().solver;
    device->check(calls.addMoments(device->context(), &request), "adding second moments");
    device->check(calls.meanMoments(device->context(), sums.data(), kWidth, counted.data(), mean.data()), "second moments");
    const std::vector<float> found = mean.read();
    for (size_t i = 0; i < kWidth; ++i) {
        for (size_t j = 0; j < kWidth; ++j) {
            double sum = 0;
            for (size_t row = 0; row < kRows; ++row) {
                sum += static_cast<double>(x[row * kWidth + i]) * x[row * kWidth + j];
            }
            if (!(std::fabs(found[i * kWidth + j] - sum / kRows) <= 1e-4)) {
                return "second moment " + std::to_string(i) + ", " + std::to_string(j);
            }
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
    static const std::vector<SelfTest> tests{{"memory", testMemory}, {"rotation", testRotate}, {"statistics", testStatistics}, {"linear", testLinear}, {"solver", testMoments}};
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
