// Matrix products in float32, on the calling thread alone: OpenBLAS (or a kernel) does the arithmetic, Workers the threading. Row-major;
// `…Stride` is the distance between rows. Sizes and strides are below 2^31. Thread-safe.
#pragma once

#include <cstddef>

#include "cpu/kernels.h"

namespace quantscope {

/// y[rows, columns] = factor · x[rows, width] · w[columns, width]ᵀ + keep · y
void multiplyTransposed(size_t rows, size_t columns, size_t width, float factor, const float* x, size_t xStride, const float* w,
                        size_t wStride, float keep, float* y, size_t yStride);

/// As multiplyTransposed, and every row of y gets the same bits whatever `rows` is, which OpenBLAS does not promise.
void multiplyTransposedAlike(size_t rows, size_t columns, size_t width, float factor, const float* x, size_t xStride, const float* w,
                             size_t wStride, float keep, float* y, size_t yStride, const Kernels& kernels);

/// y[rows, columns] = x[rows, width] · w[width, columns] + keep · y
void multiply(size_t rows, size_t columns, size_t width, const float* x, size_t xStride, const float* w, size_t wStride,
              float keep, float* y, size_t yStride);

/// y[rows, columns] = x[width, rows]ᵀ · w[width, columns]
void multiplyColumns(size_t rows, size_t columns, size_t width, const float* x, size_t xStride, const float* w, size_t wStride, float* y,
                     size_t yStride);

/// Before OpenBLAS is called directly: a product runs on the thread that calls.
void oneThreadPerCall();

}  // namespace quantscope
