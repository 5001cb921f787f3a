// Compiled once per processor level, see simd.cpp.
#if defined(QUANTSCOPE_INTEGER_PRODUCT_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef QUANTSCOPE_INTEGER_PRODUCT_INL_H
#undef QUANTSCOPE_INTEGER_PRODUCT_INL_H
#else
#define QUANTSCOPE_INTEGER_PRODUCT_INL_H
#endif

#include <hwy/highway.h>

#include "integer/kernels.h"

HWY_BEFORE_NAMESPACE();
#if HWY_TARGET == HWY_AVX3_DL
HWY_PRAGMA(GCC target "avx512vnni")
#endif
namespace quantscope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// 64 bytes hold one step of a panel: kVectors vectors of any of these.
using Bytes = hn::CappedTag<uint8_t, 64>;
using Words = hn::Repartition<int16_t, Bytes>;
using Longs = hn::Repartition<int32_t, Bytes>;
using Floats = hn::Repartition<float, Bytes>;
constexpr size_t kLanes = hn::MaxLanes(Longs());  ///< columns of one vector
constexpr size_t kVectors = kPanelColumns / kLanes;

/// Sums in registers: rows * kVectors, with room for a step of the panel and a row of x.
#if HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_AVX3
constexpr size_t kTileRows = 12;
#elif HWY_TARGET == HWY_AVX2
constexpr size_t kTileRows = 6;
#elif HWY_TARGET == HWY_NEON
constexpr size_t kTileRows = 4;
#else
constexpr size_t kTileRows = 2;
#endif

// The instructions that Highway has no name for.
#if HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_AVX3
HWY_INLINE hn::VFromD<Words> PairsOfBytes(hn::VFromD<Bytes> w, hn::VFromD<Bytes> x) { return hn::VFromD<Words>{_mm512_maddubs_epi16(w.raw, x.raw)}; }
HWY_INLINE hn::VFromD<Longs> PairsOfWords(hn::VFromD<Words> a, hn::VFromD<Words> b) { return hn::VFromD<Longs>{_mm512_madd_epi16(a.raw, b.raw)}; }
#elif HWY_TARGET == HWY_AVX2
HWY_INLINE hn::VFromD<Words> PairsOfBytes(hn::VFromD<Bytes> w, hn::VFromD<Bytes> x) { return hn::VFromD<Words>{_mm256_maddubs_epi16(w.raw, x.raw)}; }
HWY_INLINE hn::VFromD<Longs> PairsOfWords(hn::VFromD<Words> a, hn::VFromD<Words> b) { return hn::VFromD<Longs>{_mm256_madd_epi16(a.raw, b.raw)}; }
#elif HWY_ARCH_X86
HWY_INLINE hn::VFromD<Words> PairsOfBytes(hn::VFromD<Bytes> w, hn::VFromD<Bytes> x) { return hn::VFromD<Words>{_mm_maddubs_epi16(w.raw, x.raw)}; }
HWY_INLINE hn::VFromD<Longs> PairsOfWords(hn::VFromD<Words> a, hn::VFromD<Words> b) { return hn::VFromD<Longs>{_mm_madd_epi16(a.raw, b.raw)}; }
#elif HWY_ARCH_ARM_A64
HWY_INLINE hn::VFromD<Words> PairsOfBytes(hn::VFromD<Bytes> w, hn::VFromD<Bytes> x) {
    const auto low = vmulq_s16(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(w.raw))), vmovl_s8(vget_low_s8(vreinterpretq_s8_u8(x.raw))));
    const auto high = vmulq_s16(vreinterpretq_s16_u16(vmovl_high_u8(w.raw)), vmovl_high_s8(vreinterpretq_s8_u8(x.raw)));
    return hn::VFromD<Words>(vpaddq_s16(low, high));
}
HWY_INLINE hn::VFromD<Longs> PairsOfWords(hn::VFromD<Words> a, hn::VFromD<Words> b) {
    return hn::VFromD<Longs>(vpaddq_s32(vmull_s16(vget_low_s16(a.raw), vget_low_s16(b.raw)), vmull_high_s16(a.raw, b.raw)));
}
#endif

/// sum += value, where it stands and in this order. Left to itself, GCC loads all rows of a step first, has no registers left for the sums, and copies
/// them when it is only told the order.
template <class D>
HWY_INLINE void AddTo(D, hn::VFromD<D>& sum, hn::VFromD<D> value) {
#if HWY_COMPILER_GCC && (HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL)
    if constexpr (sizeof(hn::TFromD<D>) == 2) {
        __asm__ volatile("vpaddw %1, %0, %0" : "+v"(sum.raw) : "v"(value.raw));
    } else {
        __asm__ volatile("vpaddd %1, %0, %0" : "+v"(sum.raw) : "v"(value.raw));
    }
#else
    sum = hn::Add(sum, value);
#endif
}

