#include "limits.h"

#include <benchmark/benchmark.h>

#include <memory>
#include <string_view>

#include "base/aligned.h"

namespace quantscope {

namespace {

// Chains in registers, as the assembler has them: a compiler may move sums through memory, or do nothing at all.

/// One tile that stays in the first-level cache.
double smallTile(const ProductKernels& level) {
    constexpr size_t kSteps = 64, kTimes = 2000;
    const size_t rows = level.rows;
    static const auto x = allocateAligned<int8_t>(64 * kSteps), panel = allocateAligned<int8_t>(kPanelColumns * kByteDepth * kSteps);
    std::fill_n(x.get(), 64 * kSteps, int8_t{3});
    std::fill_n(panel.get(), kPanelColumns * kByteDepth * kSteps, int8_t{2});
    const std::vector<float> scales(std::max(rows, kPanelColumns), 1.0f);
    const std::vector<int32_t> zeros(scales.size());
    std::vector<float> y(rows * kPanelColumns);
    ProductTile tile{rows, 1, kSteps, 1, x.get(), panel.get(), scales.data(), zeros.data(), nullptr, nullptr, scales.data(), zeros.data(), y.data(), kPanelColumns};
    for (size_t i = 0; i < kTimes; ++i) {
        level.bytes(tile);
        benchmark::ClobberMemory();
    }
    return 2.0 * kTimes * kSteps * static_cast<double>(rows) * kPanelColumns * kByteDepth;
}

#if defined(__x86_64__)
// Twelve chains hide a latency of up to six cycles at two a cycle. What stands in the registers does not matter.
constexpr double kChains = 12;
constexpr size_t kLength = 1 << 20;

#define FMA512(sum) "vfmadd231ps %%zmm13, %%zmm12, %%zmm" sum "\n\t"
#define FMA256(sum) "vfmadd231ps %%ymm13, %%ymm12, %%ymm" sum "\n\t"
#define VNNI(sum) "vpdpbusd %%zmm13, %%zmm12, %%zmm" sum "\n\t"
#define AVX512(sum, product) \
    "vpmaddubsw %%zmm13, %%zmm12, %%zmm" product "\n\tvpmaddwd %%zmm14, %%zmm" product ", %%zmm" product "\n\tvpaddd %%zmm" product ", %%zmm" sum ", %%zmm" sum "\n\t"
#define AVX2(sum, product) \
    "vpmaddubsw %%ymm15, %%ymm14, %%ymm" product "\n\tvpmaddwd %%ymm13, %%ymm" product ", %%ymm" product "\n\tvpaddd %%ymm" product ", %%ymm" sum ", %%ymm" sum "\n\t"

double multiplyAdds512() {
    for (size_t i = 0; i < kLength; ++i) {
        __asm__ volatile(FMA512("0") FMA512("1") FMA512("2") FMA512("3") FMA512("4") FMA512("5") FMA512("6") FMA512("7") FMA512("8") FMA512("9") FMA512("10")
                             FMA512("11")::
                             : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13");
    }
    __asm__ volatile("vzeroupper");
    return 2.0 * kLength * kChains * 16;
}

double multiplyAdds256() {
    for (size_t i = 0; i < kLength; ++i) {
        __asm__ volatile(FMA256("0") FMA256("1") FMA256("2") FMA256("3") FMA256("4") FMA256("5") FMA256("6") FMA256("7") FMA256("8") FMA256("9") FMA256("10")
                             FMA256("11")::
                             : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13");
    }
    __asm__ volatile("vzeroupper");
    return 2.0 * kLength * kChains * 8;
}

double vnniChain() {
    for (size_t i = 0; i < kLength; ++i) {
        __asm__ volatile(VNNI("0") VNNI("1") VNNI("2") VNNI("3") VNNI("4") VNNI("5") VNNI("6") VNNI("7") VNNI("8") VNNI("9") VNNI("10") VNNI("11")::
                             : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13");
    }
    __asm__ volatile("vzeroupper");
    return 2.0 * kLength * kChains * 64;
}

double avx512Chain() {
    for (size_t i = 0; i < kLength; ++i) {
        __asm__ volatile(AVX512("0", "15") AVX512("1", "16") AVX512("2", "17") AVX512("3", "18") AVX512("4", "19") AVX512("5", "20") AVX512("6", "21")
                             AVX512("7", "22") AVX512("8", "23") AVX512("9", "24") AVX512("10", "25") AVX512("11", "26")::
                             : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    }
    __asm__ volatile("vzeroupper");
    return 2.0 * kLength * kChains * 64;
}

double avx2Chain() {
    for (size_t i = 0; i < kLength; ++i) {  // ten sums that wait one cycle each, products in the three registers that are left
        __asm__ volatile(AVX2("0", "10") AVX2("1", "11") AVX2("2", "12") AVX2("3", "10") AVX2("4", "11") AVX2("5", "12") AVX2("6", "10") AVX2("7", "11")
                             AVX2("8", "12") AVX2("9", "10") AVX2("0", "11") AVX2("1", "12")::
                             : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    }
    __asm__ volatile("vzeroupper");
    return 2.0 * kLength * kChains * 32;
}

#undef FMA512
#undef FMA256
#undef VNNI
#undef AVX512
#undef AVX2
#endif

}  // namespace

Subject multiplyAddPeak(const Kernels& level) {
#if defined(__x86_64__)
    if (std::string_view(level.name) == "avx3") {
        return {"FMA peak", multiplyAdds512};
    }
    if (std::string_view(level.name) == "avx2") {
        return {"FMA peak", multiplyAdds256};
    }
#endif
    return {"FMA peak", [&level] {
                constexpr size_t kDepth = 256, kRows = 12, kTimes = 400;  // a multiple of every level's rows
                static const std::vector<float> x = bell(kRows * kDepth, 1), panel = bell(kProductColumns * kDepth, 2);
                std::vector<float> y(kRows * kProductColumns);
                for (size_t i = 0; i < kTimes; ++i) {
                    level.addProducts(x.data(), kDepth, kRows, panel.data(), kDepth, y.data(), kProductColumns);
                    benchmark::ClobberMemory();
                }
                return 2.0 * kTimes * kDepth * kRows * kProductColumns;
            }};
}

Subject int8Chain(const ProductKernels& level) {
    const std::string_view name = level.name;
#if defined(__x86_64__)
    if (name == "avx3_vnni") {
        return {"int8 chain", vnniChain};
    }
    if (name == "avx3") {
        return {"int8 chain", avx512Chain};
    }
    if (name == "avx2") {
        return {"int8 chain", avx2Chain};
    }
#endif
    return {"int8 chain", [&level] { return smallTile(level); }};
}

}  // namespace quantscope
