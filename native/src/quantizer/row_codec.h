// Rows to codes and back, by the formulas that measure() takes the error of (codebook.h, integer.h): what a layer computes with
// is what its report describes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "quantizer/codebook.h"
#include "quantizer/quantizer.h"

namespace quantscope {

/// For IntQuantizer and CodebookQuantizer. Immutable and thread-safe.
class RowCodec {
public:
    /// `range` is that of the whole tensor, in its own units; used with Granularity::Tensor only. validate() has passed.
    RowCodec(const Quantizer& quantizer, uint64_t width, const TensorRange& range, const Kernels& kernels);

    /// Numbers beside the codes of a row: the norm, or scale and lowest step of every group.
    size_t sides() const { return sides_; }
    size_t width() const { return width_; }
    /// Consecutive values that decode by the same numbers: the groups share sides() equally.
    size_t group() const { return group_; }
    int bits() const { return bits_; }

    /// `width` codes and sides() numbers of one row. A row that holds a NaN or an infinity gets NaN for its sides: it has no
    /// code, and what is computed with it must show.
    void encode(const float* row, uint8_t* codes, float* sides) const;
    void decode(const uint8_t* codes, const float* sides, float* row) const;

private:
    void encodeCodebook(const float* row, int exponent, uint8_t* codes, float* sides) const;
    void encodeInteger(const float* row, int exponent, uint8_t* codes, float* sides) const;

    const Kernels& kernels_;
    size_t width_;
    size_t group_;
    int bits_;
    size_t sides_;
    // Codebook
    FloatType norm_ = FloatType::Fp32;
    std::shared_ptr<const Codebook> codebook_;
    std::vector<float> levels_;     ///< all, ascending, in standard deviations
    std::vector<uint8_t> starts_;   ///< by cell of LevelTable::candidates: index of the lower candidate
    // Integer
    std::optional<IntQuantizer> integer_;
    std::optional<int> sharedExponent_;  ///< Granularity::Tensor
    TensorRange range_;                  ///< times 2^-sharedExponent_
};

/// Rounds every value to the type, ties to even, saturating. NaN stays NaN, infinities become the largest finite value.
void castRow(FloatType type, float* row, size_t width);

}  // namespace quantscope