/// Neighbouring words added up.
HWY_INLINE hn::VFromD<Longs> Widen(hn::VFromD<Words> sums) {
#if HWY_ARCH_ARM_A64
    return hn::VFromD<Longs>(vpaddlq_s16(sums.raw));
#else
    return PairsOfWords(sums, hn::Set(Words(), int16_t{1}));
#endif
}

/// Widen() with its ones in memory: beside twelve sums, AVX2 has no register left for them, and a compiler that sees a constant takes one.
HWY_INLINE hn::VFromD<Longs> WidenAmongSums(hn::VFromD<Words> sums) {
#if HWY_COMPILER_GCC && HWY_TARGET == HWY_AVX2
    HWY_ALIGN static constexpr int16_t kOnes[hn::MaxLanes(Words())] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    hn::VFromD<Longs> result;
    __asm__("vpmaddwd %2, %1, %0" : "=v"(result.raw) : "v"(sums.raw), "m"(kOnes));
    return result;
#else
    return Widen(sums);
#endif
}

#if HWY_TARGET == HWY_AVX3_DL
/// sum += the products of four bytes, or of two words, at once; for the order see AddTo().
HWY_INLINE void AddProductsTo(hn::VFromD<Longs>& sum, hn::VFromD<Bytes> w, hn::VFromD<Bytes> x) {
#if HWY_COMPILER_GCC
    __asm__ volatile("vpdpbusd %2, %1, %0" : "+v"(sum.raw) : "v"(w.raw), "v"(x.raw));
#else
    sum.raw = _mm512_dpbusd_epi32(sum.raw, w.raw, x.raw);
#endif
}
HWY_INLINE void AddProductsTo(hn::VFromD<Longs>& sum, hn::VFromD<Words> w, hn::VFromD<Words> x) {
#if HWY_COMPILER_GCC
    __asm__ volatile("vpdpwssd %2, %1, %0" : "+v"(sum.raw) : "v"(w.raw), "v"(x.raw));
#else
    sum.raw = _mm512_dpwssd_epi32(sum.raw, w.raw, x.raw);
#endif
}
#else
HWY_INLINE void AddProductsTo(hn::VFromD<Longs>& sum, hn::VFromD<Bytes> w, hn::VFromD<Bytes> x) { AddTo(Longs(), sum, WidenAmongSums(PairsOfBytes(w, x))); }
HWY_INLINE void AddProductsTo(hn::VFromD<Longs>& sum, hn::VFromD<Words> w, hn::VFromD<Words> x) { AddTo(Longs(), sum, PairsOfWords(w, x)); }
#endif

template <size_t kRows>
using Sums = hn::VFromD<Longs>[kRows][kVectors];

/// add(row of x, vector of the panel, sum) for every step, row and vector; the sums are kept in registers and handed to take(i, v, sum) at the end.
template <size_t kRows, class D, class DSum, class Add, class Take>
HWY_INLINE void ForSteps(D d, DSum dSum, const void* x, const void* panel, size_t steps, Add add, Take take) {
    constexpr size_t kStep = 4;  // bytes of a row of x, and of a column
    const auto* row = static_cast<const uint8_t*>(x);
    const auto* columns = static_cast<const uint8_t*>(panel);
    hn::VFromD<DSum> sums[kRows][kVectors];
    for (auto& ofRow : sums) {
        for (auto& sum : ofRow) {
            sum = hn::Zero(dSum);
        }
    }
    for (size_t step = 0; step < steps; ++step, row += kRows * kStep, columns += kPanelColumns * kStep) {
        hn::VFromD<D> w[kVectors];
        for (size_t v = 0; v < kVectors; ++v) {
            w[v] = hn::BitCast(d, hn::Load(Bytes(), columns + v * hn::MaxLanes(Bytes())));
        }
        for (size_t i = 0; i < kRows; ++i) {
            int32_t values;
            __builtin_memcpy(&values, row + i * kStep, kStep);
            const auto all = hn::BitCast(d, hn::Set(Longs(), values));
            for (size_t v = 0; v < kVectors; ++v) {
                add(all, w[v], sums[i][v]);
            }
        }
    }
    for (size_t i = 0; i < kRows; ++i) {
        for (size_t v = 0; v < kVectors; ++v) {
            take(i, v, sums[i][v]);
        }
    }
}

