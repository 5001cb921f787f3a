// Compiled once per processor level, see simd.cpp.
#if defined(QUANTSCOPE_PRODUCT_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef QUANTSCOPE_PRODUCT_INL_H
#undef QUANTSCOPE_PRODUCT_INL_H
#else
#define QUANTSCOPE_PRODUCT_INL_H
#endif

#include <hwy/highway.h>

#include "cpu/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace quantscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// kRows rows of y stay in registers while the panel goes by. However many rows there are, each is added up in the same order.
template <size_t kRows>
HWY_INLINE void AddRows(const float* x, size_t xStride, const float* panel, size_t width, float* y, size_t yStride) {
    const hn::CappedTag<float, kProductColumns> d;
    constexpr size_t kLanes = hn::MaxLanes(d);
    constexpr size_t kVectors = kProductColumns / kLanes;
    hn::VFromD<decltype(d)> sums[kRows][kVectors];
    for (size_t i = 0; i < kRows; ++i) {
        for (size_t v = 0; v < kVectors; ++v) {
            sums[i][v] = hn::LoadU(d, y + i * yStride + v * kLanes);
        }
    }
    for (size_t k = 0; k < width; ++k) {
        for (size_t i = 0; i < kRows; ++i) {
            const auto factor = hn::Set(d, x[i * xStride + k]);
            for (size_t v = 0; v < kVectors; ++v) {
                sums[i][v] = hn::MulAdd(factor, hn::LoadU(d, panel + k * kProductColumns + v * kLanes), sums[i][v]);
            }
        }
    }
    for (size_t i = 0; i < kRows; ++i) {
        for (size_t v = 0; v < kVectors; ++v) {
            hn::StoreU(sums[i][v], d, y + i * yStride + v * kLanes);
        }
    }
}

inline void AddProducts(const float* x, size_t xStride, size_t rows, const float* panel, size_t width, float* y, size_t yStride) {
    // Twelve sums: enough to hide the latency of a multiply-add, and they fit into the registers of every level.
    constexpr size_t kRows = 12 * hn::MaxLanes(hn::CappedTag<float, kProductColumns>()) / kProductColumns;
    size_t i = 0;
    for (; i + kRows <= rows; i += kRows) {
        AddRows<kRows>(x + i * xStride, xStride, panel, width, y + i * yStride, yStride);
    }
    for (; i < rows; ++i) {
        AddRows<1>(x + i * xStride, xStride, panel, width, y + i * yStride, yStride);
    }
}

}  // namespace HWY_NAMESPACE
}  // namespace quantscope
HWY_AFTER_NAMESPACE();

#endif
