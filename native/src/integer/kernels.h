// Products of small integers, one table of function pointers per processor level. Sums of integers are exact and the float arithmetic has a stated
// order without fused operations, so every level gives the same bits; integer/scalar.cpp is the readable definition. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace quantscope {

/// Columns of a panel of weights.
inline constexpr size_t kPanelColumns = 16;

/// Inputs that stand together for one column of a panel or one row of x: four bytes, or two 16-bit words.
inline constexpr size_t kByteDepth = 4;
inline constexpr size_t kWordDepth = 2;

/// More of x for one row and step of a tile of bytes: two neighbours of x whose products with a panel might exceed 16 bits are split in two.
struct ExtraStep {
    uint32_t row;
    uint32_t step;  ///< among all groups' steps
    int8_t x[kByteDepth];
};

/// A tile of x times a panel of weights. Consecutive inputs form groups with scales of their own; each group has `steps` steps of kByteDepth or
/// kWordDepth inputs, the last filled up with zeros of x.
///
/// With t[i][j] = Σ x w over a group, plus lowest * xSum:  sum[i][j] = Σ over groups, in order, of float(t) * (xScale * scale), from 0 on;
/// y[i][j] += sum[i][j]. t must fit into 32 bits.
struct ProductTile {
    size_t rows;            ///< of x, 1..ProductKernels::rows
    size_t groups;
    size_t steps;           ///< of a group
    size_t run;             ///< bytes: so many steps' products of two neighbours add up within 16 bits, at least 1
    const void* x;          ///< int8 [groups][steps][rows][4] or int16 [groups][steps][rows][2]
    const void* panel;      ///< uint8 [groups][steps][16][4] or int16 [groups][steps][16][2]
    const float* xScales;   ///< [groups][rows]
    const int32_t* xSums;   ///< bytes: Σ x of a group, extra ones with it, [groups][rows]
    const ExtraStep* extra; ///< bytes: by groups; null where there are none
    const uint32_t* extraEnds;  ///< where each group's extra steps end, [groups]
    const float* scales;    ///< [groups][16]
    const int32_t* lowest;  ///< bytes: what is missing in the weights, [groups][16]
    float* y;               ///< [rows][16]
    size_t yStride;
};

struct ProductKernels {
    const char* name;
    size_t rows;    ///< that a tile holds
    bool wideBytes; ///< bytes() adds up exactly whatever `run` says
    /// Codes of four bits to bytes: of each byte of `packed` the low half goes to panel[b], the high half to panel[b + 64], b within pieces of 64.
    /// panel[] = levels[code]; levels has 16 entries. `count` bytes of codes, a multiple of 64.
    void (*expandNibbles)(const uint8_t* packed, size_t count, const uint8_t* levels, uint8_t* panel);
    /// Bytes to words: panel[i] = packed[i] + offset[i % 32], `count` a multiple of 32.
    void (*expandBytes)(const uint8_t* packed, size_t count, const int16_t* offset, int16_t* panel);
    void (*bytes)(const ProductTile& tile);
    void (*words)(const ProductTile& tile);
};

/// The plain twin. It takes tiles of any number of rows.
const ProductKernels& scalarProductKernels();

/// Levels this processor can run, best first, "scalar" last.
std::vector<const ProductKernels*> supportedProductKernels();

/// The level of that name (those of cpu/kernels.h). A processor that multiplies bytes natively has one level more, "avx3_vnni", which stands for "avx3".
const ProductKernels& productKernelsFor(std::string_view level);

}  // namespace quantscope
