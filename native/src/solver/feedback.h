// Second moments H of a layer's inputs, factored for GPTQ (Frantar et al., arXiv 2210.17323).
//
// GPTQ decides the columns of W one after the other and moves each error to the columns that are still open, by the rows of the
// upper Cholesky factor U of H⁻¹. With H = R Rᵀ, R upper triangular, U is R⁻¹, and the moved weight before column i is decided is
//     w_i = W_i + (Σ_{k<i} D_k R_ki) / R_ii,   D_k = W_k - Q_k
// so no inverse is needed. In the reverse order R is an ordinary lower factor L: columns are decided from the last to the first
// (arXiv 2507.18553 reads that as Babai's nearest plane). The error of any Q is tr(D H Dᵀ) = ‖D L‖².
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/aligned.h"
#include "base/workers.h"

namespace quantscope {

struct Damping {
    double share = 0.01;  ///< of the mean diagonal of H, added to the diagonal
    double scale = 1;     ///< times this: DiRotQ's mean diagonal of all coordinates over that of the quantized ones, where larger
};

class Feedback {
public:
    /// `moments` [n, n] with `stride`: symmetric, in the coordinates of the weights; the mean of both triangles counts. When the
    /// factorisation fails, damping is doubled until it does not. Coordinates that are never used (diagonal 0) get the mean
    /// diagonal. `descending`: coordinates with the largest diagonal are decided first ("act-order"); otherwise in order.
    /// Throws Error(Argument) when a moment is not finite, a diagonal is negative or all are zero.
    Feedback(const float* moments, size_t n, size_t stride, const Damping& damping, bool descending, Workers& workers);

    size_t size() const { return order_.size(); }
    /// True for coordinates whose input is always zero.
    bool dead(size_t coordinate) const { return dead_[coordinate] != 0; }
    double damping() const { return damping_; }    ///< what was added to the diagonal
    unsigned retries() const { return retries_; }  ///< times that damping was doubled

    /// A row of a tile, its coordinate and the weight with the errors so far moved to it; returns the value it is given.
    using Decide = std::function<double(size_t row, size_t coordinate, double moved)>;
    /// Coordinates [first, first + count), none of which is decided yet, and their moved weights [rows, count].
    using Enter = std::function<void(size_t first, size_t count, const double* moved)>;

    /// Decides `rows` rows of weights [rows, size()]. Returns tr(D H Dᵀ) without damping and dead coordinates. On the calling
    /// thread; looks at the cancellation. With `group` not 0, `enter` is called before a group of so many coordinates is begun
    /// (in-order factors only).
    double sweep(const float* weights, size_t rows, const Decide& decide, const Workers& workers, size_t group = 0,
                 const Enter& enter = nullptr) const;
    /// Multiply-adds of a sweep times two.
    double sweepWork(size_t rows) const { return static_cast<double>(rows) * static_cast<double>(size()) * static_cast<double>(size()); }

private:
    std::vector<uint32_t> order_;  ///< coordinate by row of the factor; the last row is decided first
    std::vector<uint8_t> dead_;    ///< by coordinate
    AlignedArray<double> lower_;
    double damping_ = 0;
    unsigned retries_ = 0;
};

}  // namespace quantscope
