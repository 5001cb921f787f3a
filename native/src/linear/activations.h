// The inputs of a linear as its recipe leaves them: rotated, quantized, and back in float32.
#pragma once

#include "base/workers.h"
#include "cpu/kernels.h"
#include "linear/recipe.h"

namespace quantscope {

/// Fills target [rows, width] from x [rows, width], which it must not overlap.
void prepareActivations(const float* x, uint64_t rows, uint64_t width, const LinearRecipe& recipe, float* target,
                        Workers& workers, const Kernels& kernels);

}  // namespace quantscope
