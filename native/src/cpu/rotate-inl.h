// Compiled once per processor level, see simd.cpp.
#if defined(QUANTSCOPE_ROTATE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef QUANTSCOPE_ROTATE_INL_H
#undef QUANTSCOPE_ROTATE_INL_H
#else
#define QUANTSCOPE_ROTATE_INL_H
#endif

#include <hwy/highway.h>

#include "cpu/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace quantscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Four loads and one vector: a gather instruction takes longer (0.38 against 0.29 ns per value, bench/ on a Zen 4 core).
inline void GatherSigned(const float* x, const uint32_t* sources, size_t n, float* target) {
    const hn::CappedTag<float, 4> d;
    const hn::RebindToUnsigned<decltype(d)> du;
    const auto signBit = hn::Set(du, 0x80000000);
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        HWY_ALIGN const float values[4] = {x[sources[i] & 0x7FFFFFFF], x[sources[i + 1] & 0x7FFFFFFF], x[sources[i + 2] & 0x7FFFFFFF],
                                           x[sources[i + 3] & 0x7FFFFFFF]};
        const auto sign = hn::And(hn::LoadU(du, sources + i), signBit);
        hn::StoreU(hn::Xor(hn::Load(d, values), hn::BitCast(d, sign)), d, target + i);
    }
    scalarKernels().gatherSigned(x, sources + i, n - i, target + i);
}

/// +1 where the lane's bit `stride` is clear, -1 where it is set.
HWY_ALIGN inline constexpr float kSigns1[16] = {1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1};
HWY_ALIGN inline constexpr float kSigns2[16] = {1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1};
HWY_ALIGN inline constexpr float kSigns4[16] = {1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1};
HWY_ALIGN inline constexpr float kSigns8[16] = {1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1};

/// Butterfly levels of strides below the vector width: one shuffle and one fused multiply-add with +-1 each, in natural order.
/// Levels of stride >= block are left out.
template <class D, class V>
HWY_INLINE V InLaneLevels(D d, V v, size_t block) {
    if (block > 1) {
        v = hn::MulAdd(v, hn::LoadU(d, kSigns1), hn::Shuffle2301(v));
    }
    if (block > 2) {
        v = hn::MulAdd(v, hn::LoadU(d, kSigns2), hn::Shuffle1032(v));
    }
#if HWY_MAX_BYTES >= 32
    if (block > 4) {
        v = hn::MulAdd(v, hn::LoadU(d, kSigns4), hn::SwapAdjacentBlocks(v));
    }
#endif
#if HWY_MAX_BYTES >= 64
    if (block > 8) {
        v = hn::MulAdd(v, hn::LoadU(d, kSigns8), hn::ConcatLowerUpper(d, v, v));
    }
#endif
    return v;
}

template <class V>
HWY_INLINE void Butterfly(V& a, V& b) {
    const V sum = hn::Add(a, b);
    b = hn::Sub(a, b);
    a = sum;
}

/// All levels inside eight consecutive vectors, kept in registers: three across the vectors, the rest inside the lanes.
template <class D>
HWY_INLINE void EightVectors(D d, float* x, hn::VFromD<D> factor) {
    const size_t lanes = hn::Lanes(d);
    hn::VFromD<D> v[8];
    for (size_t k = 0; k < 8; ++k) {
        v[k] = hn::Mul(hn::LoadU(d, x + k * lanes), factor);
    }
    for (size_t k = 0; k < 4; ++k) {
        Butterfly(v[k], v[k + 4]);
    }
    for (size_t k = 0; k < 8; k += 4) {
        Butterfly(v[k], v[k + 2]);
        Butterfly(v[k + 1], v[k + 3]);
    }
    for (size_t k = 0; k < 8; k += 2) {
        Butterfly(v[k], v[k + 1]);
    }
    for (size_t k = 0; k < 8; ++k) {
        hn::StoreU(InLaneLevels(d, v[k], 16), d, x + k * lanes);
    }
}

/// The levels of strides `stride`, 2 stride, ... below `block`, two or three per pass over the block.
template <class D>
HWY_INLINE void UpperLevels(D d, float* x, size_t stride, size_t block) {
    const size_t lanes = hn::Lanes(d);
    while (stride < block) {
        const size_t radix = stride * 8 <= block ? 8 : stride * 4 <= block ? 4 : 2;
        for (size_t base = 0; base < block; base += radix * stride) {
            for (size_t i = base; i < base + stride; i += lanes) {
                float* p = x + i;
                if (radix == 8) {
                    hn::VFromD<D> v[8];
                    for (size_t k = 0; k < 8; ++k) {
                        v[k] = hn::LoadU(d, p + k * stride);
                    }
                    for (size_t k = 0; k < 4; ++k) {
                        Butterfly(v[k], v[k + 4]);
                    }
                    for (size_t k = 0; k < 8; k += 4) {
                        Butterfly(v[k], v[k + 2]);
                        Butterfly(v[k + 1], v[k + 3]);
                    }
                    for (size_t k = 0; k < 8; k += 2) {
                        Butterfly(v[k], v[k + 1]);
                    }
                    for (size_t k = 0; k < 8; ++k) {
                        hn::StoreU(v[k], d, p + k * stride);
                    }
                } else if (radix == 4) {
                    auto a = hn::LoadU(d, p);
                    auto b = hn::LoadU(d, p + stride);
                    auto c = hn::LoadU(d, p + 2 * stride);
                    auto e = hn::LoadU(d, p + 3 * stride);
                    Butterfly(a, c);
                    Butterfly(b, e);
                    Butterfly(a, b);
                    Butterfly(c, e);
                    hn::StoreU(a, d, p);
                    hn::StoreU(b, d, p + stride);
                    hn::StoreU(c, d, p + 2 * stride);
                    hn::StoreU(e, d, p + 3 * stride);
                } else {
                    auto a = hn::LoadU(d, p);
                    auto b = hn::LoadU(d, p + stride);
                    Butterfly(a, b);
                    hn::StoreU(a, d, p);
                    hn::StoreU(b, d, p + stride);
                }
            }
        }
        stride *= radix;
    }
}

inline void Hadamard(float* x, size_t n, size_t block, float factor) {
    const hn::ScalableTag<float> d;
    const size_t lanes = hn::Lanes(d);
    const auto f = hn::Set(d, factor);
    if (block >= 8 * lanes) {
        for (size_t start = 0; start < n; start += block) {
            for (size_t i = 0; i < block; i += 8 * lanes) {
                EightVectors(d, x + start + i, f);
            }
            UpperLevels(d, x + start, 8 * lanes, block);
        }
        return;
    }
    // Small blocks: full vectors hold whole blocks or are parts of one; what is left behind the last full vector is whole blocks.
    size_t i = 0;
    for (; i + lanes <= n; i += lanes) {
        hn::StoreU(InLaneLevels(d, hn::Mul(hn::LoadU(d, x + i), f), block), d, x + i);
    }
    if (block > lanes) {
        for (size_t start = 0; start < n; start += block) {
            UpperLevels(d, x + start, lanes, block);
        }
    }
    scalarKernels().hadamard(x + i, n - i, block, factor);
}

}  // namespace HWY_NAMESPACE
}  // namespace quantscope
HWY_AFTER_NAMESPACE();

#endif
