// What cuda/ptx.cuh says in PTX, said in C++. Fragments lie over the lanes of a warp as in the PTX ISA ("Warp Level Matrix Instructions"; there
// groupID = lane / 4 and threadID_in_group = lane % 4).
#pragma once

#include <functional>
#include <string>
#include <tuple>

#include "block.h"
#include "memory.h"

namespace quantscope::cuda {

namespace emulator {

template <class D>
struct Mma {
    D* d;
    const uint32_t* a;
    const uint32_t* b;
};

/// D += A B for the fragments of all lanes: A is 16 x kDepth, B kDepth x 8, element k of a register is valueOf(register, k).
/// kEach elements of a register stand side by side; registers 0..3 of A are (row, low k), (row + 8, low k), (row, high k), (row + 8, high k).
template <class D, class T, int kEach, class ValueOfA, class ValueOfB>
void multiplyFragments(void* const* lanes, ValueOfA valueOfA, ValueOfB valueOfB) {
    constexpr int kDepth = 8 * kEach;
    T a[16][kDepth];
    T b[8][kDepth];
    for (int lane = 0; lane < 32; ++lane) {
        const auto& mine = *static_cast<const Mma<D>*>(lanes[lane]);
        const int group = lane / 4;
        const int inGroup = lane % 4;
        for (int r = 0; r < 4; ++r) {
            for (int k = 0; k < kEach; ++k) {
                a[group + r % 2 * 8][inGroup * kEach + k + r / 2 * 4 * kEach] = valueOfA(mine.a[r], k);
            }
        }
        for (int r = 0; r < 2; ++r) {
            for (int k = 0; k < kEach; ++k) {
                b[group][inGroup * kEach + k + r * 4 * kEach] = valueOfB(mine.b[r], k);
            }
        }
    }
    for (int row = 0; row < 16; ++row) {
        for (int column = 0; column < 8; ++column) {
            const auto& owner = *static_cast<const Mma<D>*>(lanes[row % 8 * 4 + column / 2]);
            D& d = owner.d[row / 8 * 2 + column % 2];
            std::conditional_t<std::is_same_v<D, int>, int, double> sum = 0;  // the order within one product is the tensor core's own: exact here
            for (int k = 0; k < kDepth; ++k) {
                sum += a[row][k] * b[column][k];
            }
            d = static_cast<D>(d + sum);
        }
    }
}

inline int8_t signedByte(uint32_t word, int k) { return static_cast<int8_t>(word >> (8 * k)); }
inline uint8_t unsignedByte(uint32_t word, int k) { return static_cast<uint8_t>(word >> (8 * k)); }
inline int8_t signedNibble(uint32_t word, int k) { return static_cast<int8_t>(static_cast<int8_t>(word >> (4 * k) << 4) >> 4); }
inline float bf16Of(uint32_t word, int k) { return std::bit_cast<float>(word >> (16 * k) << 16); }
inline float tf32Of(uint32_t word, int) { return std::bit_cast<float>(word & 0xffffe000u); }

/// Matrices of 8 rows of 16 bytes; lane l gives the address of row l % 8 of matrix l / 8 and gets elements 2 (l % 4), + 1 of row l / 4 of each.
struct LoadMatrices {
    const void* row;
    uint32_t* to;
};

template <int kCount, bool kTransposed>
void loadMatrices(uint32_t* to, const void* row, const Place& where) {
    if (lane() < 8 * kCount) {
        checkShared(row, 16, 16, where);
    }
    LoadMatrices mine{row, to};
    warpTogether(0xffffffffu, "ldmatrix", &mine, [](void* const* lanes, uint32_t) {
        for (int lane = 0; lane < 32; ++lane) {
            for (int m = 0; m < kCount; ++m) {
                uint16_t pair[2];
                for (int e = 0; e < 2; ++e) {
                    const int r = kTransposed ? lane % 4 * 2 + e : lane / 4;
                    const int c = kTransposed ? lane / 4 : lane % 4 * 2 + e;
                    std::memcpy(&pair[e], static_cast<const char*>(static_cast<const LoadMatrices*>(lanes[m * 8 + r])->row) + 2 * c, 2);
                }
                static_cast<const LoadMatrices*>(lanes[lane])->to[m] = static_cast<uint32_t>(pair[1]) << 16 | pair[0];
            }
        }
    }, where);
}

inline uint16_t halfBits(float value) {  // to nearest, ties to even
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
    const float magnitude = std::fabs(value);
    if (magnitude != magnitude) {
        return 0x7fff;
    }
    if (magnitude >= 65520.0f) {
        return sign | 0x7c00;
    }
    const int exponent = magnitude < 0x1p-14f ? -14 : static_cast<int>(std::bit_cast<uint32_t>(magnitude) >> 23) - 127;
    const auto steps = static_cast<uint32_t>(std::nearbyint(std::ldexp(magnitude, 10 - exponent)));  // 1024..2048, or below for subnormals
    return static_cast<uint16_t>(sign | (steps + (magnitude < 0x1p-14f ? 0 : static_cast<uint32_t>(exponent + 14) << 10)));
}

inline float halfValue(uint16_t bits) {
    const int exponent = bits >> 10 & 31;
    const int mantissa = bits & 1023;
    const float magnitude = exponent == 31   ? (mantissa == 0 ? INFINITY : NAN)
                            : exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                                            : std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
    return bits & 0x8000 ? -magnitude : magnitude;
}

inline uint16_t bf16Bits(float value) {  // to nearest, ties to even; NaN becomes 0x7fff as cvt.rn.bf16.f32 gives it
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    return value != value ? 0x7fff : static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/// Pointers that a kernel gets must point into the device's memory, or be null.
template <class T>
bool isGoodArgument(const T& argument) {
    if constexpr (std::is_pointer_v<T>) {
        return argument == nullptr || isDeviceMemory(argument, 0);
    } else {
        return true;
    }
}

}  // namespace emulator

/// A grid, and where in the sources a kernel is launched with it.
struct LaunchGrid {
    dim3 size;
    emulator::Place where;
    template <class T>
    LaunchGrid(T grid, const emulator::Place& at = emulator::Place::current()) : size(grid), where(at) {}
};

template <class... Parameters, class... Arguments>
cudaError_t launchCluster(void (*kernel)(Parameters...), unsigned cluster, LaunchGrid grid, dim3 block, size_t sharedBytes, cudaStream_t stream,
                          Arguments&&... arguments) {
    std::tuple<std::remove_cv_t<Parameters>...> kept(static_cast<Parameters>(arguments)...);
    if (!std::apply([](const auto&... each) { return (emulator::isGoodArgument(each) && ...); }, kept)) {
        return cudaErrorInvalidDevicePointer;
    }
    return emulator::enqueueKernel(grid.where, grid.size, block, cluster, sharedBytes, stream, [kernel, kept] { std::apply(kernel, kept); });
}

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), LaunchGrid grid, dim3 block, size_t sharedBytes, cudaStream_t stream, Arguments&&... arguments) {
    return launchCluster(kernel, 1, grid, block, sharedBytes, stream, std::forward<Arguments>(arguments)...);
}

