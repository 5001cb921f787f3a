// The inputs of a linear as its recipe leaves them: transformed, quantized, and back in float32 or as integers.
#pragma once

#include <optional>
#include <vector>

#include "base/workers.h"
#include "cpu/kernels.h"
#include "integer/operands.h"
#include "linear/low_rank.h"
#include "linear/recipe.h"

namespace quantscope {

/// The range that calibration found, which holds 0; none where the recipe brings none.
std::optional<TensorRange> calibratedRange(const LinearRecipe& recipe);

/// A shift of the inputs behind the transforms, [width]: transforms are linear. Empty without a shift. Takes `scratch` for the time of the call.
std::vector<float> shiftBehind(const Quantizer& quantizer, const Transforms& transforms, uint64_t width, Scratch& scratch);

/// The same codes for values that are shifted already.
Quantizer withoutShift(const Quantizer& quantizer);

/// Fills target [rows, width] from x [rows, width], which it must not overlap, and with factors also branch [rows, rank]: what is transformed
/// but not quantized yet times downᵀ. `factors` may be null. A shift is added to x itself: behind the transforms T it is T · shift, which is taken off
/// what was quantized again. With `integers` the quantized values go there, and only the tail of `target` holds what the layer multiplies.
void prepareActivations(const float* x, uint64_t rows, uint64_t width, const LinearRecipe& recipe, const Transforms& transforms,
                        const LowRankFactors* factors, float* target, float* branch, IntegerInputs* integers, Workers& workers,
                        std::vector<TileMemory>& memory, const Kernels& kernels);

}  // namespace quantscope
