// Small floats with a scale per group: FP4 (E2M1: 0, .5, 1, 1.5, 2, 3, 4, 6) and FP8 (E4M3: up to 448), signed.
//
// value = element * scale. Elements are rounded to nearest, ties to even, and saturate. Codes are the bit patterns of the elements.
// fp4, fp8: scale = max|w| / (6 or 448), rounded to FP16; groups of any size, rows, or the whole tensor.
// nvfp4: groups of 16, scale = s t with t = max|W| / (6 * 448) of the whole tensor in float32 and s = max|w| / (6 t) rounded to E4M3.
// mxfp4, mxfp8: groups of 32, scale = 2^(floor(log2 max|w|) - 2 or 8) within 2^-127..2^127 (OCP Microscaling Formats 1.0, 6.3).
#pragma once

#include <memory>

#include "quantizer/coder.h"
#include "quantizer/quantizer.h"

namespace quantscope {

/// Throws Error(Argument) when the group is not the format's own, or does not divide the width.
void validateFloat(const FloatQuantizer& quantizer, uint64_t width, const std::string& name);

/// Of the element type, in bits.
int elementBits(FloatFormat format);

/// The finite non-negative elements, ascending.
std::vector<float> elementValues(FloatFormat format);

/// The number t of nvfp4 for a tensor whose largest magnitude is this.
float nvfp4TensorScale(double largest);

/// Sides of a group: its scale (for nvfp4 the product s t in float32).
std::shared_ptr<const Coder> makeFloatCoder(const FloatQuantizer& quantizer, uint64_t width, const TensorRange& range, const Kernels& kernels);

}  // namespace quantscope
