#include "solver/low_rank.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <numeric>
#include <string>

#include "base/error.h"
#include "base/random.h"
#include "linear/gemm.h"
#include "quantizer/row_codec.h"

namespace quantscope {

namespace {

/// Vectors beyond the rank, and products with W Wᵀ before the vectors count as singular ones.
constexpr size_t kExtra = 16;
constexpr int kFirstPasses = 8;
constexpr int kLaterPasses = 2;

constexpr size_t kTile = 128;

double dot(const float* a, const float* b, size_t n) {
    double sums[8] = {};  // independent, for the compiler's vectors
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (size_t k = 0; k < 8; ++k) {
            sums[k] += static_cast<double>(a[i + k]) * b[i + k];
        }
    }
    for (; i < n; ++i) {
        sums[0] += static_cast<double>(a[i]) * b[i];
    }
    return std::accumulate(std::begin(sums), std::end(sums), 0.0);
}

/// Rows become orthonormal (Gram and Schmidt, twice). Rows that depend on others become zero.
void orthonormalize(std::vector<float>& rows, size_t count, size_t n, const Workers& workers) {
    for (size_t i = 0; i < count; ++i) {
        workers.checkCancelled();
        float* const row = rows.data() + i * n;
        const double before = std::sqrt(dot(row, row, n));
        for (int pass = 0; pass < 2; ++pass) {
            for (size_t k = 0; k < i; ++k) {
                const float* const other = rows.data() + k * n;
                const auto share = static_cast<float>(dot(row, other, n));
                for (size_t j = 0; j < n; ++j) {
                    row[j] -= share * other[j];
                }
            }
        }
        const double norm = std::sqrt(dot(row, row, n));
        const float scale = norm > 1e-6 * before ? static_cast<float>(1 / norm) : 0.0f;
        std::transform(row, row + n, row, [scale](float v) { return v * scale; });
    }
}

/// Eigenvectors of a symmetric matrix [n, n] as columns, by Jacobi's rotations; values on the diagonal of `a` after.
std::vector<double> eigenvectors(std::vector<double>& a, size_t n) {
    std::vector<double> vectors(n * n);
    for (size_t i = 0; i < n; ++i) {
        vectors[i * n + i] = 1;
    }
    double whole = 0;
    for (const double v : a) {
        whole += v * v;
    }
    for (int sweep = 0; sweep < 30; ++sweep) {
        double off = 0;
        for (size_t i = 0; i < n; ++i) {
            for (size_t j = i + 1; j < n; ++j) {
                off += a[i * n + j] * a[i * n + j];
            }
        }
        if (off <= 1e-28 * whole) {
            break;
        }
        for (size_t i = 0; i < n; ++i) {
            for (size_t j = i + 1; j < n; ++j) {
                if (a[i * n + j] == 0) {
                    continue;
                }
                const double theta = (a[j * n + j] - a[i * n + i]) / (2 * a[i * n + j]);
                const double t = std::copysign(1 / (std::fabs(theta) + std::sqrt(theta * theta + 1)), theta);
                const double c = 1 / std::sqrt(t * t + 1);
                const double s = t * c;
                for (size_t k = 0; k < n; ++k) {
                    const double x = a[k * n + i], y = a[k * n + j];
                    a[k * n + i] = c * x - s * y;
                    a[k * n + j] = s * x + c * y;
                }
                for (size_t k = 0; k < n; ++k) {
                    const double x = a[i * n + k], y = a[j * n + k];
                    a[i * n + k] = c * x - s * y;
                    a[j * n + k] = s * x + c * y;
                    const double p = vectors[k * n + i], q = vectors[k * n + j];
                    vectors[k * n + i] = c * p - s * q;
                    vectors[k * n + j] = s * p + c * q;
                }
            }
        }
    }
    return vectors;
}

}  // namespace

SubspaceIteration::SubspaceIteration(size_t rows, size_t width, size_t rank)
    : rows_(rows), width_(width), rank_(rank), vectors_(std::min({rank + kExtra, rows, width})) {
    if (rank < 1 || rank > std::min(rows, width)) {
        failArgument("lowRank: a weight of " + std::to_string(rows) + " x " + std::to_string(width) + " has ranks from 1 to " +
                     std::to_string(std::min(rows, width)) + ", got " + std::to_string(rank));
    }
    left_.resize(vectors_ * rows);
    right_.resize(vectors_ * width);
    SplitMix64 random(rank);
    for (float& v : right_) {  // any distribution with independent coordinates does
        v = static_cast<float>(random.uniform() - 0.5);
    }
}

