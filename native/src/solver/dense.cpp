#include "solver/dense.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>

#include "linear/gemm.h"

// LAPACK's Cholesky factor of a column-major matrix, as OpenBLAS has it. "U" of the column-major view is our lower triangle.
extern "C" void dpotrf_(const char* triangle, const blasint* n, double* a, const blasint* stride, blasint* info);

namespace quantscope {

namespace {

/// Columns factored at once, and the edge of the tiles that are updated after: a few milliseconds each.
constexpr size_t kPanel = 128;
constexpr size_t kTile = 384;

blasint count(size_t n) { return static_cast<blasint>(n); }

size_t tilesOf(size_t n, size_t tile) { return (n + tile - 1) / tile; }

}  // namespace

void multiply(size_t rows, size_t columns, size_t width, const double* x, size_t xStride, const double* w, size_t wStride,
              double keep, double* y, size_t yStride) {
    oneThreadPerCall();
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, count(rows), count(columns), count(width), 1.0, x, count(xStride), w,
                count(wStride), keep, y, count(yStride));
}

void solveLower(size_t rows, size_t n, const double* lower, size_t stride, double* x, size_t xStride) {
    oneThreadPerCall();
    cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, count(rows), count(n), 1.0, lower,
                count(stride), x, count(xStride));
}

bool factorLower(double* a, size_t n, Workers& workers) {
    oneThreadPerCall();
    const blasint stride = count(n);
    for (size_t begin = 0; begin < n; begin += kPanel) {
        workers.checkCancelled();
        const size_t end = std::min(n, begin + kPanel);
        const size_t width = end - begin;
        double* corner = a + begin * n + begin;
        const blasint order = count(width);
        blasint info = 0;
        dpotrf_("U", &order, corner, &stride, &info);
        // A NaN passes through the comparisons inside.
        if (info != 0 || !std::isfinite(corner[(width - 1) * n + width - 1])) {
            return false;
        }
        const size_t below = n - end;
        workers.tiles(tilesOf(below, kTile), [&](size_t tile, unsigned) {
            const size_t row = end + tile * kTile;
            cblas_dtrsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, count(std::min(kTile, n - row)), order, 1.0,
                        corner, stride, a + row * n + begin, stride);
        });
        // The tiles (i, j <= i) of what is left, row by row.
        const size_t side = tilesOf(below, kTile);
        workers.tiles(side * (side + 1) / 2, [&](size_t tile, unsigned) {
            size_t i = static_cast<size_t>((std::sqrt(8.0 * static_cast<double>(tile) + 1) - 1) / 2);
            const size_t row = end + i * kTile;
            const size_t column = end + (tile - i * (i + 1) / 2) * kTile;
            const blasint rows = count(std::min(kTile, n - row));
            const double* left = a + row * n + begin;
            if (row == column) {
                cblas_dsyrk(CblasRowMajor, CblasLower, CblasNoTrans, rows, order, -1.0, left, stride, 1.0, a + row * n + row, stride);
            } else {
                cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, count(kTile), order, -1.0, left, stride,
                            a + column * n + begin, stride, 1.0, a + row * n + column, stride);
            }
        });
        const auto rest = static_cast<double>(below);
        workers.advance(static_cast<double>(width) * (rest * rest + rest * static_cast<double>(width)));
    }
    return true;
}

}  // namespace quantscope
