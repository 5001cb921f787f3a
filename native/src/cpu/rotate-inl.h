// Compiled once per processor level, see simd.cpp.
#if defined(QUANTSCOPE_ROTATE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef QUANTSCOPE_ROTATE_INL_H
#undef QUANTSCOPE_ROTATE_INL_H
#else
#define QUANTSCOPE_ROTATE_INL_H
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>

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

/// Vectors of a pass: all levels among them stay in registers, of which AVX-512 and NEON have twice as many.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr size_t kPassVectors = 16;
#else
constexpr size_t kPassVectors = 8;
#endif

/// How far ahead of a pass memory is asked for, in values.
constexpr size_t kAhead = 2048;

HWY_ALIGN inline constexpr float kOnes[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

/// (a, b) to (a + b, a - b) for vectors `kHalf` apart, then twice as far, ..., in the order of the definition.
template <size_t kHalf = 1, class D, size_t kVectors>
HWY_INLINE void Butterflies(D d, hn::VFromD<D> (&v)[kVectors]) {
    if constexpr (kHalf < kVectors) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
        const auto one = hn::Load(d, kOnes);
#endif
        for (size_t k = 0; k < kVectors; ++k) {
            if ((k & kHalf) == 0) {
                const auto sum = hn::Add(v[k], v[k + kHalf]);
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
                // Some differences go to the units for multiply-adds, which have nothing to do here; times one is exact. A sixth faster on Zen 5.
                v[k + kHalf] = k % 4 == 0 ? hn::NegMulAdd(v[k + kHalf], one, v[k]) : hn::Sub(v[k], v[k + kHalf]);
#else
                v[k + kHalf] = hn::Sub(v[k], v[k + kHalf]);
#endif
                v[k] = sum;
            }
        }
        Butterflies<2 * kHalf>(d, v);
    }
}

/// The first levels, after the factor: all inside kVectors consecutive vectors.
template <size_t kVectors, bool kAsks = false, class D>
HWY_INLINE void LowerLevels(D d, float* x, size_t n, hn::VFromD<D> factor) {
    const size_t lanes = hn::Lanes(d);
    for (size_t i = 0; i < n; i += kVectors * lanes) {
        hn::VFromD<D> v[kVectors];
        for (size_t k = 0; k < kVectors; ++k) {
            v[k] = InLaneLevels(d, hn::Mul(hn::LoadU(d, x + i + k * lanes), factor), 16);
            if (kAsks) {
                hwy::Prefetch(x + i + k * lanes + kAhead);
            }
        }
        Butterflies(d, v);
        for (size_t k = 0; k < kVectors; ++k) {
            hn::StoreU(v[k], d, x + i + k * lanes);
        }
    }
}

/// Steps of a pass with the levels of strides from `stride` up to kVectors * stride, without it: a step is one vector at each of those places.
template <size_t kVectors, class D>
HWY_INLINE void LevelsFrom(D d, float* x, size_t stride, size_t step, size_t end) {
    for (; step < end; ++step) {
        const size_t i = step * hn::Lanes(d);
        float* const p = x + (i & ~(stride - 1)) * kVectors + (i & (stride - 1));
        hn::VFromD<D> v[kVectors];
        for (size_t k = 0; k < kVectors; ++k) {
            v[k] = hn::LoadU(d, p + k * stride);
        }
        Butterflies(d, v);
        for (size_t k = 0; k < kVectors; ++k) {
            hn::StoreU(v[k], d, p + k * stride);
        }
    }
}

/// The passes for the other levels of a block, as few as there are registers for, and their steps counted through all of them.
struct UpperPasses {
    struct Pass {
        size_t vectors;
        size_t stride;
        size_t begin;
        size_t end;
    } passes[sizeof(size_t) * 8];
    size_t count = 0;
    size_t steps = 0;

    UpperPasses(size_t stride, size_t block, size_t lanes) {
        while (stride < block) {
            const size_t vectors = std::min(kPassVectors, block / stride);
            const size_t end = steps + block / (vectors * lanes);
            passes[count++] = {vectors, stride, steps, end};
            steps = end;
            stride *= vectors;
        }
    }

    template <class D>
    HWY_INLINE void run(D d, float* x, size_t from, size_t to) const {
        for (const Pass* pass = passes; pass != passes + count && pass->begin < to; ++pass) {
            if (from < pass->end) {
                const size_t step = std::max(from, pass->begin) - pass->begin;
                const size_t end = std::min(to, pass->end) - pass->begin;
                switch (pass->vectors) {
                    case 2: LevelsFrom<2>(d, x, pass->stride, step, end); break;
                    case 4: LevelsFrom<4>(d, x, pass->stride, step, end); break;
                    case 8: LevelsFrom<8>(d, x, pass->stride, step, end); break;
                    default: LevelsFrom<kPassVectors>(d, x, pass->stride, step, end); break;
                }
            }
        }
    }
};

/// Blocks beyond one pass: while one goes through its other passes, in the first-level cache, the first pass over the next goes on in between, so that
/// memory never waits for arithmetic. What comes next is asked for by hand: the passes in between hide from the processor that it is a stream.
template <class D>
HWY_INLINE void LargeBlocks(D d, float* x, size_t n, size_t block, hn::VFromD<D> factor) {
    const size_t base = kPassVectors * hn::Lanes(d);
    const size_t piece = std::min(block, std::max<size_t>(base, 256));
    const UpperPasses upper(base, block, hn::Lanes(d));
    const size_t each = upper.steps / (block / piece);  // a whole number: both are powers of two, and a step is at most a piece
    for (size_t start = 0; start <= n; start += block) {
        for (size_t i = 0, step = 0; i < block; i += piece, step += each) {
            if (start < n) {
                LowerLevels<kPassVectors, true>(d, x + start + i, piece, factor);
            }
            if (start > 0) {
                upper.run(d, x + start - block, step, step + each);
            }
        }
    }
}

inline void Hadamard(float* x, size_t n, size_t block, float factor) {
    const hn::ScalableTag<float> d;
    const size_t lanes = hn::Lanes(d);
    const auto f = hn::Set(d, factor);
    if (block > lanes) {
        switch (block / lanes) {
            case 2: return LowerLevels<2>(d, x, n, f);
            case 4: return LowerLevels<4>(d, x, n, f);
            case 8: return LowerLevels<8>(d, x, n, f);
            // Between the loads of sixteen vectors is too much work for the processor to look ahead by itself.
            case kPassVectors == 8 ? 0 : kPassVectors: return LowerLevels<kPassVectors, true>(d, x, n, f);
            default: return LargeBlocks(d, x, n, block, f);
        }
    }
    // Full vectors hold whole blocks; what is left behind the last one is whole blocks.
    size_t i = 0;
    for (; i + lanes <= n; i += lanes) {
        hn::StoreU(InLaneLevels(d, hn::Mul(hn::LoadU(d, x + i), f), block), d, x + i);
    }
    scalarKernels().hadamard(x + i, n - i, block, factor);
}

}  // namespace HWY_NAMESPACE
}  // namespace quantscope
HWY_AFTER_NAMESPACE();

#endif
