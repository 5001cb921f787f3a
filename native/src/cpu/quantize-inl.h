// Compiled once per processor level, see simd.cpp.
#if defined(QUANTSCOPE_QUANTIZE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef QUANTSCOPE_QUANTIZE_INL_H
#undef QUANTSCOPE_QUANTIZE_INL_H
#else
#define QUANTSCOPE_QUANTIZE_INL_H
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

/// Sum of error(v)^2 over full vectors, two at a time; `done` receives how many values that covered.
template <class ErrorOf>
HWY_INLINE double SumSquaredErrors(const float* x, size_t n, size_t& done, ErrorOf errorOf) {
    const hn::ScalableTag<float> d;
    const size_t lanes = hn::Lanes(d);
    double sum = 0;
    size_t i = 0;
    while (i + lanes <= n) {
        const size_t end = std::min(n, i + kRun);
        auto a = hn::Zero(d);
        auto b = hn::Zero(d);
        for (; i + 2 * lanes <= end; i += 2 * lanes) {
            const auto e0 = errorOf(hn::LoadU(d, x + i));
            const auto e1 = errorOf(hn::LoadU(d, x + i + lanes));
            a = hn::MulAdd(e0, e0, a);
            b = hn::MulAdd(e1, e1, b);
        }
        if (i + lanes <= end) {
            const auto e0 = errorOf(hn::LoadU(d, x + i));
            a = hn::MulAdd(e0, e0, a);
            i += lanes;
        }
        sum += Total(d, hn::Add(a, b));
    }
    done = i;
    return sum;
}

/// The level nearest to a magnitude for kSize levels in one register: a binary search whose every step is a table look-up.
template <uint32_t kSize, class D>
struct RegisterLevels {
    using V = hn::VFromD<D>;
    D d;
    V levels;
    V thresholds;

    RegisterLevels(D tag, const LevelTable& table)
        : d(tag), levels(hn::LoadU(tag, table.levels.data())), thresholds(hn::LoadU(tag, table.thresholds.data())) {}

    HWY_INLINE V operator()(V magnitude) const {
        const hn::RebindToSigned<D> di;
        auto index = hn::Zero(di);
        for (uint32_t step = kSize / 2; step > 0; step /= 2) {
            const auto probe = hn::Add(index, hn::Set(di, static_cast<int32_t>(step) - 1));
            const auto threshold = hn::TableLookupLanes(thresholds, hn::IndicesFromVec(d, probe));
            const auto above = hn::RebindMask(di, hn::Ge(magnitude, threshold));
            index = hn::Add(index, hn::IfThenElseZero(above, hn::Set(di, static_cast<int32_t>(step))));
        }
        return hn::TableLookupLanes(levels, hn::IndicesFromVec(d, index));
    }
};

template <uint32_t kSize>
HWY_INLINE double RegisterError(const float* x, size_t n, float scale, float ratio, const LevelTable& table, size_t& done) {
    const hn::ScalableTag<float> d;
    const auto factor = hn::Set(d, scale);
    const auto shrink = hn::Set(d, ratio);
    const RegisterLevels<kSize, decltype(d)> nearest(d, table);
    return SumSquaredErrors(x, n, done, [&](auto v) HWY_ATTR {
        const auto magnitude = hn::Mul(hn::Abs(v), factor);
        return hn::NegMulAdd(shrink, nearest(magnitude), magnitude);
    });
}

/// Larger tables: a cell holds at most one threshold, so the level is the nearer one of two candidates, copied cell by cell in
/// scalar code. A gather instruction would do the same in more time (1.6 against 0.6 ns per value, bench/ on a Zen 4 core).
inline double CellError(const float* x, size_t n, float scale, float ratio, const LevelTable& table, size_t& done) {
    const hn::ScalableTag<float> d;
    const hn::RebindToSigned<decltype(d)> di;
    const size_t lanes = hn::Lanes(d);
    const auto factor = hn::Set(d, scale);
    const auto shrink = hn::Set(d, ratio);
    const auto perUnit = hn::Set(d, table.cellsPerUnit);
    const auto last = hn::Set(d, static_cast<float>(table.candidates.size() - 1));
    constexpr size_t kPiece = 256;
    HWY_ALIGN int32_t cells[kPiece];
    HWY_ALIGN LevelPair pairs[kPiece];
    double sum = 0;
    size_t i = 0;
    while (i + lanes <= n) {
        const size_t piece = std::min(n - i, kPiece) / lanes * lanes;
        for (size_t k = 0; k < piece; k += lanes) {
            const auto magnitude = hn::Mul(hn::Abs(hn::LoadU(d, x + i + k)), factor);
            hn::Store(hn::ConvertTo(di, hn::Min(hn::Mul(magnitude, perUnit), last)), di, cells + k);
        }
        for (size_t k = 0; k < piece; ++k) {
            pairs[k] = table.candidates[static_cast<size_t>(cells[k])];
        }
        auto squares = hn::Zero(d);
        for (size_t k = 0; k < piece; k += lanes) {
            const auto magnitude = hn::Mul(hn::Abs(hn::LoadU(d, x + i + k)), factor);
            hn::VFromD<decltype(d)> lower;
            hn::VFromD<decltype(d)> upper;
            hn::LoadInterleaved2(d, &pairs[k].lower, lower, upper);
            const auto isUpper = hn::Ge(hn::Sub(magnitude, lower), hn::Sub(upper, magnitude));
            const auto error = hn::NegMulAdd(shrink, hn::IfThenElse(isUpper, upper, lower), magnitude);
            squares = hn::MulAdd(error, error, squares);
        }
        sum += Total(d, squares);
        i += piece;
    }
    done = i;
    return sum;
}

