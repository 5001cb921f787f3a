#include "linear/activations.h"

#include <bit>
#include <limits>
#include <mutex>

#include "linear/gemm.h"
#include "quantizer/row_codec.h"

namespace quantscope {

std::optional<TensorRange> calibratedRange(const LinearRecipe& recipe) {
    if (!recipe.activationRange) {
        return std::nullopt;
    }
    return TensorRange{std::min(recipe.activationRange->low, 0.0), std::max(recipe.activationRange->high, 0.0), {}};
}

std::vector<float> shiftBehind(const Quantizer& quantizer, const Transforms& transforms, uint64_t width, Scratch& scratch) {
    const auto* integer = std::get_if<IntQuantizer>(&quantizer);
    if (integer == nullptr || !integer->shift) {
        return {};
    }
    const std::vector<float> inputs(width, static_cast<float>(*integer->shift));
    std::vector<float> shift(width);
    transforms.apply(Transforms::Side::Inputs, inputs.data(), 1, shift.data(), scratch);
    return shift;
}

Quantizer withoutShift(const Quantizer& quantizer) {
    Quantizer result = quantizer;
    if (auto* const integer = std::get_if<IntQuantizer>(&result); integer != nullptr && integer->shift) {
        integer->shift = 0.0;
    }
    return result;
}

void prepareActivations(const float* x, uint64_t rows, uint64_t width, const LinearRecipe& recipe, const Transforms& transforms,
                        const LowRankFactors* factors, float* target, float* branch, IntegerInputs* integers, Workers& workers,
                        std::vector<TileMemory>& memory, const Kernels& kernels) {
    const uint64_t quantized = width - recipe.tail;
    const auto* keep = std::get_if<KeepQuantizer>(&recipe.activations);
    const std::optional<TensorRange> known = calibratedRange(recipe);
    const bool findsRange = needsTensorRange(recipe.activations) && !known;
    TensorRange range = known.value_or(TensorRange{});
    const std::vector<float> shift = shiftBehind(recipe.activations, transforms, width, memory[0].spare);
    const Quantizer quantizer = withoutShift(recipe.activations);
    std::mutex rangeLock;
    const uint64_t each = transforms.rowsAtOnce();
    workers.tiles((rows + each - 1) / each, [&](size_t piece, unsigned worker) {
        const uint64_t begin = piece * each;
        const uint64_t end = std::min(rows, begin + each);
        transforms.apply(Transforms::Side::Inputs, x + begin * width, end - begin, target + begin * width, memory[worker].spare);
        if (factors != nullptr) {
            multiplyTransposed(end - begin, factors->rank, width, 1.0f, target + begin * width, width, factors->down.data(), width, 0.0f,
                               branch + begin * factors->rank, factors->rank);
        }
        for (uint64_t i = begin; i < end; ++i) {
            float* row = target + i * width;
            if (keep != nullptr && keep->type) {
                castRow(*keep->type, row, quantized);
            }
            for (uint64_t j = 0, n = shift.empty() ? 0 : quantized; j < n; ++j) {
                row[j] += shift[j];
            }
            if (findsRange && kernels.maxMagnitude(row, quantized) < std::bit_cast<uint32_t>(std::numeric_limits<float>::infinity())) {
                TensorRange found;
                observe(quantizer, row, quantized, 0, kernels, found);
                const std::lock_guard lock(rangeLock);  // minimum and maximum: any order gives the same
                range.merge(found);
            }
        }
    });
    if (keep != nullptr) {
        return;
    }
    const RowCodec codec(quantizer, quantized, range, kernels);
    if (integers != nullptr) {
        workers.tiles(integers->tiles(), [&](size_t tile, unsigned) {
            const size_t count = integers->rowsOf(tile);
            std::vector<uint8_t> codes(count * quantized);
            std::vector<float> sides(count * codec.sides());
            for (size_t i = 0; i < count; ++i) {
                codec.encode(target + (integers->firstRow(tile) + i) * width, codes.data() + i * quantized, sides.data() + i * codec.sides());
            }
            integers->fill(tile, codes.data(), sides.data());
        });
        return;
    }
    workers.rows(rows, width, [&](uint64_t begin, uint64_t end) {
        std::vector<uint8_t> codes(quantized);
        std::vector<float> sides(codec.sides());
        for (uint64_t i = begin; i < end; ++i) {
            codec.encode(target + i * width, codes.data(), sides.data());
            float* const row = target + i * width;
            codec.decode(codes.data(), sides.data(), row);
            for (uint64_t j = 0, n = shift.empty() ? 0 : quantized; j < n; ++j) {
                row[j] -= shift[j];
            }
        }
    });
}

}  // namespace quantscope
