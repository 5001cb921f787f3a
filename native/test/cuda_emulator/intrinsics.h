// CUDA's built-in device functions, as far as used (CUDA C++ Programming Guide, "Warp Shuffle Functions" ff.; CUDA Math API).
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <string>
#include <type_traits>

namespace quantscope::cuda::emulator {

void blockBarrier(const std::source_location& where);
int blockBarrierSum(int value, const std::source_location& where);
[[noreturn]] void fail(const std::string& what, const std::source_location& where);
void warpTogether(uint32_t mask, const char* kind, void* argument, void (*body)(void* const* arguments, uint32_t mask), const std::source_location& where);

template <class T>
struct Shuffle {
    T value;
    int source;  ///< lane
    T result;
};

/// Every lane of the mask gets the value of its source lane. A source outside of the mask is undefined on a device, and an error here.
template <class T>
T shuffle(uint32_t mask, T value, int source, const char* kind, const std::source_location& where) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
    if ((mask >> source & 1) == 0) {
        fail("reads lane " + std::to_string(source) + ", which is not in the mask,", where);
    }
    Shuffle<T> mine{value, source, value};
    warpTogether(mask, kind, &mine, [](void* const* lanes, uint32_t all) {
        for (int lane = 0; lane < 32; ++lane) {
            if (all >> lane & 1) {
                auto* const at = static_cast<Shuffle<T>*>(lanes[lane]);
                at->result = static_cast<Shuffle<T>*>(lanes[at->source])->value;
            }
        }
    }, where);
    return mine.result;
}

inline int lane() { return static_cast<int>((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32); }

struct Vote {
    bool predicate;
    uint32_t result;
};

}  // namespace quantscope::cuda::emulator

#define QUANTSCOPE_WHERE const std::source_location& where = std::source_location::current()

