// Linears of the CUDA backend against their twins: integer/ for codes, bit for bit up to the rounding of groups, and plain sums for floats.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "cpu/kernels.h"
#include "device/coder.h"
#include "device/linear.h"
#include "device_support.h"
#include "integer/operands.h"
#include "integer/plan.h"
#include "packed/codes.h"
#include "quantizer/row_codec.h"
#include "support.h"

namespace quantscope::cuda {
namespace {

float fromBF16(uint32_t bits) { return std::bit_cast<float>(bits << 16); }

/// Rounded to nearest, ties to even.
uint16_t bf16(float value) {
    const auto bits = std::bit_cast<uint32_t>(value);
    return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

std::vector<uint16_t> bf16(const std::vector<float>& values) {
    std::vector<uint16_t> result;
    for (const float value : values) {
        result.push_back(bf16(value));
    }
    return result;
}

std::vector<float> throughBF16(std::vector<float> values) {
    for (float& value : values) {
        value = fromBF16(bf16(value));
    }
    return values;
}

/// y [rows, outputs] of packed weights and a request in which everything but memory is set; its pointers are the device's.
std::vector<float> run(const LinearShape& shape, const LinearWeights& weights, LinearRequest request, uint64_t yStride = 0) {
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

Coded code(const Quantizer& quantizer, const IntegerCodes& meaning, const std::vector<float>& values, size_t width) {
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

Quantizer integers(int bits, uint64_t group = 0, bool symmetric = true) {
    return IntQuantizer{bits, symmetric, group == 0 ? Granularity::Row : Granularity::Group, group};
}

/// What the integers of both sides give: groups in order, each rounded once when it is added.
std::vector<float> expected(const IntegerPlan& plan, const Coded& x, const Coded& w, size_t rows, size_t outputs, const std::vector<float>& bias) {
    const auto value = [](const IntegerCodes& meaning, const Coded& of, size_t row, size_t k, size_t width) -> int64_t {
        const uint8_t each = of.codes[row * width + k];
        if (!meaning.affine) {
            return meaning.levels[each];
        }
        const size_t sides = 2 * (width / meaning.group);
        return each + static_cast<int64_t>(of.sides[row * sides + 2 * (k / meaning.group) + 1]);
    };
    const auto scale = [](const IntegerCodes& meaning, const Coded& of, size_t row, size_t k, size_t width) {
        return meaning.affine ? of.sides[row * 2 * (width / meaning.group) + 2 * (k / meaning.group)] : of.sides[row] * meaning.unit;
    };
    std::vector<float> y(rows * outputs);
    for (size_t i = 0; i < rows; ++i) {
        for (size_t j = 0; j < outputs; ++j) {
            float sum = 0;
            for (size_t g = 0; g < plan.groups; ++g) {
                int64_t total = 0;
                for (size_t k = g * plan.group; k < (g + 1) * plan.group; ++k) {
                    total += value(plan.x, x, i, k, plan.width) * value(plan.w, w, j, k, plan.width);
                }
                const size_t k = g * plan.group;
                sum = std::fma(static_cast<float>(total), scale(plan.x, x, i, k, plan.width) * scale(plan.w, w, j, k, plan.width), sum);
            }
            y[i * outputs + j] = sum + (bias.empty() ? 0.0f : bias[j]);
        }
    }
    return y;
}

/// The twin on the processor: as expected(), with each product rounded before it is added.
std::vector<float> twin(const IntegerPlan& plan, const Coded& x, const Coded& w, size_t rows, size_t outputs, const std::vector<float>& bias) {
    const ProductKernels& kernels = scalarProductKernels();
    const IntegerWeight weight(plan, outputs, w.codes.data(), w.sides.data());
    IntegerInputs inputs(plan, rows, kernels);
    const size_t sides = rows == 0 ? 0 : x.sides.size() / rows;
    for (size_t t = 0; t < inputs.tiles(); ++t) {
        inputs.fill(t, x.codes.data() + inputs.firstRow(t) * plan.width, x.sides.data() + inputs.firstRow(t) * sides);
    }
    std::vector<float> y(rows * outputs);
    for (size_t i = 0; !bias.empty() && i < y.size(); ++i) {
        y[i] = bias[i % outputs];
    }
    IntegerScratch scratch;
    multiplyIntegers(inputs, {0, inputs.tiles()}, weight, {0, weight.panels()}, y.data(), outputs, kernels, scratch);
    return y;
}

struct IntegerCase {
    const char* name;
    Quantizer weights;
    Quantizer activations;
    size_t rows, outputs, width;
    bool bias;
};

const CodebookQuantizer kBook4{4, FloatType::Bf16};

const IntegerCase kCases[] = {
    {"W8A8", integers(8), integers(8), 70, 131, 160, true},
    {"W8A8OfOddWidth", integers(8), integers(8), 3, 5, 77, false},
    {"W8A8ThatEndsInAPiece", integers(8), integers(8), 130, 257, 48, true},
    {"W8A8InGroups", integers(8, 32), integers(8, 64), 40, 129, 192, true},
    {"W8A8InOddGroups", integers(8, 24), integers(8, 12), 9, 17, 72, true},
    {"W8A8Asymmetric", integers(8, 64, false), integers(8, 0, false), 33, 40, 128, true},
    {"W4A4InGroupsOf64", integers(4, 64), integers(4, 64), 130, 70, 320, true},
    {"W4A4InGroupsOf128", integers(4, 128), integers(4, 128), 64, 133, 384, false},
    {"W4A4InGroupsOf32", integers(4, 32), integers(4, 32), 20, 33, 160, true},
    {"W4A4OneGroupSideEach", integers(4, 128), integers(4), 31, 64, 256, true},
    {"W4A4ByRows", integers(4), integers(4), 17, 140, 448, true},
    {"W4A4Asymmetric", integers(4, 64, false), integers(4, 128, false), 19, 35, 256, true},
    {"W4A4AsymmetricActivations", integers(4), integers(4, 0, false), 19, 35, 100, true},
    {"W4A8", integers(4, 64), integers(8), 25, 66, 192, true},
    {"W2A4", integers(2, 64), integers(4, 64), 18, 43, 128, true},
    {"W3A5", integers(3, 16), integers(5, 48), 18, 43, 144, false},
    {"Codebook", kBook4, kBook4, 34, 260, 192, true},
    {"CodebookOfOddWidth", kBook4, kBook4, 5, 9, 101, false},
    {"CodebookWith8Bits", kBook4, integers(8), 5, 9, 96, false},
    {"MidRise", MidRiseQuantizer{4, FloatType::Bf16}, MidRiseQuantizer{6, FloatType::Bf16}, 6, 30, 64, true},
    {"OneOfEach", integers(8), integers(8), 1, 1, 1, true},
    {"NoRows", integers(4, 64), integers(4, 64), 0, 12, 64, true},
};

void expectTwin(const IntegerCase& c) {
    const auto found = planInteger(c.weights, c.activations, c.width, scalarProductKernels());
    ASSERT_TRUE(std::holds_alternative<IntegerPlan>(found)) << std::get<std::string>(found);
    const auto& plan = std::get<IntegerPlan>(found);
    test::Gaussian random(5);
    auto xValues = random.floats(c.rows * c.width);
    auto wValues = random.floats(c.outputs * c.width);
    for (size_t i = 0; i < c.width; ++i) {
        if (c.rows > 2) {
            xValues[c.width + i] = 0;                    // a row of zeros
            xValues[2 * c.width + i] = 3 + xValues[i] / 9;  // a row far from zero
        }
    }
    const Coded x = code(c.activations, plan.x, xValues, c.width);
    const Coded w = code(c.weights, plan.w, wValues, c.width);
    const auto bias = c.bias ? random.floats(c.outputs) : std::vector<float>();
    LinearShape shape{c.outputs, c.width, w.side, x.side, Element::F32, 0, 0, c.bias ? 1 : 0, 0};
    const LinearWeights weights{w.packed.data(), w.sides.data(), nullptr, nullptr, nullptr, bias.data()};
    const auto wanted = expected(plan, x, w, c.rows, c.outputs, bias);
    const auto xCodes = test::testedDevice()->upload(x.packed);
    const auto xSides = test::testedDevice()->upload(x.sides);
    LinearRequest request{};
    request.rows = c.rows;
    request.x = xCodes.data();
    request.xSides = xSides.data();
    EXPECT_EQ(run(shape, weights, request, c.outputs + 3), wanted);
    const auto own = twin(plan, x, w, c.rows, c.outputs, bias);
    for (size_t i = 0; i < own.size(); ++i) {
        EXPECT_NEAR(wanted[i], own[i], 1e-6 * std::fabs(own[i]) + 1e-5) << i;
        if (plan.groups == 1) {
            ASSERT_EQ(wanted[i], own[i]) << "one group has nothing to round differently, " << i;
        }
    }
}

TEST(IntegerLinears, EqualTheirTwin) {
    for (const IntegerCase& each : kCases) {
        SCOPED_TRACE(each.name);
        expectTwin(each);
    }
}

/// Σ x w + bias in float64.
std::vector<double> plainly(const std::vector<float>& x, const std::vector<float>& w, size_t rows, size_t outputs, size_t width, const std::vector<float>& bias = {}) {
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

void expectNear(const std::vector<float>& y, const std::vector<double>& wanted, double relative, double absolute) {
    ASSERT_EQ(y.size(), wanted.size());
    for (size_t i = 0; i < y.size(); ++i) {
        ASSERT_NEAR(double(y[i]), wanted[i], relative * std::fabs(wanted[i]) + absolute) << i;
    }
}

struct Size {
    size_t rows, outputs, width;
};

constexpr Size kSizes[] = {{1, 1, 1}, {3, 5, 7}, {17, 300, 96}, {129, 300, 24}, {129, 65, 40}, {0, 4, 8}, {5, 9, 0}, {64, 128, 256}};

TEST(FloatLinear, Float32TakesInputsInOrder) {
    test::Gaussian random(11);
    for (const auto& [rows, outputs, width] : kSizes) {
        const auto x = random.floats(rows * width), w = random.floats(outputs * width), bias = random.floats(outputs);
        std::vector<float> wanted(rows * outputs);
        for (size_t i = 0; i < rows; ++i) {
            for (size_t j = 0; j < outputs; ++j) {
                float sum = 0;
                for (size_t k = 0; k < width; ++k) {
                    sum = std::fma(x[i * width + k], w[j * width + k], sum);
                }
                wanted[i * outputs + j] = sum + bias[j];
            }
        }
        LinearShape shape{};
        shape.outputs = outputs;
        shape.width = width;
        shape.element = Element::F32;
        shape.bias = 1;
        const auto onDevice = test::testedDevice()->upload(x);
        LinearRequest request{};
        request.rows = rows;
        request.x = onDevice.data();
        request.xElement = Element::F32;
        request.xStride = width;
        const LinearWeights weights{nullptr, nullptr, w.data(), nullptr, nullptr, bias.data()};
        EXPECT_EQ(run(shape, weights, request), wanted) << rows << " x " << outputs << " x " << width;
        request.yElement = Element::BF16;
        EXPECT_EQ(run(shape, weights, request, outputs + 1), throughBF16(wanted));
    }
}

TEST(FloatLinear, Bfloat16WithTailAndBranch) {
    test::Gaussian random(12);
    const auto device = test::testedDevice();
    for (const auto& [rows, outputs, width] : kSizes) {
        for (const auto& [tail, rank] : {std::pair<size_t, size_t>{0, 0}, {5, 0}, {0, 16}, {40, 9}}) {
            const auto x = random.floats(rows * width), w = random.floats(outputs * width), bias = random.floats(outputs);
            const auto xTail = random.floats(rows * tail), wTail = random.floats(outputs * tail);
            const auto branch = random.floats(rows * rank), up = random.floats(outputs * rank);
            auto wanted = plainly(throughBF16(x), throughBF16(w), rows, outputs, width, bias);
            const auto ofTail = plainly(throughBF16(xTail), throughBF16(wTail), rows, outputs, tail);
            const auto ofBranch = plainly(throughBF16(branch), throughBF16(up), rows, outputs, rank);
            for (size_t i = 0; i < wanted.size(); ++i) {
                wanted[i] += ofTail[i] + ofBranch[i];
            }
            LinearShape shape{};
            shape.outputs = outputs;
            shape.width = width;
            shape.element = Element::BF16;
            shape.tail = tail;
            shape.rank = rank;
            shape.bias = 1;
            const LinearWeights weights{nullptr, nullptr, w.data(), wTail.data(), up.data(), bias.data()};
            const auto onDevice = device->upload(x), tailOnDevice = device->upload(xTail), branchOnDevice = device->upload(branch);
            LinearRequest request{};
            request.rows = rows;
            request.x = onDevice.data();
            request.xStride = width;
            request.xTail = tailOnDevice.data();
            request.tailStride = tail;
            request.branch = branchOnDevice.data();
            expectNear(run(shape, weights, request), wanted, 1e-5, 2e-5 * std::sqrt(double(width + tail + rank)));
            const auto rounded = device->upload(bf16(x));  // used where it lies when rows are aligned, and rounded into the scratch memory otherwise
            request.x = rounded.data();
            request.xElement = Element::BF16;
            request.yElement = Element::BF16;
            expectNear(run(shape, weights, request), wanted, 0.005, 2e-5 * std::sqrt(double(width + tail + rank)));
        }
    }
}

/// Tiles of 256 columns are for products that have one for each multiprocessor.
TEST(WideLinears, EqualTheirTwins) {
    const auto device = test::testedDevice();
    constexpr size_t kRows = 129, kWidth = 80;
    const auto outputs = static_cast<size_t>(device->description().multiprocessors) * 128 - 3;
    expectTwin({"W8A8", integers(8), integers(8), kRows, outputs, kWidth, true});
    test::Gaussian random(20);
    const auto x = random.floats(kRows * kWidth), w = random.floats(outputs * kWidth), bias = random.floats(outputs);
    LinearShape shape{};
    shape.outputs = outputs;
    shape.width = kWidth;
    shape.element = Element::BF16;
    shape.bias = 1;
    const LinearWeights weights{nullptr, nullptr, w.data(), nullptr, nullptr, bias.data()};
    const auto onDevice = device->upload(x);
    LinearRequest request{};
    request.rows = kRows;
    request.x = onDevice.data();
    request.xStride = kWidth;
    expectNear(run(shape, weights, request), plainly(throughBF16(x), throughBF16(w), kRows, outputs, kWidth, bias), 1e-5, 2e-4);
}

TEST(IntegerLinears, AddTailAndBranch) {
    test::Gaussian random(13);
    const auto device = test::testedDevice();
    constexpr size_t kOutputs = 70, kWidth = 128, kTail = 16, kRank = 8, kTokens = 33;
    for (const Quantizer& quantizer : {integers(4, 64), Quantizer(CodebookQuantizer{4, FloatType::Bf16})}) {
        const auto found = planInteger(quantizer, quantizer, kWidth, scalarProductKernels());
        const auto& plan = std::get<IntegerPlan>(found);
        const Coded x = code(quantizer, plan.x, random.floats(kTokens * kWidth), kWidth);
        const Coded w = code(quantizer, plan.w, random.floats(kOutputs * kWidth), kWidth);
        const auto bias = random.floats(kOutputs), xTail = random.floats(kTokens * kTail), wTail = random.floats(kOutputs * kTail);
        const auto branch = random.floats(kTokens * kRank), up = random.floats(kOutputs * kRank);
        const auto integerPart = expected(plan, x, w, kTokens, kOutputs, bias);
        const auto ofTail = plainly(throughBF16(xTail), throughBF16(wTail), kTokens, kOutputs, kTail);
        const auto ofBranch = plainly(throughBF16(branch), throughBF16(up), kTokens, kOutputs, kRank);
        std::vector<double> wanted(integerPart.begin(), integerPart.end());
        for (size_t i = 0; i < wanted.size(); ++i) {
            wanted[i] += ofTail[i] + ofBranch[i];
        }
        const LinearShape shape{kOutputs, kWidth, w.side, x.side, Element::F32, kTail, kRank, 1, 0};
        const LinearWeights weights{w.packed.data(), w.sides.data(), nullptr, wTail.data(), up.data(), bias.data()};
        const auto codes = device->upload(x.packed);
        const auto sides = device->upload(x.sides);
        const auto tailOnDevice = device->upload(xTail), branchOnDevice = device->upload(branch);
        LinearRequest request{};
        request.rows = kTokens;
        request.x = codes.data();
        request.xSides = sides.data();
        request.xTail = tailOnDevice.data();
        request.tailStride = kTail;
        request.branch = branchOnDevice.data();
        expectNear(run(shape, weights, request), wanted, 1e-5, 2e-4);
    }
}

TEST(WeightOnlyLinear, DecodesToBfloat16) {
    test::Gaussian random(14);
    const auto device = test::testedDevice();
    constexpr size_t kOutputs = 37, kWidth = 96, kTokens = 20;
    for (const Quantizer& quantizer : {integers(4, 32), integers(2, 16, false), integers(8), integers(3, 0, false), Quantizer(CodebookQuantizer{4, FloatType::Bf16}),
                                       Quantizer(CodebookQuantizer{2, FloatType::Bf16}), Quantizer(MidRiseQuantizer{3, FloatType::Bf16})}) {
        const auto found = planInteger(quantizer, integers(8), kWidth, scalarProductKernels());
        const auto& plan = std::get<IntegerPlan>(found);
        const Coded w = code(quantizer, plan.w, random.floats(kOutputs * kWidth), kWidth);
        const auto x = random.floats(kTokens * kWidth);
        LinearShape shape{};
        shape.outputs = kOutputs;
        shape.width = kWidth;
        shape.weights = w.side;
        const LinearWeights weights{w.packed.data(), w.sides.data(), nullptr, nullptr, nullptr, nullptr};
        const auto onDevice = device->upload(x);
        LinearRequest request{};
        request.rows = kTokens;
        request.x = onDevice.data();
        request.xStride = kWidth;
        expectNear(run(shape, weights, request), plainly(throughBF16(x), throughBF16(w.decoded), kTokens, kOutputs, kWidth), 1e-5, 2e-4);
    }
}

TEST(DecodedLinears, MultiplyWhatCodesOfBothSidesStandFor) {
    const auto device = test::testedDevice();
    constexpr size_t kOutputs = 40, kWidth = 192, kTokens = 21;
    const std::pair<Quantizer, Quantizer> sides[] = {{CodebookQuantizer{4}, CodebookQuantizer{3}}, {integers(4, 32), integers(8, 64, false)}, {MidRiseQuantizer{4}, CodebookQuantizer{8}},
                                                     {integers(4, 0, false), integers(4)}, {KeepQuantizer{}, CodebookQuantizer{4}}, {KeepQuantizer{}, integers(5, 48, false)}};
    for (const auto& [weightsAs, activationsAs] : sides) {
        test::Gaussian random(19);
        const DeviceLinear linear(device, {kOutputs, kWidth, weightsAs, activationsAs, 0, 0, false, true});
        const bool keeps = std::holds_alternative<KeepQuantizer>(weightsAs);
        const auto wValues = random.floats(kOutputs * kWidth);
        const Coded w = keeps ? Coded{} : code(weightsAs, {}, wValues, kWidth);
        const Coded x = code(activationsAs, {}, random.floats(kTokens * kWidth), kWidth);
        const LinearWeights weights{w.packed.data(), w.sides.data(), wValues.data(), nullptr, nullptr, nullptr};
        const auto codes = device->upload(x.packed);
        const auto xSides = device->upload(x.sides);
        LinearRequest request{};
        request.rows = kTokens;
        request.x = codes.data();
        request.xSides = xSides.data();
        expectNear(run(linear.shape(), weights, request), plainly(throughBF16(x.decoded), throughBF16(keeps ? wValues : w.decoded), kTokens, kOutputs, kWidth), 1e-5, 2e-4);
    }
}

TEST(IntegerLinears, ARowWithoutCodesShows) {
    const size_t width = 64;
    const auto found = planInteger(integers(4, 32, false), integers(8, 0, false), width, scalarProductKernels());
    const auto& plan = std::get<IntegerPlan>(found);
    test::Gaussian random(15);
    auto values = random.floats(3 * width);
    values[width + 5] = std::numeric_limits<float>::infinity();
    const Coded x = code(integers(8, 0, false), plan.x, values, width);
    const Coded w = code(integers(4, 32, false), plan.w, random.floats(4 * width), width);
    const LinearShape shape{4, width, w.side, x.side, Element::F32, 0, 0, 0, 0};
    const LinearWeights weights{w.packed.data(), w.sides.data(), nullptr, nullptr, nullptr, nullptr};
    const auto codes = test::testedDevice()->upload(x.packed);
    const auto sides = test::testedDevice()->upload(x.sides);
    LinearRequest request{};
    request.rows = 3;
    request.x = codes.data();
    request.xSides = sides.data();
    const auto y = run(shape, weights, request);
    for (size_t i = 0; i < y.size(); ++i) {
        EXPECT_EQ(std::isnan(y[i]), i / 4 == 1) << i;
    }
}

/// From floats on the device to y: coded there, multiplied there.
TEST(DeviceLinears, TakeTheCodesThatDeviceCodersMake) {
    test::Gaussian random(16);
    const auto device = test::testedDevice();
    constexpr size_t kOutputs = 40, kWidth = 192, kTokens = 21;
    for (const Quantizer& quantizer : {integers(4, 64), integers(8), integers(4, 32, false), Quantizer(CodebookQuantizer{4, FloatType::Bf16}),
                                       Quantizer(MidRiseQuantizer{4, FloatType::Bf16})}) {
        const DeviceLinearShape shape{kOutputs, kWidth, quantizer, quantizer, 0, 0, true};
        ASSERT_EQ(DeviceLinear::unsupported(shape, *device), std::nullopt);
        const DeviceLinear linear(device, shape);
        const auto found = planInteger(quantizer, quantizer, kWidth, scalarProductKernels());
        const auto& plan = std::get<IntegerPlan>(found);
        EXPECT_EQ(linear.weightSurrogate(), plan.w.surrogateError);
        const auto bias = random.floats(kOutputs);
        const Coded w = code(quantizer, plan.w, random.floats(kOutputs * kWidth), kWidth);
        std::vector<uint8_t> packed(linear.weightBytes());
        linear.pack({w.packed.data(), w.sides.data(), nullptr, nullptr, nullptr, bias.data()}, packed.data());
        const auto weights = device->upload(packed);
        const auto x = device->upload(random.floats(kTokens * kWidth));
        const DeviceCoder coder(device, quantizer, kWidth, nullptr);
        const auto codes = device->allocate<uint8_t>(kTokens * coder.rowBytes());
        const auto sides = device->allocate<float>(kTokens * coder.sides());
        coder.encode({x.data(), Element::F32, kTokens, kWidth}, codes.data(), sides.data());
        const auto scratch = device->allocate<uint8_t>(linear.scratchBytes(kTokens));
        const auto y = device->allocate<float>(kTokens * kOutputs);
        LinearRequest request{};
        request.weights = weights.data();
        request.rows = kTokens;
        request.x = codes.data();
        request.xSides = sides.data();
        request.y = y.data();
        request.yStride = kOutputs;
        request.scratch = scratch.data();
        request.scratchBytes = scratch.bytes();
        linear.run(request);
        Coded coded;
        coded.codes.resize(kTokens * kWidth);
        coded.sides = sides.read();
        const std::vector<uint8_t> rows = codes.read();
        for (size_t i = 0; i < kTokens; ++i) {
            unpackCodes(rows.data() + i * coder.rowBytes(), kWidth, plan.x.bits, coded.codes.data() + i * kWidth);
        }
        EXPECT_EQ(y.read(), expected(plan, coded, w, kTokens, kOutputs, bias));
    }
}

TEST(DeviceLinears, SayWhatTheyDoNotTake) {
    const auto device = test::testedDevice();
    const auto reason = [&](const Quantizer& weights, const Quantizer& activations) {
        return DeviceLinear::unsupported({8, 64, weights, activations}, *device).value_or("");
    };
    EXPECT_EQ(reason(FloatQuantizer{}, KeepQuantizer{}), "has weights in a small float format");
    EXPECT_EQ(reason(integers(4), TwinLogQuantizer{}), "has activations on a logarithmic scale");
    EXPECT_EQ(reason(integers(8), IntQuantizer{8, true, Granularity::Row, 0, FloatType::Fp16, {}, false, false, 0.25}), "has activations that are shifted");
    EXPECT_EQ(reason(IntQuantizer{8, true, Granularity::Tensor}, IntQuantizer{8, false, Granularity::Tensor}), "");
    EXPECT_EQ(reason(KeepQuantizer{}, integers(8)), "no product on the device: weights are floats, activations codes: decode them first");
    EXPECT_EQ(reason(integers(4, 32), KeepQuantizer{}), "");
    EXPECT_EQ(reason(KeepQuantizer{FloatType::Fp32}, KeepQuantizer{}), "");
}

TEST(LinearShapes, ThatMakeNoSenseAreRefusedWithAReason) {
    const auto& api = test::testedDevice()->api();
    const auto expectRefusal = [&](const LinearShape& shape, const std::string& part) {
        EXPECT_EQ(api.linear->check(&shape), Status::Argument);
        EXPECT_NE(std::string(api.message()).find(part), std::string::npos) << api.message();
    };
    LinearShape shape{};
    shape.outputs = 8;
    shape.width = 64;
    shape.weights = {Code::Symmetric, 4, 48, nullptr, nullptr, 0};
    shape.activations = {Code::Symmetric, 4, 64, nullptr, nullptr, 0};
    expectRefusal(shape, "48 weights does not divide 64");
    shape.weights = {Code::Symmetric, 9, 64, nullptr, nullptr, 0};
    expectRefusal(shape, "weights have 9 bits");
    shape.weights = {};
    expectRefusal(shape, "weights are floats, activations codes");
    shape.weights = {Code::Codebook, 4, 0, nullptr, nullptr, 1};
    expectRefusal(shape, "codebook of the weights has no integers");
    shape.weights = {Code::Asymmetric, 8, 1 << 15, nullptr, nullptr, 0};
    shape.activations = {Code::Asymmetric, 8, 1 << 15, nullptr, nullptr, 0};
    shape.width = 1 << 15;
    expectRefusal(shape, "exceed 32 bits");
    shape = {};
    shape.tail = 4;
    expectRefusal(shape, "neither tail nor low-rank branch");
    shape.tail = 0;
    shape.outputs = shape.width = 4;
    LinearRequest request{};
    shape.element = Element::BF16;
    request.rows = 1;
    EXPECT_EQ(api.linear->run(test::testedDevice()->context(), &shape, &request), Status::Argument);
    EXPECT_NE(std::string(api.message()).find("bytes of scratch memory, there are 0"), std::string::npos) << api.message();
}

}  // namespace
}  // namespace quantscope::cuda
