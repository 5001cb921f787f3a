// How the rows of one quantizer become codes, and values again. row_codec.h is the way in.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpu/kernels.h"
#include "quantizer/quantizer.h"

namespace quantscope {

/// Shape of a coded row.
struct CodeLayout {
    size_t width = 0;
    size_t group = 0;  ///< consecutive values that decode by the same numbers
    size_t sides = 0;  ///< numbers beside the codes of a row; the groups share them equally, in order
    int bits = 0;      ///< of one code
};

/// Immutable and thread-safe.
class Coder {
public:
    explicit Coder(const CodeLayout& layout) : layout(layout) {}
    virtual ~Coder() = default;

    /// `largest` is max |row|, finite and above 0.
    virtual void encode(const float* row, float largest, uint8_t* codes, float* sides) const = 0;
    virtual void decode(const uint8_t* codes, const float* sides, float* row) const = 0;

    /// Codes and sides of a row of zeros, which decode to zeros.
    virtual void encodeZeros(uint8_t* codes, float* sides) const {
        std::fill_n(codes, layout.width, uint8_t{0});
        std::fill_n(sides, layout.sides, 0.0f);
    }

    const CodeLayout layout;
};

/// A row times 2^-exponent, so that squares of its values neither overflow nor vanish; the row itself where the exponent is 0.
class ScaledRow {
public:
    ScaledRow(const float* row, size_t width, int exponent, const Kernels& kernels) : values_(row) {
        if (exponent != 0) {
            copy_.assign(row, row + width);
            kernels.multiply(copy_.data(), width, std::ldexp(1.0f, -exponent));
            values_ = copy_.data();
        }
    }
    ScaledRow(const ScaledRow&) = delete;
    ScaledRow& operator=(const ScaledRow&) = delete;
    const float* values() const { return values_; }

private:
    const float* values_;
    std::vector<float> copy_;
};

inline size_t groupWidth(Granularity granularity, uint64_t group, uint64_t width) {
    return granularity == Granularity::Group ? group : width;
}

}  // namespace quantscope
