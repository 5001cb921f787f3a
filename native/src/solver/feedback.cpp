#include "solver/feedback.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/memory.h"
#include "solver/dense.h"

namespace quantscope {

namespace {

/// Coordinates decided between two products.
constexpr size_t kBlock = 64;

/// body(i, j) for all i < j < n, in tiles of strips of kStrip columns: in one of the two orders neighbours stand a row apart, and rows of a large matrix
/// share few places in the first-level cache.
template <class Body>
void abovePairs(size_t n, Workers& workers, Body body) {
    constexpr size_t kEdge = 64, kStrip = 8;
    workers.tiles((n + kEdge - 1) / kEdge, [&](size_t across, unsigned) {
        for (size_t down = 0; down <= across; ++down) {
            for (size_t strip = across * kEdge; strip < std::min(n, (across + 1) * kEdge); strip += kStrip) {
                const size_t end = std::min(n, strip + kStrip);
                for (size_t i = down * kEdge; i < std::min(end, (down + 1) * kEdge); ++i) {
                    for (size_t j = std::max(i + 1, strip); j < end; ++j) {
                        body(i, j);
                    }
                }
            }
        }
    });
}

}  // namespace

Feedback::Feedback(const float* moments, size_t n, size_t stride, const Damping& damping, bool descending, Workers& workers)
    : order_(n), dead_(n), lower_(allocateAligned<double>(n * n)) {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) {
        const float diagonal = moments[i * stride + i];
        if (!(diagonal >= 0)) {
            failArgument("the second moments are no such: the mean square of input " + std::to_string(i) + " is " +
                         std::to_string(diagonal) + ". Collect the statistics again.");
        }
        dead_[i] = diagonal == 0;
        sum += diagonal;
    }
    const double mean = sum / static_cast<double>(n);
    if (!(mean > 0) || !std::isfinite(mean)) {
        failArgument(mean > 0 ? "the second moments are not finite. Collect the statistics again."
                              : "the second moments are all zero: the layer was given nothing but zeros. Use solver rtn for it.");
    }
    // Rows of the factor run backwards: what is decided first comes last.
    std::iota(order_.rbegin(), order_.rend(), 0u);
    if (descending) {
        std::stable_sort(order_.rbegin(), order_.rend(),
                         [&](uint32_t a, uint32_t b) { return moments[a * stride + a] > moments[b * stride + b]; });
    }
    // The matrix itself goes above the diagonal, where the factorisation leaves it for another attempt.
    double* const a = lower_.get();
    preferLargePages(a, n * n * sizeof(double));
    std::vector<double> diagonal(n);
    abovePairs(n, workers, [&](size_t i, size_t j) {
        const size_t row = order_[i], column = order_[j];
        const double both = static_cast<double>(moments[row * stride + column]) + moments[column * stride + row];
        if (!std::isfinite(both)) {
            failArgument("the second moments of inputs " + std::to_string(row) + " and " + std::to_string(column) +
                         " are not finite. Collect the statistics again.");
        }
        a[i * n + j] = dead_[row] != 0 || dead_[column] != 0 ? 0 : both / 2;
    });
    for (size_t i = 0; i < n; ++i) {
        diagonal[i] = dead_[order_[i]] != 0 ? mean : moments[order_[i] * stride + order_[i]];
    }
    damping_ = damping.share * damping.scale * mean;
    for (;; ++retries_) {
        abovePairs(n, workers, [&](size_t i, size_t j) { a[j * n + i] = a[i * n + j]; });
        for (size_t i = 0; i < n; ++i) {
            a[i * n + i] = diagonal[i] + damping_;
        }
        if (factorLower(a, n, workers)) {
            return;
        }
        damping_ = std::max(damping_ * 2, 1e-6 * mean);
    }
}

double Feedback::sweep(const float* weights, size_t rows, const Decide& decide, const Workers& workers, size_t group,
                       const Enter& enter) const {
    const size_t n = size();
    const double* const lower = lower_.get();
    // Whole groups only, so that a group's moved weights can be had before it is begun.
    const size_t block = group == 0 ? kBlock : std::max<size_t>(1, kBlock / group) * group;
    std::vector<double> errors(rows * n);
    std::vector<double> sums(rows * block);
    std::vector<double> moved(enter ? rows * group : 0);
    double loss = 0;
    for (size_t end = n; end > 0;) {
        workers.checkCancelled();
        const size_t begin = end > block ? end - block : 0;
        const size_t width = end - begin;
        std::fill(sums.begin(), sums.end(), 0.0);
        if (end < n) {
            multiply(rows, width, n - end, errors.data() + end, n, lower + end * n + begin, n, 0.0, sums.data(), block);
        }
        for (size_t last = end; last > begin;) {  // a group, or the whole block
            const size_t first = group == 0 ? begin : last - group;
            if (enter) {
                for (size_t i = 0; i < rows; ++i) {
                    std::copy_n(sums.data() + i * block + (first - begin), group, moved.data() + i * group);
                }
                solveLower(rows, group, lower + first * n + first, n, moved.data(), group);
                for (size_t i = 0; i < rows; ++i) {  // in order of coordinates, which is the reverse
                    std::reverse(moved.data() + i * group, moved.data() + (i + 1) * group);
                    for (size_t j = 0; j < group; ++j) {
                        moved[i * group + j] += weights[i * n + order_[last - 1] + j];
                    }
                }
                enter(order_[last - 1], group, moved.data());
            }
            for (size_t i = 0; i < rows; ++i) {
                double* const sum = sums.data() + i * block;
                for (size_t r = last; r-- > first;) {
                    const size_t coordinate = order_[r];
                    const double* const factor = lower + r * n;
                    const double original = weights[i * n + coordinate];
                    const double w = original + sum[r - begin] / factor[r];
                    const double given = decide(i, coordinate, w);
                    const double error = original - given;
                    errors[i * n + r] = error;
                    if (dead_[coordinate] == 0) {
                        loss += (w - given) * factor[r] * ((w - given) * factor[r]) - damping_ * error * error;
                    }
                    for (size_t c = begin; c < r; ++c) {
                        sum[c - begin] += error * factor[c];
                    }
                }
            }
            last = first;
        }
        end = begin;
    }
    return std::max(0.0, loss);
}

}  // namespace quantscope
