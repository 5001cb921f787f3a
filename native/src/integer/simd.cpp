// The vector products, compiled once per processor level like cpu/simd.cpp, and the choice between the levels.
#include "cpu/targets.h"
// One level more than there: AVX-512 with VNNI, which multiplies bytes natively.
#define HWY_WANT_AVX3_DL
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | QUANTSCOPE_SVE)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "integer/simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
#include "integer/product-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quantscope {
namespace HWY_NAMESPACE {

inline constexpr ProductKernels makeProductTable(const char* name) {
    return {name, kTileRows, HWY_TARGET == HWY_AVX3_DL, ExpandNibbles, ExpandBytes, MultiplyBytes<>, MultiplyWords<>};
}

}  // namespace HWY_NAMESPACE
}  // namespace quantscope
HWY_AFTER_NAMESPACE();
#endif

#if HWY_ONCE
#include "cpu/kernels.h"

namespace quantscope {

namespace {

#if HWY_ARCH_X86
constexpr ProductKernels kVnni = N_AVX3_DL::makeProductTable("avx3_vnni");
constexpr ProductKernels kAvx3 = N_AVX3::makeProductTable("avx3");
constexpr ProductKernels kAvx2 = N_AVX2::makeProductTable("avx2");
constexpr ProductKernels kSse4 = N_SSE4::makeProductTable("sse4");

/// The features that the level is compiled with beyond AVX-512's first ones.
bool hasVnni() {
    return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("vpclmulqdq") && __builtin_cpu_supports("avx512vbmi") &&
           __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512vpopcntdq") && __builtin_cpu_supports("avx512bitalg");
}

void append(std::vector<const ProductKernels*>& levels, std::string_view level) {
    if (level == "avx3") {
        if (hasVnni()) {
            levels.push_back(&kVnni);
        }
        levels.push_back(&kAvx3);
    } else if (level == "avx2") {
        levels.push_back(&kAvx2);
    } else if (level == "sse4") {
        levels.push_back(&kSse4);
    }
}
#elif HWY_ARCH_ARM_A64
constexpr ProductKernels kNeon = N_NEON::makeProductTable("neon");
void append(std::vector<const ProductKernels*>& levels, std::string_view level) {
    if (level == "neon") {
        levels.push_back(&kNeon);
    }
}
#else
void append(std::vector<const ProductKernels*>&, std::string_view) {}
#endif

}  // namespace

std::vector<const ProductKernels*> supportedProductKernels() {
    std::vector<const ProductKernels*> levels;
    for (const Kernels* level : supportedKernels()) {
        if (level != &scalarKernels()) {
            append(levels, level->name);
        }
    }
    levels.push_back(&scalarProductKernels());
    return levels;
}

const ProductKernels& productKernelsFor(std::string_view level) {
    if (level == "scalar") {
        return scalarProductKernels();
    }
    std::vector<const ProductKernels*> levels;
    append(levels, kernelsFor(level).name);
    return *levels.front();
}

}  // namespace quantscope
#endif  // HWY_ONCE
