// Compiled once per processor level, see simd.cpp.
#if defined(QUANTSCOPE_ACTIVATION_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef QUANTSCOPE_ACTIVATION_INL_H
#undef QUANTSCOPE_ACTIVATION_INL_H
#else
#define QUANTSCOPE_ACTIVATION_INL_H
#endif

#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

#include <algorithm>

#include "cpu/kernels.h"
#include "cpu/reduce-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quantscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// y = f(x) for every full vector; the scalar twin finishes the tail.
template <class Function>
HWY_INLINE void MapVectors(const float* x, float* y, size_t n, void (*tail)(const float*, float*, size_t), Function function) {
    const hn::ScalableTag<float> d;
    const size_t lanes = hn::Lanes(d);
    size_t i = 0;
    for (; i + lanes <= n; i += lanes) {
        hn::StoreU(function(hn::LoadU(d, x + i)), d, y + i);
    }
    tail(x + i, y + i, n - i);
}

/// v / (1 + exp(-u)). The exponent stays below 88, where exp leaves float32: the quotient is 0 to 37 digits there.
template <class V>
HWY_INLINE V Gated(V v, V u) {
    const hn::ScalableTag<float> d;
    const auto power = hn::Exp(d, hn::Min(hn::Neg(u), hn::Set(d, 88.0f)));
    return hn::Div(v, hn::Add(hn::Set(d, 1.0f), power));
}

inline void Silu(const float* x, float* y, size_t n) {
    MapVectors(x, y, n, scalarKernels().silu, [](auto v) HWY_ATTR { return Gated(v, v); });
}

inline void GeluTanh(const float* x, float* y, size_t n) {
    MapVectors(x, y, n, scalarKernels().geluTanh, [](auto v) HWY_ATTR {
        const hn::ScalableTag<float> d;
        // 2 sqrt(2/pi) (v + 0.044715 v^3)
        const auto cubic = hn::MulAdd(hn::Mul(v, v), hn::Set(d, 0.071354816f), hn::Set(d, 1.5957691f));
        return Gated(v, hn::Mul(v, cubic));
    });
}

inline void Tanh(const float* x, float* y, size_t n) {
    MapVectors(x, y, n, scalarKernels().tanh, [](auto v) HWY_ATTR {
        const hn::ScalableTag<float> d;
        return hn::Tanh(d, v);
    });
}

inline double ExpSum(float* x, size_t n, float shift) {
    const hn::ScalableTag<float> d;
    const size_t lanes = hn::Lanes(d);
    const auto offset = hn::Set(d, shift);
    double sum = 0;
    size_t i = 0;
    while (i + lanes <= n) {
        const size_t run = std::min(n - i, kRun) / lanes * lanes;
        auto partial = hn::Zero(d);
        for (const size_t end = i + run; i < end; i += lanes) {
            const auto power = hn::Exp(d, hn::Sub(hn::LoadU(d, x + i), offset));
            hn::StoreU(power, d, x + i);
            partial = hn::Add(partial, power);
        }
        sum += Total(d, partial);
    }
    return sum + scalarKernels().expSum(x + i, n - i, shift);
}

}  // namespace HWY_NAMESPACE
}  // namespace quantscope
HWY_AFTER_NAMESPACE();

#endif
