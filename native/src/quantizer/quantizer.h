// How weights are stored, as data, and what that costs one row. protocol.ts has the same types for the other processes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "base/rounding.h"
#include "cpu/kernels.h"

namespace quantscope {

enum class Granularity { Row, Tensor, Group };

/// Integer round to nearest, see integer.h.
struct IntQuantizer {
    int bits = 4;  ///< 2..8 symmetric, 1..8 asymmetric
    bool symmetric = true;
    Granularity granularity = Granularity::Row;
    uint64_t group = 0;  ///< consecutive inputs that share a scale, when granularity is Group
    FloatType scale = FloatType::Fp16;
    bool operator==(const IntQuantizer&) const = default;
};

/// Lloyd-Max codebook of the sphere marginal with one norm per row, see codebook.h.
struct CodebookQuantizer {
    int bits = 4;  ///< 1..8
    FloatType norm = FloatType::Bf16;
    bool operator==(const CodebookQuantizer&) const = default;
};

/// No quantization: values are stored as this type, or as they are.
struct KeepQuantizer {
    std::optional<FloatType> type;
    bool operator==(const KeepQuantizer&) const = default;
};

using Quantizer = std::variant<IntQuantizer, CodebookQuantizer, KeepQuantizer>;

/// One row in the coordinates it is quantized in (rotated or not).
struct Row {
    const float* values;  ///< multiplied by 2^-exponent, so that squares neither overflow nor vanish
    size_t width;
    double norm;  ///< of `values`, > 0
    int exponent;
    const double* exact = nullptr;  ///< the unscaled values before they became float32: F64 tensors, not rotated
};

/// The exponent for a row, or a tensor, whose largest magnitude is this: 0 unless float squares would leave their range.
inline int exponentFor(float largest) {
    return largest > 0x1p-40f && largest < 0x1p40f ? 0 : std::clamp(std::ilogb(largest), -126, 126);
}

/// Computes the squared error of rows of one width. Immutable and thread-safe.
class RowQuantizer {
public:
    virtual ~RowQuantizer() = default;
    /// Sum of (w - quantized w)^2 over the row, in the units of row.values.
    virtual double squaredError(const Row& row, const Kernels& kernels) const = 0;
};

/// Smallest and largest value of a whole tensor, times 2^-exponent like the rows it is used on.
struct TensorRange {
    double lowest = 0;
    double highest = 0;
};

/// Throws Error(Argument) when the numbers are out of range or the group does not divide the width. `range` is used with
/// Granularity::Tensor only. `name` is how messages call the quantizer.
void validate(const Quantizer& quantizer, uint64_t width, const std::string& name = "weights");
std::unique_ptr<RowQuantizer> makeRowQuantizer(const Quantizer& quantizer, uint64_t width, const TensorRange& range);

}  // namespace quantscope
