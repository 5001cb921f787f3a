// Linears of the CUDA backend that multiply floats, or codes as what they stand for, against plain sums.
#include <utility>

#include "device/linear.h"
#include "device_linear_support.h"

namespace quantscope::cuda {
namespace {

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

}  // namespace
}  // namespace quantscope::cuda
