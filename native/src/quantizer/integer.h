// Integer round to nearest ("RTN").
//
// Symmetric: s = max|w| / (2^(b-1) - 1), q = clamp(rtn(w / s), -2^(b-1), 2^(b-1) - 1), value q s.
// Asymmetric: the range is first widened to hold 0, lo = min(w, 0), hi = max(w, 0), because the zero point must be one of the 2^b
// codes; s = (hi - lo) / (2^b - 1), z = clamp(rtn(-lo / s), 0, 2^b - 1), q = clamp(rtn(w / s) + z, 0, 2^b - 1), value (q - z) s.
// Shifted (SVDQuant's unsigned activations): s = max(w + shift, 0) / (2^b - 1), q = clamp(rtn((w + shift) / s), 0, 2^b - 1),
// value q s - shift.
// s is rounded to the type it is stored in before it is used; s = 0 stores zeros. rtn is round half to even.
//
// Clipping multiplies the range by a ratio before s is taken. The search (QuaRot, arXiv 2404.00456, and GPTQ's code before it)
// tries the ratios 1, 0.99, ..., 0.21 and takes the first with the least sum of |w - value|^2.4, group by group.
#pragma once

#include <memory>

#include "quantizer/coder.h"
#include "quantizer/quantizer.h"

namespace quantscope {

/// Throws Error(Argument) on bits or group sizes that cannot work.
void validateInteger(const IntQuantizer& quantizer, uint64_t width, const std::string& name);

/// The grid for values (w + shift where there is one) in [lowest, highest] times 2^-exponent. A returned scale of 0 means that
/// everything is stored as 0.
IntegerGrid integerGrid(const IntQuantizer& quantizer, double lowest, double highest, int exponent);

/// Sides of a group: scale and lowest step. Codes count steps from the lowest on.
std::shared_ptr<const Coder> makeIntegerCoder(const IntQuantizer& quantizer, uint64_t width, const TensorRange& range, const Kernels& kernels);

/// For quantizers without shift.
class IntegerRows final : public RowQuantizer {
public:
    IntegerRows(const IntQuantizer& quantizer, uint64_t width, const TensorRange& range);
    double squaredError(const Row& row, const Kernels& kernels) const override;

private:
    IntQuantizer quantizer_;
    size_t group_;
    TensorRange range_;
};

}  // namespace quantscope
