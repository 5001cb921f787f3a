// The randomised permuted block Hadamard rotation of OrbitQuant (arXiv 2607.02461, Eq 9):
// y = blkdiag(H_h D_1, ..., H_h D_{d/h}) P x, H_h the orthonormal Sylvester Hadamard matrix, D random signs, P a random permutation.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/cancellation.h"

namespace quantscope {

struct Kernels;

/// Widths from 1 to kMaxWidth can be rotated and measured: one row then still takes only milliseconds.
inline constexpr uint64_t kMaxWidth = uint64_t{1} << 24;

/// Largest power of two that divides the width.
inline uint64_t hadamardBlock(uint64_t width) { return width & (~width + 1); }

/// One draw. Immutable, so threads share it.
class Rpbh {
public:
    /// Draw order, fixed for good because checkpoints depend on it: SplitMix64 with state seed XOR (width << 32); Fisher-Yates
    /// from i = width-1 down to 1 with j = high 64 bits of next() * (i + 1); then one sign per output, -1 where the top bit is set.
    Rpbh(uint64_t width, uint64_t seed, const Cancellation* cancellation = nullptr);

    uint64_t width() const { return sources_.size(); }
    uint64_t block() const { return hadamardBlock(width()); }
    uint32_t source(size_t i) const { return sources_[i] & 0x7FFFFFFF; }         ///< input index that feeds position i
    int sign(size_t i) const { return (sources_[i] & 0x80000000) != 0 ? -1 : 1; }  ///< its sign

    /// source(i) for every position, the top bit set where sign(i) is -1.
    const std::vector<uint32_t>& signedSources() const { return sources_; }

    /// target = rotated source, both `width()` floats, not overlapping. Orthogonal: keeps the norm.
    void apply(const float* source, float* target, const Kernels& kernels) const;
    /// The inverse: source from target; `spare` holds `width()` floats.
    void undo(const float* target, float* source, float* spare, const Kernels& kernels) const;

private:
    /// Source index, with the sign in the top bit: one load serves both.
    std::vector<uint32_t> sources_;
};

/// The draw for (width, seed) from a bounded cache. Throws Error(Argument) for widths outside 1..kMaxWidth.
std::shared_ptr<const Rpbh> rotationFor(uint64_t width, uint64_t seed, const Cancellation* cancellation = nullptr);

}  // namespace quantscope
