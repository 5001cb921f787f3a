#include "linear/gemm.h"

#include <cblas.h>

#include <algorithm>

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
                             size_t wStride, float keep, float* y, size_t yStride, float* spare) {
    const size_t whole = rows / kAlikeRows * kAlikeRows;
    if (whole > 0) {
        multiplyTransposed(whole, columns, width, factor, x, xStride, w, wStride, keep, y, yStride);
    }
    if (whole == rows) {
        return;
    }
    float* const filled = spare + kAlikeRows * width;
    std::fill_n(spare, kAlikeRows * (width + columns), 0.0f);
    for (size_t i = whole; i < rows; ++i) {
        std::copy_n(x + i * xStride, width, spare + (i - whole) * width);
        if (keep != 0.0f) {
            std::copy_n(y + i * yStride, columns, filled + (i - whole) * columns);
        }
    }
    multiplyTransposed(kAlikeRows, columns, width, factor, spare, width, w, wStride, keep, filled, columns);
    for (size_t i = whole; i < rows; ++i) {
        std::copy_n(filled + (i - whole) * columns, columns, y + i * yStride);
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
