// AdaRound (Nagel et al., arXiv 2004.10568, Eq 21-25): whether a weight is rounded down or up is learned.
//     W̃ = s · clamp(⌊W / s⌋ + h(α), lowest, highest),   h(α) = clamp(sigmoid(α)(ζ - γ) + γ, 0, 1),   ζ = 1.1, γ = -0.1
// α starts where h is the fractional part of W / s, so that W̃ starts as W cut off to the grid; scales are those of rounding to nearest.
#pragma once

#include <cstdint>
#include <vector>

#include "base/workers.h"
#include "quantizer/row_codec.h"
#include "solver/gptq.h"

namespace quantscope {

class SoftRounding {
public:
    /// One step of Adam (betas 0.9 and 0.999, epsilon 1e-8).
    struct Step {
        uint64_t number;  ///< from 1 on
        double rate;
        double beta;  ///< exponent of the regulariser share · Σ (1 - |2h - 1|^beta); 0 for none
        double share = 0.01;
    };

    /// `weights` [rows, codec.width()] with `stride`, all finite. The codec is that of an IntQuantizer.
    SoftRounding(const float* weights, uint64_t rows, uint64_t stride, const RowCodec& codec, Workers& workers);

    /// Bytes of one weight while it is learned, its gradient and its soft value included.
    static constexpr uint64_t kBytesPerWeight = 5 * sizeof(float) + sizeof(int16_t) + sizeof(uint8_t);

    /// W̃ into rows that are `stride` apart.
    void writeSoft(float* target, uint64_t stride, Workers& workers) const;
    /// `gradient` [rows, width] is that of W̃.
    void learn(const float* gradient, const Step& step, Workers& workers);

    const Rounding& nearest() const { return nearest_; }
    /// Up where h ≥ 1/2.
    Rounding learned(Workers& workers) const;

private:
    uint64_t rows_;
    uint64_t width_;
    size_t group_;
    int highest_;  ///< largest code
    size_t sides_;
    Rounding nearest_;
    std::vector<int16_t> floors_;  ///< code of ⌊W / s⌋, one step beyond the grid at most
    std::vector<float> alphas_;
    std::vector<float> means_;    ///< Adam's first moments
    std::vector<float> squares_;  ///< and second
};

}  // namespace quantscope
