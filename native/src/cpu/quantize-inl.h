// Compiled once per processor level, see simd.cpp.
#if defined(QUANTSCOPE_QUANTIZE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef QUANTSCOPE_QUANTIZE_INL_H
#undef QUANTSCOPE_QUANTIZE_INL_H
#else
#define QUANTSCOPE_QUANTIZE_INL_H
#endif

#include <hwy/highway.h>

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

/// The level nearest to a magnitude, for tables that fit one register: a binary search whose every step is a table look-up.
template <class D>
struct RegisterLevels {
    using V = hn::VFromD<D>;
    using VI = hn::VFromD<hn::RebindToSigned<D>>;
    D d;
    hn::RebindToSigned<D> di;
    V levels;
    V thresholds;
    uint32_t size;

    RegisterLevels(D tag, const LevelTable& table)
        : d(tag), levels(hn::LoadU(tag, table.levels.data())), thresholds(hn::LoadU(tag, table.thresholds.data())), size(table.size) {}

    HWY_INLINE V operator()(V magnitude) const {
        auto index = hn::Zero(di);
        for (uint32_t step = size / 2; step > 0; step /= 2) {
            const auto probe = hn::Add(index, hn::Set(di, static_cast<int32_t>(step) - 1));
            const auto threshold = hn::TableLookupLanes(thresholds, hn::IndicesFromVec(d, probe));
            index = hn::IfThenElse(hn::RebindMask(di, hn::Ge(magnitude, threshold)), hn::Add(index, hn::Set(di, static_cast<int32_t>(step))), index);
        }
        return hn::TableLookupLanes(levels, hn::IndicesFromVec(d, index));
    }
};

/// The level nearest to a magnitude through the table's cells: two gathers and a comparison.
template <class D>
struct CellLevels {
    using V = hn::VFromD<D>;
    D d;
    hn::RebindToSigned<D> di;
    const LevelTable& table;
    V perUnit;
    V last;

    CellLevels(D tag, const LevelTable& levels)
        : d(tag), table(levels), perUnit(hn::Set(tag, levels.cellsPerUnit)), last(hn::Set(tag, static_cast<float>(levels.starts.size() - 1))) {}

    HWY_INLINE V operator()(V magnitude) const {
        const auto cell = hn::ConvertTo(di, hn::Min(hn::Mul(magnitude, perUnit), last));
        const auto start = hn::GatherIndex(di, table.starts.data(), cell);
        const auto threshold = hn::GatherIndex(d, table.thresholds.data(), start);
        const auto above = hn::VecFromMask(di, hn::RebindMask(di, hn::Ge(magnitude, threshold)));  // -1 where true
        return hn::GatherIndex(d, table.levels.data(), hn::Sub(start, above));
    }
};

inline double CodebookError(const float* x, size_t n, float scale, float ratio, const LevelTable& table) {
    const hn::ScalableTag<float> d;
    const auto factor = hn::Set(d, scale);
    const auto shrink = hn::Set(d, ratio);
    const auto sumWith = [&](const auto& nearest, size_t& done) {
        return SumSquaredErrors(x, n, done, [&](auto v) HWY_ATTR {
            const auto magnitude = hn::Mul(hn::Abs(v), factor);
            return hn::NegMulAdd(shrink, nearest(magnitude), magnitude);
        });
    };
    size_t done = 0;
    const double sum = table.size <= hn::Lanes(d) ? sumWith(RegisterLevels<decltype(d)>(d, table), done)
                                                  : sumWith(CellLevels<decltype(d)>(d, table), done);
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