#define QUANTSCOPE_SHARED(type, name, dimensions)                            \
    alignas(16) static thread_local type name dimensions;                    \
    ::quantscope::cuda::emulator::enterShared(&name, sizeof name, std::source_location::current())

template <class T>
T* dynamicShared() {
    return reinterpret_cast<T*>(emulator::dynamicShared());
}

inline uint32_t afresh(uint32_t value) { return value; }

template <class T>
T load16(const T* at, QUANTSCOPE_WHERE) {
    static_assert(sizeof(T) == 16);
    emulator::checkReadable(at, 16, 16, where);
    return *at;
}
template <class T>
T loadOnce16(const T* at, QUANTSCOPE_WHERE) {
    return load16(at, where);
}
template <class T>
void store16(T* at, const T& value, QUANTSCOPE_WHERE) {
    static_assert(sizeof(T) == 16);
    emulator::checkReadable(at, 16, 16, where);
    *at = value;
}

inline uint32_t sharedAddress(const void* at) { return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(at)); }

template <class T>
class SharedArray {
public:
    SharedArray(const T* at, uint32_t first) : at_(at), first_(first) {}
    T at(uint32_t offset, QUANTSCOPE_WHERE) const {
        const T* const element = at_ + (offset - first_) / sizeof(T);
        emulator::checkShared(element, sizeof(T), sizeof(T), where);
        return *element;
    }

private:
    const T* at_;
    uint32_t first_;
};

