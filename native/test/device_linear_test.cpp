// Linears of the CUDA backend on codes against their twins in integer/, bit for bit up to the rounding of groups, and what they refuse.
#include <limits>

#include "device/coder.h"
#include "device/linear.h"
#include "device/self_test/definitions.h"
#include "device_linear_support.h"
#include "integer/operands.h"

namespace quantscope::cuda {
namespace {

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
    {"W8A8OverSeveralTiles", integers(8), integers(8), 257, 260, 200, true},
    {"W8A8OverManySteps", integers(8), integers(8), 5, 20, 1424, true},
    {"CodebookOverManySteps", kBook4, kBook4, 5, 20, 1424, true},
    {"CodebookInWideTiles", kBook4, kBook4, 200, 400, 160, true},
    {"W4A8OverSeveralTiles", integers(4), integers(8), 300, 400, 96, false},
    {"W4A4InGroupsOverSeveralTiles", integers(4, 128), integers(4, 128), 130, 300, 640, true},
    {"W4A4InLongGroups", integers(4, 384), integers(4, 768), 5, 150, 768, true},
    {"W8A8InLongGroups", integers(8, 896), integers(8, 1792), 3, 20, 1792, true},
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
    request.yElement = Element::BF16;
    for (const size_t stride : {c.outputs + 3, (c.outputs + 7) / 8 * 8}) {  // value by value, and in pieces of 16 bytes
        EXPECT_EQ(run(shape, weights, request, stride), throughBF16(wanted));
    }
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
        const std::vector<float> known = expected(plan, coded, w, kTokens, kOutputs, bias);
        EXPECT_EQ(y.read(), known);
        const auto form = linear.activationBytes();
        EXPECT_TRUE(!form || plan.x.bits == 4);
        request.xBytes = 1;
        if (form) {
            const auto bytes = device->upload(asBytes(rows, *form));
            request.x = bytes.data();
            linear.run(request);
            EXPECT_EQ(y.read(), known) << "from bytes";
        } else {
            test::expectError(ErrorCode::Argument, "which this product does not take", [&] { linear.run(request); });
        }
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
