#include "linear/activations.h"

#include <bit>
#include <cstring>
#include <limits>
#include <mutex>

#include "quantizer/row_codec.h"
#include "rotation/rpbh.h"

namespace quantscope {

void prepareActivations(const float* x, uint64_t rows, uint64_t width, const LinearRecipe& recipe, float* target,
                        Workers& workers, const Kernels& kernels) {
    const auto rotation = recipe.rotationSeed ? rotationFor(width, *recipe.rotationSeed) : nullptr;
    const auto* keep = std::get_if<KeepQuantizer>(&recipe.activations);
    const auto* integer = std::get_if<IntQuantizer>(&recipe.activations);
    const bool wholeTensor = integer != nullptr && integer->granularity == Granularity::Tensor;
    TensorRange range;
    std::mutex rangeLock;
    workers.rows(rows, width, [&](uint64_t begin, uint64_t end) {
        for (uint64_t i = begin; i < end; ++i) {
            float* row = target + i * width;
            if (rotation != nullptr) {
                rotation->apply(x + i * width, row, kernels);
            } else {
                std::memcpy(row, x + i * width, width * sizeof(float));
            }
            if (keep != nullptr && keep->type) {
                castRow(*keep->type, row, width);
            }
            if (wholeTensor &&
                kernels.maxMagnitude(row, width) < std::bit_cast<uint32_t>(std::numeric_limits<float>::infinity())) {
                const Range found = kernels.range(row, width);
                const std::lock_guard lock(rangeLock);  // minimum and maximum: any order gives the same
                range = {std::min<double>(range.lowest, found.lowest), std::max<double>(range.highest, found.highest)};
            }
        }
    });
    if (keep != nullptr) {
        return;
    }
    const RowCodec codec(recipe.activations, width, range, kernels);
    workers.rows(rows, width, [&](uint64_t begin, uint64_t end) {
        std::vector<uint8_t> codes(width);
        std::vector<float> sides(codec.sides());
        for (uint64_t i = begin; i < end; ++i) {
            codec.encode(target + i * width, codes.data(), sides.data());
            codec.decode(codes.data(), sides.data(), target + i * width);
        }
    });
}

}  // namespace quantscope