inline void __syncthreads(QUANTSCOPE_WHERE) { quantscope::cuda::emulator::blockBarrier(where); }
inline int __syncthreads_count(int predicate, QUANTSCOPE_WHERE) { return quantscope::cuda::emulator::blockBarrierSum(predicate != 0, where); }
inline int __syncthreads_or(int predicate, QUANTSCOPE_WHERE) { return quantscope::cuda::emulator::blockBarrierSum(predicate != 0, where) > 0; }
inline void __syncwarp(unsigned mask = 0xffffffffu, QUANTSCOPE_WHERE) {
    quantscope::cuda::emulator::warpTogether(mask, "__syncwarp", nullptr, [](void* const*, uint32_t) {}, where);
}
inline void __threadfence() {}
inline void __threadfence_block() {}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, QUANTSCOPE_WHERE) {
    const int base = quantscope::cuda::emulator::lane() & ~(width - 1);
    return quantscope::cuda::emulator::shuffle(mask, value, base + (source & (width - 1)), "__shfl_sync", where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int laneMask, int width = 32, QUANTSCOPE_WHERE) {
    const int lane = quantscope::cuda::emulator::lane();
    const int source = lane ^ laneMask;
    return quantscope::cuda::emulator::shuffle(mask, value, source < (lane & ~(width - 1)) + width ? source : lane, "__shfl_xor_sync", where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, QUANTSCOPE_WHERE) {
    const int lane = quantscope::cuda::emulator::lane();
    const int source = lane + static_cast<int>(delta);
    return quantscope::cuda::emulator::shuffle(mask, value, source < (lane & ~(width - 1)) + width ? source : lane, "__shfl_down_sync", where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, QUANTSCOPE_WHERE) {
    const int lane = quantscope::cuda::emulator::lane();
    const int source = lane - static_cast<int>(delta);
    return quantscope::cuda::emulator::shuffle(mask, value, source >= (lane & ~(width - 1)) ? source : lane, "__shfl_up_sync", where);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, QUANTSCOPE_WHERE) {
    using quantscope::cuda::emulator::Vote;
    Vote mine{predicate != 0, 0};
    quantscope::cuda::emulator::warpTogether(mask, "__ballot_sync", &mine, [](void* const* lanes, uint32_t all) {
        uint32_t result = 0;
        for (int pass = 0; pass < 2; ++pass) {
            for (int lane = 0; lane < 32; ++lane) {
                if (all >> lane & 1) {
                    Vote& vote = *static_cast<Vote*>(lanes[lane]);
                    result |= static_cast<uint32_t>(vote.predicate) << lane;
                    vote.result = result;
                }
            }
        }
    }, where);
    return mine.result;
}
inline int __any_sync(unsigned mask, int predicate, QUANTSCOPE_WHERE) { return __ballot_sync(mask, predicate, where) != 0; }
inline int __all_sync(unsigned mask, int predicate, QUANTSCOPE_WHERE) { return __ballot_sync(mask, predicate, where) == mask; }

template <class T>
T atomicAdd(T* at, T value) {
    if constexpr (std::is_integral_v<T>) {
        return __atomic_fetch_add(at, value, __ATOMIC_RELAXED);
    } else {
        T old;
        __atomic_load(at, &old, __ATOMIC_RELAXED);
        for (T sum = old + value; !__atomic_compare_exchange(at, &old, &sum, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED); sum = old + value) {
        }
        return old;
    }
}
template <class T>
T atomicMax(T* at, T value) {
    T old = __atomic_load_n(at, __ATOMIC_RELAXED);
    while (old < value && !__atomic_compare_exchange_n(at, &old, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    return old;
}
template <class T>
T atomicMin(T* at, T value) {
    T old = __atomic_load_n(at, __ATOMIC_RELAXED);
    while (value < old && !__atomic_compare_exchange_n(at, &old, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    return old;
}
template <class T>
T atomicOr(T* at, T value) {
    return __atomic_fetch_or(at, value, __ATOMIC_RELAXED);
}
template <class T>
T atomicExch(T* at, T value) {
    return __atomic_exchange_n(at, value, __ATOMIC_RELAXED);
}
template <class T>
T atomicCAS(T* at, T compare, T value) {
    __atomic_compare_exchange_n(at, &compare, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return compare;
}

template <class T>
constexpr T min(T a, T b) {
    return b < a ? b : a;
}
template <class T>
constexpr T max(T a, T b) {
    return a < b ? b : a;
}
template <class T>
T __ldg(const T* at) {
    return *at;
}
inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
inline int __float_as_int(float value) { return std::bit_cast<int>(value); }
inline float __uint_as_float(unsigned value) { return std::bit_cast<float>(value); }
inline float __int_as_float(int value) { return std::bit_cast<float>(value); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(uint64_t{a} * b >> 32); }
inline int __popc(unsigned value) { return std::popcount(value); }
inline int __popcll(unsigned long long value) { return std::popcount(value); }
inline int __clz(int value) { return std::countl_zero(static_cast<unsigned>(value)); }
inline int __ffs(int value) { return value == 0 ? 0 : std::countr_zero(static_cast<unsigned>(value)) + 1; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float rsqrtf(float a) { return 1.0f / std::sqrt(a); }  // a device may be off by 2 units in the last place
inline float __saturatef(float a) { return a > 0.0f ? (a < 1.0f ? a : 1.0f) : 0.0f; }  // NaN becomes 0
inline float __expf(float a) { return std::exp(a); }          // likewise approximate there
inline float __fdividef(float a, float b) { return a / b; }
/// As cvt.rni.s32.f32: to nearest, ties to even, saturating, NaN to 0.
inline int __float2int_rn(float value) {
    const float rounded = std::nearbyint(value);
    return rounded != rounded ? 0 : rounded >= 0x1p31f ? INT32_MAX : rounded <= -0x1p31f ? INT32_MIN : static_cast<int>(rounded);
}
inline float __int2float_rn(int value) { return static_cast<float>(value); }

/// PRMT in its default mode: byte i of the result is byte (selector nibble i & 7) of b:a; bit 3 of the nibble replicates that byte's sign instead.
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
    const uint64_t bytes = uint64_t{b} << 32 | a;
    unsigned result = 0;
    for (int i = 0; i < 4; ++i) {
        const unsigned nibble = selector >> (4 * i) & 15;
        const auto byte = static_cast<unsigned>(bytes >> (8 * (nibble & 7)) & 255);
        result |= (nibble & 8 ? (byte & 128 ? 255u : 0u) : byte) << (8 * i);
    }
    return result;
}
/// The upper 32 bits of high:low shifted left.
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((uint64_t{high} << 32 | low) << (shift & 31) >> 32);
}
/// The products of the halves of a with the two lower bytes of b, added to c.
inline unsigned __dp2a_lo(unsigned a, unsigned b, unsigned c) { return c + (a & 0xffff) * (b & 0xff) + (a >> 16) * (b >> 8 & 0xff); }
/// The sum of four products of signed bytes, added to c.
inline int __dp4a(int a, int b, int c) {
    for (int i = 0; i < 4; ++i) {
        c += static_cast<int8_t>(a >> (8 * i)) * static_cast<int8_t>(b >> (8 * i));
    }
    return c;
}
