#include "device/packing.h"

#include <algorithm>
#include <bit>

#include "graph/run.h"
#include "linear/weights.h"
#include "packed/codes.h"

namespace quantscope {

namespace {

/// Codes one by one to rows of packed bits.
std::vector<uint8_t> packRows(const CodedWeight& weight, uint64_t outputs) {
    const size_t width = weight.codec.width();
    const size_t bytes = packedBytes(width, weight.codec.bits());
    std::vector<uint8_t> packed(outputs * bytes);
    for (uint64_t i = 0; i < outputs; ++i) {
        packCodes(weight.codes.data() + i * width, width, weight.codec.bits(), packed.data() + i * bytes);
    }
    return packed;
}

std::vector<float> floatsOf(const std::vector<uint16_t>& bf16) {
    std::vector<float> values;
    for (const uint16_t bits : bf16) {
        values.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits) << 16));
    }
    return values;
}

/// Takes off the bias what the shift of the inputs adds: x' = x + shift gives W x = W x' - W shift. `read` gives a row of what is multiplied.
template <class Read>
void takeOffShift(const LayerWeights& layer, Workers& workers, Read read, std::vector<float>& bias) {
    if (layer.shift.empty()) {
        return;
    }
    bias.resize(layer.outputs);
    workers.rows(layer.outputs, layer.shift.size(), [&](uint64_t begin, uint64_t end) {
        std::vector<float> row(layer.shift.size());
        for (uint64_t i = begin; i < end; ++i) {
            read(i, row.data());
            double sum = 0;
            for (size_t k = 0; k < row.size(); ++k) {
                sum += static_cast<double>(layer.shift[k]) * row[k];
            }
            bias[i] = static_cast<float>(bias[i] - sum);
        }
    });
}

/// A row of coded weights as the product takes it: rounded to bfloat16 where that is what it multiplies, a codebook's integers where those are.
void readCoded(const CodedWeight& weight, const cuda::LinearShape& shape, uint64_t row, float* values) {
    const size_t width = weight.codec.width();
    const uint8_t* const codes = weight.codes.data() + row * width;
    const float* const sides = weight.sides.data() + row * weight.codec.sides();
    weight.codec.decode(codes, sides, values);
    if (shape.decoded != 0) {
        castRow(FloatType::Bf16, values, width);
    } else if (shape.weights.integers != nullptr) {
        for (size_t k = 0; k < width; ++k) {
            values[k] = static_cast<float>(shape.weights.integers[codes[k]]) * (shape.weights.unit * sides[0]);
        }
    }
}

}  // namespace

void packDown(const LayerWeights& layer, const DeviceLinear& branch, const DeviceBench& bench, std::byte* target) {
    const LowRankFactors factors = load(*layer.recipe->lowRank, layer.outputs, layer.inputs, layer.op.name, bench.kernels);
    branch.pack({nullptr, nullptr, factors.down.data(), nullptr, nullptr, nullptr}, target);
}

void packProduct(const LayerWeights& layer, const DeviceLinear& product, const DeviceBench& bench, std::byte* target) {
    const auto& [workers, memory, kernels] = bench;
    std::optional<LowRankFactors> factors;
    std::optional<Transforms> transforms;
    std::optional<WeightRows::Parts> parts;
    if (layer.recipe != nullptr) {
        if (layer.recipe->lowRank) {
            factors = load(*layer.recipe->lowRank, layer.outputs, layer.inputs, layer.op.name, kernels);
        }
        transforms.emplace(layer.recipe->transforms, layer.inputs, workers, kernels);
        parts.emplace(WeightRows::Parts{*layer.recipe, *transforms, factors ? &*factors : nullptr});
    }
    WeightCache none(0);
    const WeightRows rows(layer.op.name, layer.op.weight ? layer.op.weight->tensor.get() : nullptr, layer.outputs, layer.inputs, parts ? &*parts : nullptr, none,
                          workers, memory, kernels);
    std::vector<float> bias = layer.op.bias ? load(*layer.op.bias->tensor, kernels) : std::vector<float>();
    cuda::LinearWeights weights{};
    weights.up = factors ? factors->up.data() : nullptr;
    if (layer.coded) {
        const std::shared_ptr<const CodedWeight> coded = rows.codes(workers, memory);
        const std::vector<uint8_t> codes = packRows(*coded, layer.outputs);
        const std::vector<float> tail = floatsOf(coded->tail);
        weights.codes = codes.data();
        weights.sides = coded->sides.data();
        weights.tail = tail.data();
        takeOffShift(layer, workers, [&](uint64_t i, float* row) { readCoded(*coded, product.shape(), i, row); }, bias);
        weights.bias = bias.data();
        product.pack(weights, target);
        return;
    }
    const uint64_t width = product.shape().width;
    const uint64_t tailWidth = product.shape().tail;
    std::vector<float> values(layer.outputs * width);
    std::vector<float> tail(layer.outputs * tailWidth);
    const uint64_t each = std::clamp<uint64_t>((uint64_t{1} << 18) / layer.inputs, 1, 256);
    workers.tiles((layer.outputs + each - 1) / each, [&](size_t piece, unsigned worker) {
        const uint64_t first = piece * each;
        const uint64_t count = std::min(each, layer.outputs - first);
        float* const panel = memory[worker].panel.get<float>(count * layer.inputs);
        rows.read(first, count, panel, memory[worker]);
        for (uint64_t i = 0; i < count; ++i) {
            std::copy_n(panel + i * layer.inputs, width, values.data() + (first + i) * width);
            std::copy_n(panel + i * layer.inputs + width, tailWidth, tail.data() + (first + i) * tailWidth);
        }
    });
    const auto read = [&](uint64_t i, float* row) {
        std::copy_n(values.data() + i * width, width, row);
        castRow(FloatType::Bf16, row, width);
    };
    takeOffShift(layer, workers, read, bias);
    weights.bias = bias.data();
    weights.values = values.data();
    weights.tail = tail.data();
    product.pack(weights, target);
}

}  // namespace quantscope