void SubspaceIteration::multiplyByRows(const float* weights, Workers& workers) {
    workers.tiles((rows_ + kTile - 1) / kTile, [&](size_t tile, unsigned) {
        const size_t first = tile * kTile;
        const size_t count = std::min(kTile, rows_ - first);
        multiplyTransposed(vectors_, count, width_, 1.0f, right_.data(), width_, weights + first * width_, width_, 0.0f,
                           left_.data() + first, rows_);
    });
}

void SubspaceIteration::multiplyByColumns(const float* weights, Workers& workers) {
    workers.tiles((width_ + kTile - 1) / kTile, [&](size_t tile, unsigned) {
        const size_t first = tile * kTile;
        multiply(vectors_, std::min(kTile, width_ - first), rows_, left_.data(), rows_, weights + first, width_, 0.0f,
                 right_.data() + first, width_);
    });
}

LowRankBranch SubspaceIteration::approximate(const float* weights, Workers& workers) {
    for (int pass = started_ ? kLaterPasses : kFirstPasses; pass > 0; --pass) {
        orthonormalize(right_, vectors_, width_, workers);
        multiplyByRows(weights, workers);
        orthonormalize(left_, vectors_, rows_, workers);
        multiplyByColumns(weights, workers);
    }
    started_ = true;
    // W ≈ leftᵀ right with orthonormal rows of left: the singular values of W are those of right.
    std::vector<double> gram(vectors_ * vectors_);
    for (size_t i = 0; i < vectors_; ++i) {
        for (size_t j = 0; j <= i; ++j) {
            gram[i * vectors_ + j] = gram[j * vectors_ + i] = dot(right_.data() + i * width_, right_.data() + j * width_, width_);
        }
    }
    const std::vector<double> turn = eigenvectors(gram, vectors_);
    std::vector<size_t> order(vectors_);
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return gram[a * vectors_ + a] > gram[b * vectors_ + b]; });
    LowRankBranch result{rank_, std::vector<float>(rows_ * rank_), std::vector<float>(rank_ * width_)};
    for (size_t r = 0; r < rank_; ++r) {
        const double root = std::sqrt(std::sqrt(std::max(0.0, gram[order[r] * vectors_ + order[r]])));  // of the singular value
        if (root == 0) {
            continue;
        }
        for (size_t v = 0; v < vectors_; ++v) {
            const double share = turn[v * vectors_ + order[r]];
            for (size_t i = 0; i < rows_; ++i) {
                result.up[i * rank_ + r] += static_cast<float>(share * root * left_[v * rows_ + i]);
            }
            for (size_t j = 0; j < width_; ++j) {
                result.down[r * width_ + j] += static_cast<float>(share / root * right_[v * width_ + j]);
            }
        }
    }
    castRow(FloatType::Bf16, result.up.data(), result.up.size());
    castRow(FloatType::Bf16, result.down.data(), result.down.size());
    return result;
}

void subtractProduct(const LowRankBranch& branch, const float* weights, size_t rows, size_t width, float* residual, Workers& workers) {
    workers.tiles((rows + kTile - 1) / kTile, [&](size_t tile, unsigned) {
        const size_t first = tile * kTile;
        const size_t count = std::min(kTile, rows - first);
        float* const target = residual + first * width;
        multiply(count, width, branch.rank, branch.up.data() + first * branch.rank, branch.rank, branch.down.data(), width, 0.0f,
                 target, width);
        std::transform(weights + first * width, weights + (first + count) * width, target, target, std::minus<>());
    });
}

LowRankFit fitLowRank(const std::vector<float>& weights, size_t rows, size_t width, size_t rank, unsigned iterations,
                      const QuantizeResidual& quantize, Workers& workers) {
    SubspaceIteration subspace(rows, width, rank);
    LowRankFit best;
    std::vector<float> rest = weights;  // what the branch has to stand for
    std::vector<float> residual(weights.size());
    std::vector<float> quantized(weights.size());
    while (best.iterations < std::max(1u, iterations)) {
        LowRankBranch branch = subspace.approximate(rest.data(), workers);
        subtractProduct(branch, weights.data(), rows, width, residual.data(), workers);
        const double error = quantize(residual, quantized);
        const bool better = best.iterations++ == 0 || error < best.error;
        if (!better) {
            break;
        }
        best.branch = std::move(branch);
        best.residual = residual;
        best.error = error;
        std::transform(weights.begin(), weights.end(), quantized.begin(), rest.begin(), std::minus<>());
    }
    return best;
}

}  // namespace quantscope
