// The inner loops, one table of function pointers per processor level. Every level computes the same thing; cpu/scalar.cpp is the
// readable definition that the tests hold the others to. All kernels are thread-safe, accept n = 0 and any alignment of the data.
//
// Sums are accumulated in float over short runs and in double beyond, so that a relative error stays near 1e-7.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/rounding.h"
#include "tensor/dtype.h"

namespace quantscope {

struct Range {
    float lowest;
    float highest;
};

/// Power sums of normalised coordinates u, and the largest |u|.
struct PowerSums {
    double s1 = 0;
    double s2 = 0;
    double s3 = 0;
    double s4 = 0;
    float maxAbs = 0;
};

/// Equal bins: coordinate u belongs to cell trunc(clamp(u * perUnit + shift, 0, last)). Cell 0 is below the range, `last` at or above.
struct BinGrid {
    float perUnit;
    float shift;
    uint32_t last;
};

/// Two neighbouring levels, one of which is the nearest to any magnitude of a cell; equal where no threshold is in the cell.
struct LevelPair {
    float lower;
    float upper;
};

/// Symmetric codebook: positive levels, ascending, in standard deviations, and the thresholds between them.
/// `candidates` finds the level without a search: magnitude a is in cell min(trunc(a * cellsPerUnit), candidates.size() - 1).
struct LevelTable {
    std::vector<float> levels;      ///< padded to 16 with the last level
    std::vector<float> thresholds;  ///< one fewer than levels, then padded to 16 with infinity
    uint32_t size = 0;              ///< positive levels, a power of two
    float cellsPerUnit = 0;
    std::vector<LevelPair> candidates;
};

/// q = clamp(round(x / scale), lowest, highest), ties to even, value q * scale. scale > 0.
struct IntegerGrid {
    float scale;
    float lowest;
    float highest;
};

/// Columns of a panel that addProducts takes at once.
inline constexpr size_t kProductColumns = 16;

struct Kernels {
    const char* name;
    /// Stored elements to float32. isWeightDtype(dtype). F64 rounds to nearest; beyond float32 it becomes infinity.
    void (*decode)(Dtype dtype, const std::byte* source, float* target, size_t n);
    /// Largest |x| as the bit pattern of a float. At or above 0x7F800000 when the data hold an infinity or a NaN.
    uint32_t (*maxMagnitude)(const float* x, size_t n);
    Range (*range)(const float* x, size_t n);  ///< finite x, n >= 1
    double (*sumSquares)(const float* x, size_t n);
    void (*multiply)(float* x, size_t n, float factor);
    /// counts[cell of x * scale] += 1 for every x; returns the power sums of x * scale.
    PowerSums (*binAndSum)(const float* x, size_t n, float scale, const BinGrid& grid, uint32_t* counts);
    /// target[i] = x[s & 0x7FFFFFFF], negated when the top bit of s is set, s = sources[i].
    void (*gatherSigned)(const float* x, const uint32_t* sources, size_t n, float* target);
    /// In place: every block of `block` consecutive values times factor * (Sylvester Hadamard matrix). block is a power of two
    /// dividing n. The same bits on every level.
    void (*hadamard)(float* x, size_t n, size_t block, float factor);
    /// Sum of (|x| scale - ratio * level(|x| scale))^2, the level nearest to |x| scale.
    double (*codebookError)(const float* x, size_t n, float scale, float ratio, const LevelTable& table);
    /// Sum of (x - q scale)^2.
    double (*integerError)(const float* x, size_t n, const IntegerGrid& grid);
    /// Sum of |x - q scale|^2.4, the norm that ranges are clipped by. |x - q scale| below 2^40.
    double (*clipError)(const float* x, size_t n, const IntegerGrid& grid);
    /// Sum of (x - x rounded to type)^2 for Fp16 and Bf16, saturating; 0 for Fp32.
    double (*castError)(const float* x, size_t n, FloatType type);
    /// Activation functions, y may be x. silu: x / (1 + exp(-x)); geluTanh: x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2.
    void (*silu)(const float* x, float* y, size_t n);
    void (*geluTanh)(const float* x, float* y, size_t n);
    void (*tanh)(const float* x, float* y, size_t n);
    /// In place: x becomes exp(x - shift); returns the sum. x <= shift.
    double (*expSum)(float* x, size_t n, float shift);
    /// y[rows, kProductColumns] += x[rows, width] · panel[width, kProductColumns], added up in the order of the width: a row of y gets
    /// the same bits whatever the other rows are. y must not overlap.
    void (*addProducts)(const float* x, size_t xStride, size_t rows, const float* panel, size_t width, float* y, size_t yStride);
};

/// The plain twin of every kernel.
const Kernels& scalarKernels();

/// Levels this processor can run, best first, "scalar" last.
std::vector<const Kernels*> supportedKernels();

/// The supported level of that name. Throws Error(Argument) naming the supported ones.
const Kernels& kernelsFor(std::string_view level);

/// The best supported level, or the one the environment variable QUANTSCOPE_CPU names. Throws Error(Argument) when that is unknown.
const Kernels& kernels();

}  // namespace quantscope
