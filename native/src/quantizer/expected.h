// What a quantizer gives on the distribution it is designed for: the yardstick beside a measured error.
#pragma once

#include <cstdint>
#include <optional>

#include "quantizer/quantizer.h"

namespace quantscope {

/// Expected relative mean squared error, E[sum of squared errors] / E[sum of squares].
///
/// Codebook and mid-rise: the exact distortion on the sphere marginal of that width. Integers, fp4 and fp8: independent Gaussian
/// weights in groups of the granularity's size (a row of `width`, `rows` of them for the whole tensor), the scale taken from each
/// group's extremes; the distribution of the extremes is integrated by quadrature, the error between them in closed form. Rounding
/// of the scale is left out. Accurate to about 1e-3 in relative terms. No value: clipped or shifted integers, twin-log, nvfp4 and the
/// mx formats (whose scales are too coarse to leave their rounding out), kept weights, and a whole-tensor scale when `rows` is 0
/// (unknown). Cached. Throws Error(Argument) as validate() does.
std::optional<double> expectedDistortion(const Quantizer& quantizer, uint64_t width, uint64_t rows);

}  // namespace quantscope