/// sums += the products of bytes, through 32 bits at every step.
template <size_t kRows>
HWY_INLINE void AddBytesAtOnce(const int8_t* x, const uint8_t* panel, size_t steps, Sums<kRows>& sums) {
    const auto add = [](hn::VFromD<Bytes> row, hn::VFromD<Bytes> w, hn::VFromD<Longs>& sum) HWY_ATTR { AddProductsTo(sum, w, row); };
    ForSteps<kRows>(Bytes(), Longs(), x, panel, steps, add,
                    [&](size_t i, size_t v, hn::VFromD<Longs> sum) HWY_ATTR { sums[i][v] = hn::Add(sums[i][v], sum); });
}

/// The same through 16 bits, which hold the sums of so many steps.
template <size_t kRows>
HWY_INLINE void AddBytesLate(const int8_t* x, const uint8_t* panel, size_t steps, Sums<kRows>& sums) {
    const auto add = [](hn::VFromD<Bytes> row, hn::VFromD<Bytes> w, hn::VFromD<Words>& sum) HWY_ATTR { AddTo(Words(), sum, PairsOfBytes(w, row)); };
    ForSteps<kRows>(Bytes(), Words(), x, panel, steps, add,
                    [&](size_t i, size_t v, hn::VFromD<Words> sum) HWY_ATTR { sums[i][v] = hn::Add(sums[i][v], Widen(sum)); });
}

template <size_t kRows>
HWY_INLINE void AddWords(const int16_t* x, const int16_t* panel, size_t steps, Sums<kRows>& sums) {
    const auto add = [](hn::VFromD<Words> row, hn::VFromD<Words> w, hn::VFromD<Longs>& sum) HWY_ATTR { AddProductsTo(sum, w, row); };
    ForSteps<kRows>(Words(), Longs(), x, panel, steps, add,
                    [&](size_t i, size_t v, hn::VFromD<Longs> sum) HWY_ATTR { sums[i][v] = hn::Add(sums[i][v], sum); });
}

/// Where the sums of a group start: at its extra steps.
template <size_t kRows>
HWY_NOINLINE void AddExtra(const ProductTile& tile, size_t g, Sums<kRows>& sums) {
    const Bytes d;
    const Longs d32;
    const auto* const panel = static_cast<const uint8_t*>(tile.panel);
    const size_t end = tile.extraEnds[g];
    for (size_t e = g == 0 ? 0 : tile.extraEnds[g - 1]; e < end;) {
        const uint32_t row = tile.extra[e].row;
        hn::VFromD<Longs> ofRow[kVectors];
        for (auto& sum : ofRow) {
            sum = hn::Zero(d32);
        }
        for (; e < end && tile.extra[e].row == row; ++e) {  // a row's steps stand together
            const uint8_t* const columns = panel + tile.extra[e].step * kPanelColumns * kByteDepth;
            int32_t four;
            __builtin_memcpy(&four, tile.extra[e].x, sizeof(four));
            for (size_t v = 0; v < kVectors; ++v) {
                const auto pairs = PairsOfBytes(hn::Load(d, columns + v * hn::MaxLanes(d)), hn::BitCast(d, hn::Set(d32, four)));
                ofRow[v] = hn::Add(ofRow[v], Widen(pairs));
            }
        }
        for (size_t v = 0; v < kVectors; ++v) {
            sums[row][v] = hn::Add(sums[row][v], ofRow[v]);
        }
    }
}

enum class Operands { Words, Bytes, SplitBytes };

/// Groups one after the other; `add` adds the products of a group to its sums.
template <size_t kRows, Operands kOperands, class AddGroup>
HWY_INLINE void ForGroups(const ProductTile& tile, AddGroup add) {
    const Floats df;
    const Longs d32;
    HWY_ALIGN float totals[kRows][kPanelColumns] = {};
    for (size_t g = 0; g < tile.groups; ++g) {
        Sums<kRows> sums;
        for (auto& row : sums) {
            for (auto& value : row) {
                value = hn::Zero(d32);
            }
        }
        if constexpr (kOperands == Operands::SplitBytes) {
            AddExtra<kRows>(tile, g, sums);
        }
        add(g, sums);
        for (size_t i = 0; i < kRows; ++i) {
            const auto xScale = hn::Set(df, tile.xScales[g * kRows + i]);
            for (size_t v = 0; v < kVectors; ++v) {
                const size_t column = g * kPanelColumns + v * kLanes;
                auto sum = sums[i][v];
                if constexpr (kOperands != Operands::Words) {
                    sum = hn::Add(sum, hn::Mul(hn::LoadU(d32, tile.lowest + column), hn::Set(d32, tile.xSums[g * kRows + i])));
                }
                const auto product = hn::Mul(hn::ConvertTo(df, sum), hn::Mul(xScale, hn::LoadU(df, tile.scales + column)));
                float* const total = totals[i] + v * kLanes;
                hn::Store(hn::Add(hn::Load(df, total), product), df, total);
            }
        }
    }
    for (size_t i = 0; i < kRows; ++i) {
        for (size_t v = 0; v < kVectors; ++v) {
            float* const y = tile.y + i * tile.yStride + v * kLanes;
            hn::StoreU(hn::Add(hn::LoadU(df, y), hn::Load(df, totals[i] + v * kLanes)), df, y);
        }
    }
}