inline double CodebookError(const float* x, size_t n, float scale, float ratio, const LevelTable& table) {
    size_t done = 0;
    double sum = 0;
    if (table.size > hn::Lanes(hn::ScalableTag<float>())) {
        sum = CellError(x, n, scale, ratio, table, done);
    } else {
        switch (table.size) {
            case 1: sum = RegisterError<1>(x, n, scale, ratio, table, done); break;
            case 2: sum = RegisterError<2>(x, n, scale, ratio, table, done); break;
            case 4: sum = RegisterError<4>(x, n, scale, ratio, table, done); break;
            case 8: sum = RegisterError<8>(x, n, scale, ratio, table, done); break;
            default: sum = RegisterError<16>(x, n, scale, ratio, table, done); break;
        }
    }
    return sum + scalarKernels().codebookError(x + done, n - done, scale, ratio, table);
}

inline double IntegerError(const float* x, size_t n, const IntegerGrid& grid) {
    const hn::ScalableTag<float> d;
    const auto scale = hn::Set(d, grid.scale);
    const auto lowest = hn::Set(d, grid.lowest);
    const auto highest = hn::Set(d, grid.highest);
    size_t done = 0;
    const double sum = SumSquaredErrors(x, n, done, [&](auto v) HWY_ATTR {
        // Clamping first keeps the rounding in the integer range of every level; the bounds are integers, so the result is the same.
        const auto q = hn::Round(hn::Min(hn::Max(hn::Div(v, scale), lowest), highest));
        return hn::NegMulAdd(q, scale, v);
    });
    return sum + scalarKernels().integerError(x + done, n - done, grid);
}

inline double ClipError(const float* x, size_t n, const IntegerGrid& grid) {
    const hn::ScalableTag<float> d;
    const auto scale = hn::Set(d, grid.scale);
    const auto lowest = hn::Set(d, grid.lowest);
    const auto highest = hn::Set(d, grid.highest);
    const auto least = hn::Set(d, 1e-20f);  // stands for 0, which has no logarithm: its power vanishes beside any other
    const auto power = hn::Set(d, 1.2f);
    size_t done = 0;
    const double sum = SumSquaredErrors(x, n, done, [&](auto v) HWY_ATTR {
        const auto q = hn::Round(hn::Min(hn::Max(hn::Div(v, scale), lowest), highest));
        const auto error = hn::Max(hn::Abs(hn::NegMulAdd(q, scale, v)), least);
        return hn::Exp(d, hn::Mul(power, hn::Log(d, error)));  // its square is the 2.4th power
    });
    return sum + scalarKernels().clipError(x + done, n - done, grid);
}

/// Float bits rounded to nearest even with the lowest `kDropped` mantissa bits cleared.
template <int kDropped, class DU, class V>
HWY_INLINE V DropBits(DU du, V bits) {
    const auto odd = hn::And(hn::ShiftRight<kDropped>(bits), hn::Set(du, 1));
    const auto bias = hn::Add(odd, hn::Set(du, (1u << (kDropped - 1)) - 1));
    return hn::ShiftLeft<kDropped>(hn::ShiftRight<kDropped>(hn::Add(bits, bias)));
}

inline double CastError(const float* x, size_t n, FloatType type) {
    const hn::ScalableTag<float> d;
    const hn::RebindToUnsigned<decltype(d)> du;
    if (type == FloatType::Fp32) {
        return 0;
    }
    size_t done = 0;
    double sum = 0;
    if (type == FloatType::Bf16) {
        const auto largest = hn::Set(d, 0x1.FEp127f);
        sum = SumSquaredErrors(x, n, done, [&](auto v) HWY_ATTR {
            const auto magnitude = hn::Abs(v);
            return hn::Sub(magnitude, hn::Min(hn::BitCast(d, DropBits<16>(du, hn::BitCast(du, magnitude))), largest));
        });
    } else {
        const auto largest = hn::Set(d, 65504.0f);
        const auto smallestNormal = hn::Set(d, 0x1p-14f);
        const auto anchor = hn::Set(d, 0.5f);  // its last bit is 2^-24, the step of the subnormals
        sum = SumSquaredErrors(x, n, done, [&](auto v) HWY_ATTR {
            const auto magnitude = hn::Abs(v);
            const auto normal = hn::Min(hn::BitCast(d, DropBits<13>(du, hn::BitCast(du, magnitude))), largest);
            const auto subnormal = hn::Sub(hn::Add(magnitude, anchor), anchor);
            return hn::Sub(magnitude, hn::IfThenElse(hn::Lt(magnitude, smallestNormal), subnormal, normal));
        });
    }
    return sum + scalarKernels().castError(x + done, n - done, type);
}

}  // namespace HWY_NAMESPACE
}  // namespace quantscope
HWY_AFTER_NAMESPACE();

#endif
