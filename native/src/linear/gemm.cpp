#include "linear/gemm.h"

#include <cblas.h>

namespace quantscope {

namespace {

blasint count(size_t n) { return static_cast<blasint>(n); }

/// A product runs on the thread that calls. Asked for at the first product and not by a static initialiser, which could run
/// before OpenBLAS's own.
void oneThreadPerCall() {
    static const bool done = (openblas_set_num_threads(1), true);
    static_cast<void>(done);
}

}  // namespace

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

void multiply(size_t rows, size_t columns, size_t width, const float* x, size_t xStride, const float* w, size_t wStride,
              float keep, float* y, size_t yStride) {
    oneThreadPerCall();
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, count(rows), count(columns), count(width), 1.0f, x, count(xStride), w,
                count(wStride), keep, y, count(yStride));
}

}  // namespace quantscope
