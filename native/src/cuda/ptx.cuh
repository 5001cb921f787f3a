// The instructions that CUDA C++ has no name for (PTX ISA 9.0, "Warp Level Matrix Instructions", "Data Movement and Conversion Instructions").
// test/cuda_emulator/device.h says the same in C++.
#pragma once

#include <cstddef>
#include <cstdint>

#include <cuda_runtime.h>

namespace quantscope::cuda {

/// Starts a kernel, and says what cudaGetLastError() says.
template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t sharedBytes, cudaStream_t stream, Arguments&&... arguments) {
    if (sharedBytes > 48 * 1024) {
        const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(sharedBytes));
        if (error != cudaSuccess) {
            return error;
        }
    }
    kernel<<<grid, block, sharedBytes, stream>>>(static_cast<Parameters>(arguments)...);
    return cudaGetLastError();
}

#define QUANTSCOPE_SHARED(type, name, dimensions) __shared__ __align__(16) type name dimensions

template <class T>
__device__ inline T* dynamicShared() {
    extern __shared__ __align__(1024) unsigned char quantscopeDynamicShared[];
    return reinterpret_cast<T*>(quantscopeDynamicShared);
}

__device__ inline unsigned sharedAddress(const void* at) { return static_cast<unsigned>(__cvta_generic_to_shared(at)); }

/// The same value, of which the compiler knows nothing: what is computed from it is computed where it is used, and not kept in registers over a loop.
__device__ inline uint32_t afresh(uint32_t value) {
    asm volatile("" : "+r"(value));
    return value;
}

/// 16 bytes at once; the address is aligned to 16.
template <class T>
__device__ inline T load16(const T* at) {
    static_assert(sizeof(T) == 16);
    const uint4 bits = *reinterpret_cast<const uint4*>(at);
    return reinterpret_cast<const T&>(bits);
}
/// The same for what nobody reads again: it should not displace anything in the caches.
template <class T>
__device__ inline T loadOnce16(const T* at) {
    static_assert(sizeof(T) == 16);
    uint4 bits;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(bits.x), "=r"(bits.y), "=r"(bits.z), "=r"(bits.w) : "l"(at));
    return reinterpret_cast<const T&>(bits);
}
template <class T>
__device__ inline void store16(T* at, const T& value) {
    static_assert(sizeof(T) == 16);
    *reinterpret_cast<uint4*>(at) = reinterpret_cast<const uint4&>(value);
}

/// What lies in shared memory, by 32-bit offsets in bytes of which the first is `first`: additions of constants can go into that.
template <class T>
class SharedArray {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8);

public:
    __device__ SharedArray(const T* at, uint32_t first) : base_(sharedAddress(at) - first) {}
    __device__ T at(uint32_t offset) const {
        if constexpr (sizeof(T) == 4) {
            uint32_t bits;
            asm volatile("ld.shared.u32 %0, [%1];" : "=r"(bits) : "r"(base_ + offset));
            return reinterpret_cast<const T&>(bits);
        } else {
            uint2 bits;
            asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(bits.x), "=r"(bits.y) : "r"(base_ + offset));
            return reinterpret_cast<const T&>(bits);
        }
    }

private:
    uint32_t base_;
};

/// Asks for the line of 128 bytes around an address that will be read soon.
__device__ inline void prefetchLine(const void* at) { asm volatile("prefetch.global.L2 [%0];" ::"l"(at)); }

/// Requests 16 bytes from global to shared memory, both aligned to 16; the last 16 - filled of them become zeros. They are there for the thread that
/// asked once it has waited for the group they were committed in, and for the others after a barrier.
__device__ inline void copyAsync16(void* shared, const void* global, int filled = 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(sharedAddress(shared)), "l"(global), "r"(filled) : "memory");
}
__device__ inline void commitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Until all groups but the last kLeft have arrived.
template <int kLeft>
__device__ inline void waitCopies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

/// Four matrices of 8 rows of 16 bytes from shared memory: lane l gives the address of row l % 8 of matrix l / 8. Of each matrix it gets the 4 bytes
/// 4 (l % 4).. of row l / 4; transposed (of 16-bit elements), elements 2 (l % 4) and + 1 of column l / 4.
__device__ inline void loadMatrices4(uint32_t (&to)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(sharedAddress(row)) : "memory");
}
__device__ inline void loadMatrices2(uint32_t (&to)[2], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];" : "=r"(to[0]), "=r"(to[1]) : "r"(sharedAddress(row)) : "memory");
}
__device__ inline void loadMatrices4Transposed(uint32_t (&to)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(sharedAddress(row)) : "memory");
}
__device__ inline void loadMatrices2Transposed(uint32_t (&to)[2], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];" : "=r"(to[0]), "=r"(to[1]) : "r"(sharedAddress(row)) : "memory");
}

// D += A B over a warp, A of 16 rows, B of 8 columns. With g = lane / 4, t = lane % 4 and e elements in a register: a[0], a[1] are rows g and g + 8 of A
// at k = e t.., a[2], a[3] the same at k = 4 e + e t..; b[0], b[1] are column g of B at those k; d[0], d[1] are row g, columns 2 t and 2 t + 1, and
// d[2], d[3] row g + 8.

/// k = 32, signed bytes (e = 4), sums of 32 bits that wrap round.
__device__ inline void mmaS8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// The same with unsigned bytes in A.
__device__ inline void mmaU8S8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// k = 64, signed nibbles (e = 8). Native on sm_80, 86 and 89 alone; elsewhere slower than unpacking by hand.
__device__ inline void mmaS4(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k64.row.col.s32.s4.s4.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// k = 16, bfloat16 (e = 2), float32 sums.
__device__ inline void mmaBf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// k = 8, bfloat16: the first two registers of A and the first of B.
__device__ inline void mmaBf16Half(float (&d)[4], uint32_t upper, uint32_t lower, uint32_t b) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(upper), "r"(lower), "r"(b));
}
/// k = 8, float32 of which the leading 11 bits of the mantissa count (TF32, e = 1), float32 sums.
__device__ inline void mmaTf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ inline uint16_t bf16Of(float value) {
    uint16_t bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
/// Two beside each other, `low` first.
__device__ inline uint32_t bf16PairOf(float low, float high) {
    uint32_t bits;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
    return bits;
}
__device__ inline float floatOfBf16(uint16_t bits) { return __uint_as_float(static_cast<uint32_t>(bits) << 16); }
__device__ inline uint16_t halfOf(float value) {
    uint16_t bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
__device__ inline float floatOfHalf(uint16_t bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

/// 2^x to about 2 units in the last place; results below 2^-126 become zero, -infinity gives zero, NaN stays.
__device__ inline float exp2Approximate(float x) {
    float value;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(value) : "f"(x));
    return value;
}

}  // namespace quantscope::cuda