template <size_t kRows>
void BytesOfRows(const ProductTile& tile) {
    const auto* const x = static_cast<const int8_t*>(tile.x);
    const auto* const panel = static_cast<const uint8_t*>(tile.panel);
    const auto at = [&](size_t step) { return x + step * kRows * kByteDepth; };
    const auto column = [&](size_t step) { return panel + step * kPanelColumns * kByteDepth; };
    const auto atOnce = [&](size_t g, Sums<kRows>& sums) HWY_ATTR {
        AddBytesAtOnce<kRows>(at(g * tile.steps), column(g * tile.steps), tile.steps, sums);
    };
    // A few steps in 16 bits pay for the widening after them.
    constexpr size_t kWorthwhile = HWY_TARGET == HWY_AVX3_DL ? ~size_t{0} : 4;
    if (tile.extra != nullptr) {
        ForGroups<kRows, Operands::SplitBytes>(tile, atOnce);
    } else if (tile.run < kWorthwhile) {
        ForGroups<kRows, Operands::Bytes>(tile, atOnce);
    } else {
        ForGroups<kRows, Operands::Bytes>(tile, [&](size_t g, Sums<kRows>& sums) HWY_ATTR {
            for (size_t begin = 0; begin < tile.steps; begin += tile.run) {
                const size_t step = g * tile.steps + begin;
                AddBytesLate<kRows>(at(step), column(step), tile.run < tile.steps - begin ? tile.run : tile.steps - begin, sums);
            }
        });
    }
}

template <size_t kRows>
void WordsOfRows(const ProductTile& tile) {
    const auto* const x = static_cast<const int16_t*>(tile.x);
    const auto* const panel = static_cast<const int16_t*>(tile.panel);
    ForGroups<kRows, Operands::Words>(tile, [&](size_t g, Sums<kRows>& sums) HWY_ATTR {
        const size_t step = g * tile.steps;
        AddWords<kRows>(x + step * kRows * kWordDepth, panel + step * kPanelColumns * kWordDepth, tile.steps, sums);
    });
}

template <size_t kRows = kTileRows>
void MultiplyBytes(const ProductTile& tile) {
    if constexpr (kRows > 0) {
        tile.rows == kRows ? BytesOfRows<kRows>(tile) : MultiplyBytes<kRows - 1>(tile);
    }
}

template <size_t kRows = kTileRows>
void MultiplyWords(const ProductTile& tile) {
    if constexpr (kRows > 0) {
        tile.rows == kRows ? WordsOfRows<kRows>(tile) : MultiplyWords<kRows - 1>(tile);
    }
}

inline void ExpandNibbles(const uint8_t* packed, size_t count, const uint8_t* levels, uint8_t* panel) {
    const Bytes d;
    constexpr size_t kAtOnce = hn::MaxLanes(d);
    const auto table = hn::LoadDup128(d, levels);
    const auto low = hn::Set(d, uint8_t{15});
    for (size_t begin = 0; begin < count; begin += 64) {
        for (size_t b = 0; b < 64; b += kAtOnce) {
            const auto codes = hn::LoadU(d, packed + begin + b);
            const auto high = hn::BitCast(d, hn::ShiftRight<4>(hn::BitCast(hn::Repartition<uint16_t, Bytes>(), codes)));
            hn::StoreU(hn::TableLookupBytes(table, hn::And(codes, low)), d, panel + 2 * begin + b);
            hn::StoreU(hn::TableLookupBytes(table, hn::And(high, low)), d, panel + 2 * begin + 64 + b);
        }
    }
}

inline void ExpandBytes(const uint8_t* packed, size_t count, const int16_t* offset, int16_t* panel) {
    constexpr size_t kPeriod = kPanelColumns * kWordDepth;
    const Words d;
    const hn::Rebind<uint8_t, Words> d8;
    for (size_t begin = 0; begin < count; begin += kPeriod) {
        for (size_t i = 0; i < kPeriod; i += hn::MaxLanes(d)) {
            hn::StoreU(hn::Add(hn::PromoteTo(d, hn::LoadU(d8, packed + begin + i)), hn::LoadU(d, offset + i)), d, panel + begin + i);
        }
    }
}

}  // namespace HWY_NAMESPACE
}  // namespace quantscope
HWY_AFTER_NAMESPACE();

#endif
