#include "transform/outlier_rotation.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "base/error.h"
#include "linear/gemm.h"
#include "transform/orthogonal.h"

namespace quantscope {

namespace {

using Matrix = std::vector<double>;

double stepWork(uint64_t values, uint64_t block) { return 2.0 * static_cast<double>(values) * static_cast<double>(block); }

/// y [rows, n] = x [rows, n] · m [n, n], in tiles of rows.
void multiplyRows(const Matrix& x, const Matrix& m, uint64_t n, Matrix& y, Workers& workers) {
    const uint64_t rows = x.size() / n;
    constexpr uint64_t kRows = 1024;
    const auto width = static_cast<blasint>(n);
    workers.tiles((rows + kRows - 1) / kRows, [&](size_t tile, unsigned) {
        const uint64_t first = tile * kRows;
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<blasint>(std::min(kRows, rows - first)), width, width, 1.0,
                    x.data() + first * n, width, m.data(), width, 0.0, y.data() + first * n, width);
    });
}

void swapColumns(Matrix& x, uint64_t width, uint64_t a, uint64_t b) {
    for (size_t row = 0; row < x.size(); row += width) {
        std::swap(x[row + a], x[row + b]);
    }
}

double peakOf(const Matrix& x) {
    const auto [low, high] = std::minmax_element(x.begin(), x.end());
    return *high - *low;
}

/// Rotates x [rows, block] in place; returns the rotation, x R.
Matrix rotateGreedily(Matrix& x, uint64_t block, uint64_t steps, uint64_t seed, Workers& workers) {
    const Matrix spread = spreadingRotation(block, seed, workers);
    Matrix rotation(block * block);
    for (uint64_t i = 0; i < block; ++i) {
        rotation[i * block + i] = 1;
    }
    Matrix rotated = x, best = rotation, spare(x.size()), spareRotation(rotation.size());
    double lowest = peakOf(x);
    for (uint64_t step = 0; step < steps; ++step) {
        workers.checkCancelled();
        const auto largest = std::max_element(rotated.begin(), rotated.end(), [](double a, double b) { return std::fabs(a) < std::fabs(b); });
        const uint64_t channel = static_cast<uint64_t>(largest - rotated.begin()) % block;
        for (auto [matrix, other] : {std::pair{&rotated, &spare}, std::pair{&rotation, &spareRotation}}) {
            swapColumns(*matrix, block, 0, channel);
            multiplyRows(*matrix, spread, block, *other, workers);
            std::swap(*matrix, *other);
            swapColumns(*matrix, block, 0, channel);
        }
        const double peak = peakOf(rotated);
        if (peak < lowest) {
            lowest = peak;
            best = rotation;
        }
        workers.advance(stepWork(x.size(), block));
    }
    multiplyRows(x, best, block, spare, workers);
    std::swap(x, spare);
    return best;
}

std::vector<float> transposed(const Matrix& m, uint64_t n) {
    std::vector<float> result(n * n);
    for (uint64_t i = 0; i < n; ++i) {
        for (uint64_t j = 0; j < n; ++j) {
            result[j * n + i] = static_cast<float>(m[i * n + j]);
        }
    }
    return result;
}

std::vector<double> keysOf(const Matrix& x, uint64_t width, DealOrder order) {
    std::vector<double> low(x.begin(), x.begin() + static_cast<ptrdiff_t>(width)), high = low;
    for (size_t i = 0; i < x.size(); ++i) {
        low[i % width] = std::min(low[i % width], x[i]);
        high[i % width] = std::max(high[i % width], x[i]);
    }
    std::vector<double> keys(width);
    for (uint64_t j = 0; j < width; ++j) {
        keys[j] = order == DealOrder::Zigzag ? std::max(-low[j], high[j]) : high[j] - low[j];
    }
    return keys;
}

}  // namespace

std::vector<double> spreadingRotation(uint64_t size, uint64_t seed, Workers& workers) {
    oneThreadPerCall();
    Matrix r(size * size);
    for (uint64_t i = 0; i < size; ++i) {
        r[i * size + i] = 1;
    }
    for (uint64_t i = 0; i + 1 < size; ++i) {
        const double cosine = 1 / std::sqrt(static_cast<double>(i + 2));
        const double sine = std::sqrt(static_cast<double>(i + 1)) * cosine;
        // Row i + 1 := cosine · row i + 1 + sine · row i, and row i := cosine · row i - sine · row i + 1.
        cblas_drot(static_cast<blasint>(size), r.data() + (i + 1) * size, 1, r.data() + i * size, 1, cosine, sine);
    }
    std::swap_ranges(r.begin(), r.begin() + static_cast<ptrdiff_t>(size), r.end() - static_cast<ptrdiff_t>(size));
    swapColumns(r, size, 0, size - 1);
    const Matrix q = randomOrthogonal(size - 1, seed, workers);
    Matrix result(r.begin(), r.begin() + static_cast<ptrdiff_t>(size));
    result.resize(size * size);
    const auto n = static_cast<blasint>(size);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n - 1, n, n - 1, 1.0, q.data(), n - 1, r.data() + size, n, 0.0, result.data() + size, n);
    return result;
}

std::vector<int32_t> dealChannels(const std::vector<double>& keys, uint64_t block, DealOrder order) {
    const uint64_t width = keys.size();
    const uint64_t blocks = width / block;
    std::vector<int32_t> ranked(width), sources(width);
    std::iota(ranked.begin(), ranked.end(), 0);
    std::stable_sort(ranked.begin(), ranked.end(), [&](int32_t a, int32_t b) { return keys[a] > keys[b]; });
    for (uint64_t i = 0; i < width; ++i) {
        const uint64_t round = i / blocks;
        const uint64_t place = order == DealOrder::Zigzag && round % 2 == 1 ? blocks - 1 - i % blocks : i % blocks;
        sources[place * block + round] = ranked[i];
    }
    return sources;
}

double outlierRotationWork(uint64_t values, uint64_t block, uint64_t steps) {
    return 2.0 * static_cast<double>(steps) * stepWork(values, block) + 2.0 * orthogonalWork(block);
}

OutlierRotation fitOutlierRotation(const std::vector<float>& sample, uint64_t width, uint64_t block, uint64_t steps, DealOrder order,
                                   uint64_t seed, Workers& workers) {
    if (block < 2 || width % block != 0) {
        failArgument("block: blocks of " + std::to_string(block) + " do not divide " + std::to_string(width) +
                     " inputs. Choose a divisor of at least 2, or rotate with rpbh");
    }
    if (sample.empty()) {
        failArgument("sample: there are no rows to fit an outlier-aware rotation to. Calibrate with more data");
    }
    if (const auto bad = std::find_if(sample.begin(), sample.end(), [](float v) { return !std::isfinite(v); }); bad != sample.end()) {
        failArgument("sample: input " + std::to_string(static_cast<uint64_t>(bad - sample.begin()) % width) +
                     " is NaN or infinite in some row. Keep this layer, or repair the checkpoint");
    }
    OutlierRotation result;
    Matrix x(sample.begin(), sample.end());
    result.peakBefore = peakOf(x);
    result.first = transposed(rotateGreedily(x, block, steps, seed, workers), block);
    result.sources = dealChannels(keysOf(x, width, order), block, order);
    Matrix permuted(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
        permuted[i] = x[i / width * width + static_cast<size_t>(result.sources[i % width])];
    }
    result.second = transposed(rotateGreedily(permuted, block, steps, seed + 1, workers), block);
    result.peakAfter = peakOf(permuted);
    return result;
}

}  // namespace quantscope
