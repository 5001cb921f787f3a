// Of OpenBLAS what the core library asks for, in plain loops: gpu.sh builds without it. Row-major.
#pragma once

using blasint = int;
enum CblasLayout { CblasRowMajor };
enum CblasTranspose { CblasNoTrans, CblasTrans };
enum CblasSide { CblasRight };
enum CblasTriangle { CblasLower };
enum CblasDiagonal { CblasNonUnit };

inline void openblas_set_num_threads(int) {}

namespace quantscope::standalone {

/// c [rows, columns] = factor a b + keep c, a [rows, width] and b [width, columns] or their transposes.
template <class T>
void gemm(CblasTranspose ofA, CblasTranspose ofB, blasint rows, blasint columns, blasint width, T factor, const T* a,
          blasint aStride, const T* b, blasint bStride, T keep,
          T* c, blasint cStride) {
    for (long i = 0; i < rows; ++i) {
        for (long j = 0; j < columns; ++j) {
            T sum = 0;
            for (long k = 0; k < width; ++k) {
                sum += (ofA == CblasNoTrans ? a[i * aStride + k] : a[k * aStride + i]) * (ofB == CblasNoTrans ? b[k * bStride + j] : b[j * bStride + k]);
            }
            T& to = c[i * cStride + j];
            to = factor * sum + (keep == T(0) ? T(0) : keep * to);
        }
    }
}

}  // namespace quantscope::standalone

inline void cblas_sgemm(CblasLayout, CblasTranspose ofA, CblasTranspose ofB, blasint rows, blasint columns, blasint width,
                        float factor, const float* a, blasint aStride,
                        const float* b, blasint bStride, float keep, float* c, blasint cStride) {
    quantscope::standalone::gemm(ofA, ofB, rows, columns, width, factor, a, aStride, b, bStride, keep, c, cStride);
}
inline void cblas_dgemm(CblasLayout, CblasTranspose ofA, CblasTranspose ofB, blasint rows, blasint columns, blasint width,
                        double factor, const double* a, blasint aStride,
                        const double* b, blasint bStride, double keep, double* c, blasint cStride) {
    quantscope::standalone::gemm(ofA, ofB, rows, columns, width, factor, a, aStride, b, bStride, keep, c, cStride);
}
/// y [rows] = factor a x + keep y.
inline void cblas_sgemv(CblasLayout, CblasTranspose, blasint rows, blasint width, float factor, const float* a, blasint aStride,
                        const float* x, blasint, float keep, float* y,
                        blasint) {
    quantscope::standalone::gemm(CblasNoTrans, CblasNoTrans, rows, 1, width, factor, a, aStride, x, 1, keep, y, 1);
}
/// b [rows, n] := b L⁻ᵀ.
inline void cblas_dtrsm(CblasLayout, CblasSide, CblasTriangle, CblasTranspose, CblasDiagonal, blasint rows, blasint n, double,
                        const double* lower, blasint stride, double* b,
                        blasint bStride) {
    for (long i = 0; i < rows; ++i) {
        for (long j = 0; j < n; ++j) {
            double value = b[i * bStride + j];
            for (long k = 0; k < j; ++k) {
                value -= b[i * bStride + k] * lower[j * stride + k];
            }
            b[i * bStride + j] = value / lower[j * stride + j];
        }
    }
}
