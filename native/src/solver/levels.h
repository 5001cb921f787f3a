// Every value that a coded row can take, found by decoding every code: solvers work with any quantizer that RowCodec knows.
#pragma once

#include <cstdint>
#include <vector>

#include "quantizer/row_codec.h"

namespace quantscope {

/// Levels of one row, for its side numbers. Reusable; not thread-safe.
class RowLevels {
public:
    struct Choice {
        uint8_t code;
        float value;
    };

    explicit RowLevels(const RowCodec& codec);
    /// Memory of one.
    static size_t bytes(const RowCodec& codec) { return (codec.width() / codec.group() << codec.bits()) * sizeof(Choice); }

    /// Finds the levels that these sides give.
    void set(const float* sides);

    /// The level nearest to the value at this place of the row; the larger one of two that are equally near.
    Choice nearest(size_t column, double value) const;

private:
    const RowCodec& codec_;
    size_t levels_;                 ///< per group, of which the last few may be missing (codes that decode to no number)
    std::vector<size_t> sizes_;     ///< levels there are, by group
    std::vector<Choice> choices_;   ///< [groups, levels_] ascending by value
    std::vector<uint8_t> codes_;
    std::vector<float> decoded_;
};

}  // namespace quantscope
