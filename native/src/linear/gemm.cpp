#include "linear/gemm.h"

#include <cblas.h>

#include <algorithm>
#include <functional>

namespace quantscope {

namespace {

blasint count(size_t n) { return static_cast<blasint>(n); }

}  // namespace

// Not by a static initialiser, which could run before OpenBLAS's own.
void oneThreadPerCall() {
    static const bool done = (openblas_set_num_threads(1), true);
    static_cast<void>(done);
}

void multiplyTransposed(size_t rows, size_t columns, size_t width, float factor, const float* x, size_t xStride, const float* w,
                        size_t wStride, float keep, float* y, size_t yStride) {
    oneThreadPerCall();
    if (rows == 1) {
        // The modulation linears of a DiT have one row: a matrix times a vector needs no packing.
        cblas_sgemv(CblasRowMajor, CblasNoTrans, count(columns), count(width), factor, w, count(wStride), x, 1, keep, y, 1);
        return;
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, count(rows), count(columns), count(width), factor, x, count(xStride), w,
                count(wStride), keep, y, count(yStride));
}

void multiplyTransposedAlike(size_t rows, size_t columns, size_t width, float factor, const float* x, size_t xStride, const float* w,
                             size_t wStride, float keep, float* y, size_t yStride, const Kernels& kernels) {
    // A panel of w stays in the first-level cache while all rows pass; sums wait in `block` where the panel is narrower than its columns. Panels
    // are summed on their own first: one long chain of additions would round a thousand small terms against the sum of the large ones.
    constexpr size_t kWidth = 128, kRows = 64;
    float panel[kWidth * kProductColumns], sums[kRows * kProductColumns], block[kRows * kProductColumns];
    for (size_t row = 0; row < rows; row += kRows) {
        const size_t height = std::min(kRows, rows - row);
        for (size_t column = 0; column < columns; column += kProductColumns) {
            const size_t across = std::min(kProductColumns, columns - column);
            std::fill_n(block, height * kProductColumns, 0.0f);
            for (size_t i = 0; keep != 0.0f && i < height; ++i) {
                std::transform(y + (row + i) * yStride + column, y + (row + i) * yStride + column + across, block + i * kProductColumns,
                               [&](float value) { return keep * value; });
            }
            for (size_t from = 0; from < width; from += kWidth) {
                const size_t count = std::min(kWidth, width - from);
                std::fill_n(panel, count * kProductColumns, 0.0f);
                for (size_t j = 0; j < across; ++j) {
                    for (size_t k = 0; k < count; ++k) {
                        panel[k * kProductColumns + j] = factor * w[(column + j) * wStride + from + k];
                    }
                }
                std::fill_n(sums, height * kProductColumns, 0.0f);
                kernels.addProducts(x + row * xStride + from, xStride, height, panel, count, sums, kProductColumns);
                std::transform(block, block + height * kProductColumns, sums, block, std::plus<>());
            }
            for (size_t i = 0; i < height; ++i) {
                std::copy_n(block + i * kProductColumns, across, y + (row + i) * yStride + column);
            }
        }
    }
}

void multiply(size_t rows, size_t columns, size_t width, const float* x, size_t xStride, const float* w, size_t wStride,
              float keep, float* y, size_t yStride) {
    oneThreadPerCall();
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, count(rows), count(columns), count(width), 1.0f, x, count(xStride), w,
                count(wStride), keep, y, count(yStride));
}

void multiplyColumns(size_t rows, size_t columns, size_t width, const float* x, size_t xStride, const float* w, size_t wStride, float* y,
                     size_t yStride) {
    oneThreadPerCall();
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, count(rows), count(columns), count(width), 1.0f, x, count(xStride), w,
                count(wStride), 0.0f, y, count(yStride));
}

}  // namespace quantscope
