// The vector kernels, compiled by Highway once per processor level, and the choice between the levels. Debian ships Highway's
// run-time detection only as a shared library, so the detection here is the compiler's; from Highway come the headers alone.
#include "cpu/targets.h"
// The levels worth their size: AVX-512, AVX2 and SSE4.2 (NEON on ARM). The rest runs the scalar twins.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | QUANTSCOPE_SVE)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

// The baseline of a processor without vectors is cpu/scalar.cpp, not Highway's emulation.
#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
#include "cpu/activation-inl.h"
#include "cpu/decode-inl.h"
#include "cpu/product-inl.h"
#include "cpu/quantize-inl.h"
#include "cpu/reduce-inl.h"
#include "cpu/rotate-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quantscope {
namespace HWY_NAMESPACE {

inline constexpr Kernels makeTable(const char* name) {
    return {name,      Decode,       MaxMagnitude, FindRange,     SumSquares,   Multiply,
            BinAndSum, GatherSigned, Hadamard,     CodebookError, IntegerError, ClipError, CastError,
            Silu,      GeluTanh,     Tanh,         ExpSum,        AddProducts};
}

}  // namespace HWY_NAMESPACE
}  // namespace quantscope
HWY_AFTER_NAMESPACE();
#endif

#if HWY_ONCE
#include <cstdlib>
#include <string>

#include "base/error.h"

namespace quantscope {

namespace {

#if HWY_ARCH_X86
constexpr Kernels kAvx3 = N_AVX3::makeTable("avx3");
constexpr Kernels kAvx2 = N_AVX2::makeTable("avx2");
constexpr Kernels kSse4 = N_SSE4::makeTable("sse4");

std::vector<const Kernels*> vectorLevels() {
    std::vector<const Kernels*> levels;
    // The features Highway compiles each level with; the compiler's check includes what the operating system saves.
    const bool sse4 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("aes");
    const bool avx2 = sse4 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
                      __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    const bool avx3 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
    if (avx3) {
        levels.push_back(&kAvx3);
    }
    if (avx2) {
        levels.push_back(&kAvx2);
    }
    if (sse4) {
        levels.push_back(&kSse4);
    }
    return levels;
}
#elif HWY_ARCH_ARM_A64
constexpr Kernels kNeon = N_NEON::makeTable("neon");
std::vector<const Kernels*> vectorLevels() { return {&kNeon}; }
#else
std::vector<const Kernels*> vectorLevels() { return {}; }
#endif

}  // namespace

std::vector<const Kernels*> supportedKernels() {
    auto levels = vectorLevels();
    levels.push_back(&scalarKernels());
    return levels;
}

const Kernels& kernelsFor(std::string_view level) {
    std::string known;
    for (const Kernels* candidate : supportedKernels()) {
        if (candidate->name == level) {
            return *candidate;
        }
        known += known.empty() ? "" : ", ";
        known += candidate->name;
    }
    failArgument("QUANTSCOPE_CPU: this processor has no level \"" + std::string(level) + "\"; it supports " + known);
}

const Kernels& kernels() {
    static const Kernels& chosen = [&]() -> const Kernels& {
        const char* wanted = std::getenv("QUANTSCOPE_CPU");
        return wanted != nullptr && *wanted != '\0' ? kernelsFor(wanted) : *supportedKernels().front();
    }();
    return chosen;
}

}  // namespace quantscope
#endif  // HWY_ONCE
