// Twin-log quantization of weights (LRQ-DiT, arXiv 2508.03485, Eq 3-7): uniform in L = log2(|w| + offset), with a range of its own
// for positive and for negative weights. A code is a sign and a level i; its value is +-max(2^(start + i step) - offset, 0).
//
// Corrected: 2^(b-1) levels for either sign over [lo, hi], step (hi - lo) / (2^(b-1) - 1). Per row, lo is a quantile 0 .. 0.3 of that
// sign's L, hi one of 1 .. 0.95, and the offset 20 rms times 0 .. 0.5: those with the least squared error. Zeros take the smallest
// positive level.
//
// As released (the authors' program, StaticQuantizer): the entries of the other sign stand in L as 0 and take part in minimum and
// quantile; step = (hi - min) / 2^(b-1), start = step rtn(min / step); negative weights have one level more and zeros a code of
// their own, so that a code takes b + 1 bits; offset and quantiles are those with the least squared error over the whole tensor.
//
// start, step and offset are rounded to FP16 before they are used. Quantiles are order statistics (index rtn(q (n - 1))).
#pragma once

#include <memory>

#include "quantizer/coder.h"
#include "quantizer/quantizer.h"

namespace quantscope {

/// Throws Error(Argument) for bits outside of 2..8, or 2..7 as released (whose 2^b + 2 codes need one bit more).
void validateTwinLog(const TwinLogQuantizer& quantizer, const std::string& name);

/// Sides of a row: start and step of the positive levels, of the negative ones, and the offset. Codes: corrected, the levels from
/// the most negative to the most positive; as released, 0 for zero, then positive, then negative levels, each from the smallest.
std::shared_ptr<const Coder> makeTwinLogCoder(const TwinLogQuantizer& quantizer, uint64_t width, const TensorRange& range);

/// As released: adds the squared error of every candidate on a row of finite values to range.errors.
void observeTwinLog(const TwinLogQuantizer& quantizer, const float* row, size_t width, TensorRange& range);

}  // namespace quantscope
