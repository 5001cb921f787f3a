// The leading singular vectors of a weight, and SVDQuant's low-rank branch (arXiv 2411.05007): W ≈ up · down + Q(W - up · down).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/workers.h"

namespace quantscope {

/// up [rows, rank] · down [rank, width], both already rounded to BF16, the type they are stored in.
struct LowRankBranch {
    size_t rank = 0;
    std::vector<float> up;
    std::vector<float> down;
};

/// Randomised subspace iteration (Halko, Martinsson, Tropp 2011) for one matrix after another of the same shape: each starts from
/// the subspace of the one before. Seeded, and independent of the number of threads.
class SubspaceIteration {
public:
    /// Throws Error(Argument) when the rank is 0 or larger than both sides.
    SubspaceIteration(size_t rows, size_t width, size_t rank);

    /// The best approximation of weights [rows, width] with `rank` terms, the singular values shared between both factors.
    LowRankBranch approximate(const float* weights, Workers& workers);

private:
    void multiplyByRows(const float* weights, Workers& workers);     ///< left_ = right_ Wᵀ
    void multiplyByColumns(const float* weights, Workers& workers);  ///< right_ = left_ W

    size_t rows_;
    size_t width_;
    size_t rank_;
    size_t vectors_;           ///< rank and a few more
    bool started_ = false;
    std::vector<float> left_;   ///< [vectors, rows]
    std::vector<float> right_;  ///< [vectors, width]
};

/// residual [rows, width] = weights - up · down.
void subtractProduct(const LowRankBranch& branch, const float* weights, size_t rows, size_t width, float* residual, Workers& workers);

/// What a residual loses by quantizing: fills quantized [rows, width] with Q(residual) and returns the error that is to be small.
using QuantizeResidual = std::function<double(const std::vector<float>& residual, std::vector<float>& quantized)>;

struct LowRankFit {
    LowRankBranch branch;
    std::vector<float> residual;  ///< weights - up · down
    unsigned iterations = 0;      ///< done, the one that was no better included
    double error = 0;             ///< of the branch that is returned
};

/// Takes the branch from the singular values of W, then again and again from those of W - Q(residual), until the error stops
/// falling or `iterations` branches were tried. Keeps the best.
LowRankFit fitLowRank(const std::vector<float>& weights, size_t rows, size_t width, size_t rank, unsigned iterations,
                      const QuantizeResidual& quantize, Workers& workers);

}  // namespace quantscope
