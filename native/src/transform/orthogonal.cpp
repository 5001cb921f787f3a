#include "transform/orthogonal.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "base/lru_cache.h"
#include "base/random.h"
#include "linear/gemm.h"
#include "solver/dense.h"

namespace quantscope {

namespace {

constexpr uint64_t kPanel = 32;

/// a := a R⁻¹ with RᵀR = aᵀa, a [n, n] row-major: its columns become orthonormal.
void orthonormalize(std::vector<double>& a, uint64_t n, Workers& workers) {
    const auto size = static_cast<blasint>(n);
    const uint64_t panels = (n + kPanel - 1) / kPanel;
    const auto countOf = [&](uint64_t panel) { return static_cast<blasint>(std::min(kPanel, n - panel * kPanel)); };
    std::vector<double> gram(n * n);
    workers.tiles(panels, [&](size_t panel, unsigned) {  // rows of the lower triangle
        const uint64_t first = panel * kPanel;
        const blasint rows = countOf(panel);
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, rows, static_cast<blasint>(first) + rows, size, 1.0, a.data() + first, size,
                    a.data(), size, 0.0, gram.data() + first * n, size);
    });
    if (!factorLower(gram.data(), n, workers)) {
        failArgument("A random matrix of width " + std::to_string(n) + " was singular. Choose another seed.");
    }
    workers.tiles(panels, [&](size_t panel, unsigned) {
        cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, countOf(panel), size, 1.0, gram.data(), size,
                    a.data() + panel * kPanel * n, size);
    });
}

}  // namespace

std::vector<double> gaussianNumbers(uint64_t count, uint64_t width, uint64_t seed) {
    SplitMix64 random(seed ^ (width << 32));
    std::vector<double> values(count + count % 2);
    for (size_t i = 0; i < values.size(); i += 2) {
        const double radius = std::sqrt(-2.0 * std::log1p(-random.uniform()));
        const double angle = 2.0 * std::numbers::pi * random.uniform();
        values[i] = radius * std::cos(angle);
        values[i + 1] = radius * std::sin(angle);
    }
    values.resize(count);
    return values;
}

std::vector<double> randomOrthogonal(uint64_t width, uint64_t seed, Workers& workers) {
    oneThreadPerCall();
    auto matrix = gaussianNumbers(width * width, width, seed);
    // Once leaves an error of the squared condition number; the second time removes it.
    orthonormalize(matrix, width, workers);
    orthonormalize(matrix, width, workers);
    return matrix;
}

std::shared_ptr<const std::vector<float>> orthogonalFor(uint64_t width, uint64_t seed, Workers& workers) {
    constexpr size_t kCacheBytes = size_t{256} << 20;
    static LruCache<std::pair<uint64_t, uint64_t>, std::vector<float>> cache(kCacheBytes);
    return cache.get({width, seed}, width * width * sizeof(float), [&] {
        const auto matrix = randomOrthogonal(width, seed, workers);
        return std::vector<float>(matrix.begin(), matrix.end());
    });
}

}  // namespace quantscope
