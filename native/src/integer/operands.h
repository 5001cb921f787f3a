// Weights and activations in the order in which the integer products read them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/aligned.h"
#include "integer/plan.h"

namespace quantscope {

/// Weights as panels of 16 outputs, four or eight bits each, with their scales. Immutable and thread-safe once filled.
class IntegerWeight {
public:
    /// codes [outputs, width] and sides [outputs, sides of a row] as RowCodec gives them for the plan's weights.
    IntegerWeight(const IntegerPlan& plan, size_t outputs, const uint8_t* codes, const float* sides);

    size_t outputs() const { return outputs_; }
    size_t panels() const { return (outputs_ + kPanelColumns - 1) / kPanelColumns; }
    /// Of codes, scales and zero points, with padding.
    size_t bytes() const;
    /// Bytes that expand() writes.
    size_t expandedBytes() const;
    /// The panel as ProductTile wants it. `target` is aligned to 64 bytes.
    void expand(size_t panel, const ProductKernels& kernels, void* target) const;
    const float* scales(size_t panel) const { return scales_.data() + panel * plan_.groups * kPanelColumns; }
    const int32_t* lowest(size_t panel) const { return lowest_.data() + panel * plan_.groups * kPanelColumns; }
    const IntegerPlan& plan() const { return plan_; }

private:
    size_t panelBytes() const;

    IntegerPlan plan_;
    size_t outputs_;
    AlignedArray<uint8_t> codes_;
    std::vector<float> scales_;     ///< [panel][group][16]
    std::vector<int32_t> lowest_;   ///< [panel][group][16]
};

/// Rows of x as integers, in tiles. Tiles may be filled by several threads.
class IntegerInputs {
public:
    /// kernels.rows is the height of a tile.
    IntegerInputs(const IntegerPlan& plan, size_t rows, const ProductKernels& kernels);

    size_t rows() const { return rows_; }
    size_t tiles() const { return (rows_ + height_ - 1) / height_; }
    size_t firstRow(size_t tile) const { return tile * height_; }
    size_t rowsOf(size_t tile) const { return std::min(height_, rows_ - tile * height_); }
    /// codes [rowsOf(tile), width] and sides [rowsOf(tile), sides of a row] as RowCodec gives them for the plan's activations.
    void fill(size_t tile, const uint8_t* codes, const float* sides);
    /// x, xScales and xSums of a tile.
    void set(size_t tile, ProductTile& to) const;

private:
    size_t rowBytes() const;

    IntegerPlan plan_;
    size_t rows_;
    size_t height_;
    AlignedArray<uint8_t> values_;
    std::vector<float> scales_;   ///< by tile, [group][rows of the tile]
    std::vector<int32_t> sums_;
    struct Extra {
        std::vector<ExtraStep> steps;
        std::vector<uint32_t> ends;
    };
    std::vector<Extra> extra_;    ///< by tile, where the plan splits
};

/// Scratch of multiplyIntegers, for one thread.
struct IntegerScratch {
    AlignedArray<uint8_t> panels;
    size_t bytes = 0;
};

/// Tiles of x, or panels of weights, from `first` up to `last` without it.
struct Span {
    size_t first;
    size_t last;
};

/// y += x Wᵀ for some tiles of x and panels of W; y stands at the first of those rows and columns. The sum of a row and a column does not depend on
/// what else is computed. Thread-safe with a scratch of its own for each thread.
void multiplyIntegers(const IntegerInputs& x, Span tiles, const IntegerWeight& w, Span panels, float* y, size_t yStride, const ProductKernels& kernels,
                      IntegerScratch& scratch);

}  // namespace quantscope
