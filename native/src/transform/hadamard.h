// Hadamard matrices over the whole width, times random signs (QuaRot, arXiv 2404.00456): y = (1/sqrt(d)) (H_K ⊗ H_{2^k}) D x.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "cpu/kernels.h"

namespace quantscope {

/// Largest order of H_K: beyond it the product with H_K would cost as much as a dense rotation.
inline constexpr uint64_t kMaxHadamardOrder = 1024;

/// The smallest K that divides the width, width / K a power of two, with a Hadamard matrix that hadamardMatrix() can construct;
/// none when there is no such K up to kMaxHadamardOrder. server/src/methods/hadamard.ts says the same.
std::optional<uint64_t> hadamardOrder(uint64_t width);

/// H [K, K] of ±1 with H Hᵀ = K I, for K = 1 and K a multiple of 4 that Paley's first (K - 1 prime) or second construction
/// (K / 2 - 1 = 1 mod 4 prime), or Williamson's with the sequences known here (52, 172) reach. Throws Error(Argument) for others.
std::vector<int8_t> hadamardMatrix(uint64_t order);

/// One draw. Immutable, so threads share it.
class HadamardRotation {
public:
    /// Signs: SplitMix64 with state seed XOR (width << 32), -1 where the top bit is set. hadamardOrder(width) has a value.
    HadamardRotation(uint64_t width, uint64_t seed);

    /// y = rotated x, both `width` floats; `spare` holds `width` more. None may overlap.
    void apply(const float* x, float* y, float* spare, const Kernels& kernels) const;

    /// The inverse: x from y.
    void undo(const float* y, float* x, float* spare, const Kernels& kernels) const;

    /// As Rpbh has them: the input of each position before the products, its sign in the top bit.
    const std::vector<uint32_t>& signedSources() const { return signs_; }

private:
    uint64_t order_;
    std::vector<uint32_t> signs_;  ///< as gatherSigned() takes them: index, sign in the top bit
    std::vector<float> matrix_;    ///< H_K, empty for K = 1
    std::vector<float> transposed_;
};

/// From a bounded cache.
std::shared_ptr<const HadamardRotation> hadamardFor(uint64_t width, uint64_t seed);

}  // namespace quantscope
