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
#include <vector>

#include "base/rounding.h"
#include "cpu/kernels.h"

namespace quantscope {

enum class Granularity { Row, Tensor, Group };

/// Integer round to nearest, see integer.h.
struct IntQuantizer {
    int bits = 4;  ///< 2..8 symmetric, 1..8 asymmetric or shifted
    bool symmetric = true;
    Granularity granularity = Granularity::Row;
    uint64_t group = 0;  ///< consecutive inputs that share a scale, when granularity is Group
    FloatType scale = FloatType::Fp16;
    std::optional<double> clip{};   ///< share of the range that is kept, in (0, 1]; absent: all of it
    bool clipSearch = false;        ///< the share with the least error, group by group
    bool staticRange = false;       ///< activations: the range comes from calibration; Granularity::Tensor
    std::optional<double> shift{};  ///< activations: added before, taken off after; codes are unsigned
    bool operator==(const IntQuantizer&) const = default;
};

/// Lloyd-Max codebook of the sphere marginal with one norm per row, see codebook.h.
struct CodebookQuantizer {
    int bits = 4;  ///< 1..8
    FloatType norm = FloatType::Bf16;
    bool operator==(const CodebookQuantizer&) const = default;
};

/// Equal steps without a level at zero, one norm per row, see midrise.h.
struct MidRiseQuantizer {
    int bits = 4;  ///< 1..8
    FloatType norm = FloatType::Bf16;
    bool operator==(const MidRiseQuantizer&) const = default;
};

/// Uniform in log2, the signs apart, see twin_log.h.
struct TwinLogQuantizer {
    int bits = 4;  ///< 2..8, as released 2..7
    bool released = false;
    bool operator==(const TwinLogQuantizer&) const = default;
};

/// Small floats with a scale per group, see small_float.h.
enum class FloatFormat { Fp4, Nvfp4, Mxfp4, Fp8, Mxfp8 };
struct FloatQuantizer {
    FloatFormat format = FloatFormat::Nvfp4;
    Granularity granularity = Granularity::Group;
    uint64_t group = 16;
    bool operator==(const FloatQuantizer&) const = default;
};

/// No quantization: values are stored as this type, or as they are.
struct KeepQuantizer {
    std::optional<FloatType> type;
    bool operator==(const KeepQuantizer&) const = default;
};

using Quantizer = std::variant<IntQuantizer, CodebookQuantizer, MidRiseQuantizer, TwinLogQuantizer, FloatQuantizer, KeepQuantizer>;

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

/// What a quantizer has to know of a whole tensor before it can code a row of it, in the tensor's own units. Filled by observe().
struct TensorRange {
    double lowest = 0;
    double highest = 0;
    std::vector<double> errors{};  ///< twin-log as released: squared error of every candidate

    double largest() const { return std::max(-lowest, highest); }
    void merge(const TensorRange& other);
};

/// True for quantizers with a number for the whole tensor: a scale, or parameters searched over all rows.
bool needsTensorRange(const Quantizer& quantizer);

/// Adds a row of finite values, which stand multiplied by 2^-exponent.
void observe(const Quantizer& quantizer, const float* row, size_t width, int exponent, const Kernels& kernels, TensorRange& range);

/// Throws Error(Argument) when the numbers are out of range or the group does not divide the width. `name` is how messages call
/// the quantizer.
void validate(const Quantizer& quantizer, uint64_t width, const std::string& name = "weights");

/// `range` is used where needsTensorRange() says so.
std::unique_ptr<RowQuantizer> makeRowQuantizer(const Quantizer& quantizer, uint64_t width, const TensorRange& range);

}  // namespace quantscope
