#include "linear/activations.h"

#include <bit>
#include <limits>
#include <mutex>

#include "linear/gemm.h"
#include "quantizer/row_codec.h"

namespace quantscope {

void prepareActivations(const float* x, uint64_t rows, uint64_t width, const LinearRecipe& recipe, const Transforms& transforms,
                        const LowRankFactors* factors, float* target, float* branch, Workers& workers, std::vector<TileMemory>& memory,
                        const Kernels& kernels) {
    const uint64_t quantized = width - recipe.tail;
    const auto* keep = std::get_if<KeepQuantizer>(&recipe.activations);
    const bool findsRange = needsTensorRange(recipe.activations) && !recipe.activationRange;
    TensorRange range;
    if (recipe.activationRange) {
        range = {std::min(recipe.activationRange->low, 0.0), std::max(recipe.activationRange->high, 0.0), {}};
    }
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
            if (findsRange && kernels.maxMagnitude(row, quantized) < std::bit_cast<uint32_t>(std::numeric_limits<float>::infinity())) {
                TensorRange found;
                observe(recipe.activations, row, quantized, 0, kernels, found);
                const std::lock_guard lock(rangeLock);  // minimum and maximum: any order gives the same
                range.merge(found);
            }
        }
    });
    if (keep != nullptr) {
        return;
    }
    const RowCodec codec(recipe.activations, quantized, range, kernels);
    workers.rows(rows, width, [&](uint64_t begin, uint64_t end) {
        std::vector<uint8_t> codes(quantized);
        std::vector<float> sides(codec.sides());
        for (uint64_t i = begin; i < end; ++i) {
            codec.encode(target + i * width, codes.data(), sides.data());
            codec.decode(codes.data(), sides.data(), target + i * width);
        }
    });
}

}  // namespace quantscope
