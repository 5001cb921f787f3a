#include "linear/recipe.h"

#include <cmath>

#include "base/error.h"

namespace quantscope {

namespace {

bool isMatrix(const TensorRef& ref) {
    return ref.shape.size() == 2 && (ref.dtype == Dtype::BF16 || ref.dtype == Dtype::F32);
}

void validateLowRank(const LowRank& lowRank, uint64_t inputs, const std::string& name) {
    const TensorRef& down = lowRank.down;
    const TensorRef& up = lowRank.up;
    if (!isMatrix(down) || down.shape[0] < 1 || down.shape[1] != inputs) {
        failArgument(name + ".down: expected BF16 or F32 [rank, " + std::to_string(inputs) + "]");
    }
    if (!isMatrix(up) || up.shape[1] != down.shape[0]) {
        failArgument(name + ".up: expected BF16 or F32 [outputs, " + std::to_string(down.shape[0]) + "], as many columns as `down` has rows");
    }
}

}  // namespace

void validate(const LinearRecipe& recipe, uint64_t inputs, const std::string& name) {
    validate(recipe.transforms, inputs, name + ".transforms");
    if (recipe.tail >= inputs) {
        failArgument(name + ".tail: " + std::to_string(recipe.tail) + " of " + std::to_string(inputs) +
                     " inputs leave nothing to quantize. Take a smaller tail");
    }
    if (recipe.lowRank) {
        validateLowRank(*recipe.lowRank, inputs, name + ".lowRank");
    }
    validate(recipe.weights, inputs - recipe.tail, name + ".weights");
    validate(recipe.activations, inputs - recipe.tail, name + ".activations");
    const auto* integer = std::get_if<IntQuantizer>(&recipe.activations);
    if (integer != nullptr && integer->staticRange && !recipe.activationRange) {
        failArgument(name + ".activationRange: a static range comes from calibration, and none is given. Capture activations first");
    }
    if (std::holds_alternative<TwinLogQuantizer>(recipe.activations)) {
        failArgument(name + ".activations: twin-log ranges are fitted to weights; take integers or a codebook for activations");
    }
    if (recipe.activationRange) {
        if (integer == nullptr || integer->granularity != Granularity::Tensor) {
            failArgument(name + ".activationRange: only integers with one scale per tensor have a range of their own");
        }
        if (integer->shift) {
            failArgument(name + ".activations.shift: a static range has its own ends and needs no shift; take asymmetric integers");
        }
        const auto [low, high] = *recipe.activationRange;
        if (!(std::isfinite(low) && std::isfinite(high) && low <= high)) {
            failArgument(name + ".activationRange: expected two finite numbers, low first");
        }
    }
    if (recipe.packed && std::holds_alternative<KeepQuantizer>(recipe.weights)) {
        failArgument(name + ".packed: weights that are kept have no codes");
    }
    if (recipe.packed && recipe.packed->tail.has_value() != (recipe.tail > 0)) {
        failArgument(name + ".packed.tail: expected " + (recipe.tail > 0 ? "the tail's weights" : "null, because there is no tail"));
    }
}

}  // namespace quantscope
