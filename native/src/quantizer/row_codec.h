// Rows to codes and back: the one encoding of every quantizer, by which layers compute, reports measure and solvers search.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "quantizer/coder.h"
#include "quantizer/quantizer.h"

namespace quantscope {

/// For every quantizer but KeepQuantizer. Immutable, thread-safe, cheap to copy.
class RowCodec {
public:
    /// `range` is that of the whole tensor; used where needsTensorRange() says so. validate() has passed.
    RowCodec(const Quantizer& quantizer, uint64_t width, const TensorRange& range, const Kernels& kernels);

    /// Numbers beside the codes of a row: a norm, or a few numbers for every group.
    size_t sides() const { return coder_->layout.sides; }
    size_t width() const { return coder_->layout.width; }
    /// Consecutive values that decode by the same numbers: the groups share sides() equally.
    size_t group() const { return coder_->layout.group; }
    /// Of one code. Codes that no value has decode to NaN.
    int bits() const { return coder_->layout.bits; }

    /// `width` codes and sides() numbers of one row. A row that holds a NaN or an infinity gets NaN for its sides: it has no
    /// code, and what is computed with it must show.
    void encode(const float* row, uint8_t* codes, float* sides) const;
    void decode(const uint8_t* codes, const float* sides, float* row) const { coder_->decode(codes, sides, row); }

private:
    const Kernels* kernels_;
    std::shared_ptr<const Coder> coder_;
};

/// Rounds every value to the type, ties to even, saturating. NaN stays NaN, infinities become the largest finite value.
void castRow(FloatType type, float* row, size_t width);

}  // namespace quantscope