inline void prefetchLine(const void* at, QUANTSCOPE_WHERE) { emulator::checkReadable(at, 1, 1, where); }

inline void copyAsync16(void* shared, const void* global, int filled = 16, QUANTSCOPE_WHERE) {
    emulator::copyLater(shared, global, 16, static_cast<size_t>(filled), where);
}
inline void commitCopies() { emulator::closeCopyGroup(); }
template <int kLeft>
void waitCopies() {
    emulator::awaitCopyGroups(kLeft);
}

inline void loadMatrices4(uint32_t (&to)[4], const void* row, QUANTSCOPE_WHERE) { emulator::loadMatrices<4, false>(to, row, where); }
inline void loadMatrices2(uint32_t (&to)[2], const void* row, QUANTSCOPE_WHERE) { emulator::loadMatrices<2, false>(to, row, where); }
inline void loadMatrices4Transposed(uint32_t (&to)[4], const void* row, QUANTSCOPE_WHERE) { emulator::loadMatrices<4, true>(to, row, where); }
inline void loadMatrices2Transposed(uint32_t (&to)[2], const void* row, QUANTSCOPE_WHERE) { emulator::loadMatrices<2, true>(to, row, where); }

inline void mmaS8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], QUANTSCOPE_WHERE) {
    emulator::Mma<int> mine{d, a, b};
    emulator::warpTogether(0xffffffffu, "mma.m16n8k32.s8", &mine, [](void* const* lanes, uint32_t) {
        emulator::multiplyFragments<int, int8_t, 4>(lanes, emulator::signedByte, emulator::signedByte);
    }, where);
}
inline void mmaU8S8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], QUANTSCOPE_WHERE) {
    emulator::Mma<int> mine{d, a, b};
    emulator::warpTogether(0xffffffffu, "mma.m16n8k32.u8.s8", &mine, [](void* const* lanes, uint32_t) {
        emulator::multiplyFragments<int, int16_t, 4>(lanes, emulator::unsignedByte, emulator::signedByte);
    }, where);
}
inline void mmaS4(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], QUANTSCOPE_WHERE) {
    emulator::Mma<int> mine{d, a, b};
    emulator::warpTogether(0xffffffffu, "mma.m16n8k64.s4", &mine, [](void* const* lanes, uint32_t) {
        emulator::multiplyFragments<int, int8_t, 8>(lanes, emulator::signedNibble, emulator::signedNibble);
    }, where);
}
inline void mmaBf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], QUANTSCOPE_WHERE) {
    emulator::Mma<float> mine{d, a, b};
    emulator::warpTogether(0xffffffffu, "mma.m16n8k16.bf16", &mine, [](void* const* lanes, uint32_t) {
        emulator::multiplyFragments<float, float, 2>(lanes, emulator::bf16Of, emulator::bf16Of);
    }, where);
}

inline void mmaBf16Half(float (&d)[4], uint32_t upper, uint32_t lower, uint32_t b, QUANTSCOPE_WHERE) {
    const uint32_t a[4] = {upper, lower, 0, 0};
    const uint32_t both[2] = {b, 0};
    mmaBf16(d, a, both, where);
}
inline void mmaTf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], QUANTSCOPE_WHERE) {
    emulator::Mma<float> mine{d, a, b};
    emulator::warpTogether(0xffffffffu, "mma.m16n8k8.tf32", &mine, [](void* const* lanes, uint32_t) {
        emulator::multiplyFragments<float, float, 1>(lanes, emulator::tf32Of, emulator::tf32Of);
    }, where);
}

inline uint16_t bf16Of(float value) { return emulator::bf16Bits(value); }
inline float floatOfBf16(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
inline uint16_t halfOf(float value) { return emulator::halfBits(value); }
inline float floatOfHalf(uint16_t bits) { return emulator::halfValue(bits); }
inline uint32_t bf16PairOf(float low, float high) { return static_cast<uint32_t>(bf16Of(high)) << 16 | bf16Of(low); }
inline float exp2Approximate(float x) {
    const float value = std::exp2(x);
    return value < 0x1p-126f ? 0.0f : value;
}

}  // namespace quantscope::cuda
