// What only compute capability 9.0 has (PTX ISA 9.0: "Asynchronous Warpgroup Level Matrix Instructions", "mbarrier", "cp.async.bulk"): products of a
// warpgroup whose operands lie in shared memory, copies of whole tiles, and barriers that count bytes. Code with it is made for sm_90a alone.
// test/cuda_emulator/hopper.h says the same in C++.
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

#include "cuda/ptx.cuh"
#include "cuda/tensor_map.h"

namespace quantscope::cuda {

/// Starts a kernel whose blocks belong together, `cluster` neighbours along x at a time.
template <class... Parameters, class... Arguments>
cudaError_t launchCluster(void (*kernel)(Parameters...), unsigned cluster, dim3 grid, dim3 block, size_t sharedBytes, cudaStream_t stream,
                          Arguments&&... arguments) {
    const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(sharedBytes));
    if (error != cudaSuccess) {
        return error;
    }
    cudaLaunchAttribute attribute{};
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {cluster, 1, 1};
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = sharedBytes;
    config.stream = stream;
    config.attrs = &attribute;
    config.numAttrs = 1;
    return cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}

/// Lies in shared memory. Its phases end when all arrivals have come and all bytes that were announced; a wait names the phase by its parity, from 0.
using Barrier = uint64_t;

__device__ inline void initBarrier(Barrier* barrier, uint32_t arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(sharedAddress(barrier)), "r"(arrivals) : "memory");
}
/// After initBarrier, for copies that are to arrive there; a block barrier must follow.
__device__ inline void publishBarriers() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
__device__ inline void arrive(Barrier* barrier) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(sharedAddress(barrier)) : "memory"); }
__device__ inline void arriveExpecting(Barrier* barrier, uint32_t bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(sharedAddress(barrier)), "r"(bytes) : "memory");
}
__device__ inline void awaitBarrier(Barrier* barrier, uint32_t parity) {
    asm volatile(
        "{\n.reg .pred done;\nagain:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@done bra out;\nbra again;\nout:\n}" ::"r"(
            sharedAddress(barrier)),
        "r"(parity)
        : "memory");
}

// Blocks of a cluster, which launchCluster() starts together.
__device__ inline uint32_t clusterRank() {
    uint32_t rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}
/// All threads of all blocks of the cluster; what they wrote before is there for each other behind it.
__device__ inline void clusterBarrier() { asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory"); }
/// At the barrier that another block of the cluster has at the same place: something there has been read, and products have it. What was written before is
/// not ordered for that block, which would wait for all of memory.
__device__ inline void arriveIn(uint32_t rank, Barrier* barrier) {
    asm volatile("{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, %0, %1;\nmbarrier.arrive.shared::cluster.b64 _, [there];\n}" ::"r"(
                     sharedAddress(barrier)),
                 "r"(rank)
                 : "memory");
}

/// The first copy by this map shall not wait for the map itself.
__device__ inline void prefetchMap(const TensorMap& map) { asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory"); }
/// Brings 128 bytes from byte `column` on of the map's rows from `row` on; what lies outside becomes zeros. `shared` is aligned to 1024: in every 8 rows
/// of 128 bytes the 16-byte pieces are exchanged by an XOR with the row. All bytes of the tile count, those outside too.
__device__ inline void copyTile(void* shared, const TensorMap& map, Barrier* barrier, uint32_t column, uint32_t row) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(sharedAddress(shared)),
                 "l"(&map), "r"(column), "r"(row), "r"(sharedAddress(barrier))
                 : "memory");
}
/// The same to all blocks of the cluster whose bits are set: at the same place of their shared memory, counted by their own barriers.
__device__ inline void copyTileTo(uint16_t blocks, void* shared, const TensorMap& map, Barrier* barrier, uint32_t column, uint32_t row) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(
            sharedAddress(shared)),
        "l"(&map), "r"(column), "r"(row), "r"(sharedAddress(barrier)), "h"(blocks)
        : "memory");
}
/// Both of one head of the map's rows (describeHeads): zeros behind its end, not the next one.
__device__ inline void copyTile(void* shared, const TensorMap& map, Barrier* barrier, uint32_t column, uint32_t head, uint32_t row) {
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], [%5];" ::"r"(sharedAddress(shared)),
                 "l"(&map), "r"(column), "r"(head), "r"(row), "r"(sharedAddress(barrier))
                 : "memory");
}
__device__ inline void copyTileTo(uint16_t blocks, void* shared, const TensorMap& map, Barrier* barrier, uint32_t column, uint32_t head, uint32_t row) {
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%2, %3, %4}], [%5], %6;" ::"r"(
            sharedAddress(shared)),
        "l"(&map), "r"(column), "r"(head), "r"(row), "r"(sharedAddress(barrier)), "h"(blocks)
        : "memory");
}
/// Bytes, addresses: multiples of 16.
__device__ inline void copyBulk(void* shared, const void* global, uint32_t bytes, Barrier* barrier) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(sharedAddress(shared)), "l"(global),
                 "r"(bytes), "r"(sharedAddress(barrier))
                 : "memory");
}

/// The threads of this warpgroup need fewer or more registers from here on: one that copies beside two that compute. What they take comes out of what 384
/// threads start with, 168 each; asking for more than the others gave waits forever.
inline constexpr int kCopyingRegisters = 40;
inline constexpr int kComputingRegisters = 232;
static_assert(kCopyingRegisters + 2 * kComputingRegisters <= 3 * (65536 / 384 / 8 * 8));
__device__ inline void giveRegisters() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCopyingRegisters)); }
__device__ inline void takeRegisters() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kComputingRegisters)); }

/// The reverse of loadMatrices4: lane l gives the address of row l % 8 of matrix l / 8, and of each matrix the 4 bytes 4 (l % 4).. of row l / 4; transposed,
/// elements of 16 bits 2 (l % 4) and + 1 of column l / 4.
__device__ inline void storeMatrices4(void* row, const uint32_t (&from)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(sharedAddress(row)), "r"(from[0]), "r"(from[1]), "r"(from[2]), "r"(from[3])
                 : "memory");
}
__device__ inline void storeMatrices4Transposed(void* row, const uint32_t (&from)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(sharedAddress(row)), "r"(from[0]), "r"(from[1]), "r"(from[2]),
                 "r"(from[3])
                 : "memory");
}

/// A tile of rows of 128 bytes as copyTile leaves it, for a product over their bytes; + bytes / 16 begins further on in the rows.
__device__ inline uint64_t describeTile(const void* shared) {
    constexpr uint64_t kEightRows = 1024 / 16;
    constexpr uint64_t kSwizzle128 = 1;
    return (sharedAddress(shared) & 0x3FFFF) >> 4 | uint64_t{1} << 16 | kEightRows << 32 | kSwizzle128 << 62;
}

/// Registers that products are to read are written by here, not between one product and the next, where the compiler would have to wait for each.
__device__ inline void settle(uint32_t (&a)[4]) { asm volatile("" : "+r"(a[0]), "+r"(a[1]), "+r"(a[2]), "+r"(a[3])::"memory"); }

/// Tiles side by side, `apart` bytes from each other, of 64 columns of bfloat16 each, for a product over their rows; + 128 n / 16 begins n rows further down,
/// a multiple of 8.
__device__ inline uint64_t describeColumns(const void* shared, uint32_t apart) {
    return (describeTile(shared) & ~(uint64_t{0x3FFF} << 16)) | static_cast<uint64_t>(apart / 16) << 16;
}

/// Before the first product, and whenever registers of products were written otherwise.
__device__ inline void beginProducts() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void commitProducts() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/// Until all groups but the last kLeft are done.
template <int kLeft>
__device__ inline void waitProducts() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kLeft) : "memory");
}

/// Behind waitProducts, with the registers that have come: the compiler takes them for written when the product is queued, and would read them before.
template <int kTiles>
__device__ inline void takeProducts(float (&d)[kTiles][4]) {
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
        asm volatile("" : "+f"(d[n][0]), "+f"(d[n][1]), "+f"(d[n][2]), "+f"(d[n][3])::"memory");
    }
}
template <int kTiles>
__device__ inline void takeProducts(int (&d)[kTiles][4]) {
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
        asm volatile("" : "+r"(d[n][0]), "+r"(d[n][1]), "+r"(d[n][2]), "+r"(d[n][3])::"memory");
    }
}

/// Before beginProducts, with the registers that products add to, if they were written otherwise.
template <class D, int kTiles>
__device__ inline void settle(D (&d)[kTiles][4]) {
    takeProducts(d);
}

/// Barriers 1..15 of some of a block's warps, `threads` in all: who meets waits until the others have met or announced themselves.
__device__ inline void meet(uint32_t barrier, uint32_t threads) { asm volatile("barrier.sync.aligned %0, %1;" ::"r"(barrier), "r"(threads) : "memory"); }
__device__ inline void announce(uint32_t barrier, uint32_t threads) { asm volatile("barrier.arrive.aligned %0, %1;" ::"r"(barrier), "r"(threads) : "memory"); }

// D = A Bᵀ (+ D) over a warpgroup, A of 64 rows, B of kColumns rows, 32 bytes of each. Warp w has rows 16 w.. of D: d[n][i] is row lane / 4 + 8 (i / 2),
// column 8 n + 2 (lane % 4) + i % 2, as of mma.
template <int kColumns>
__device__ void multiplyTiles(int (&d)[kColumns / 8][4], uint64_t a, uint64_t b, bool add);    ///< signed bytes
template <int kColumns>
__device__ void multiplyTiles(float (&d)[kColumns / 8][4], uint64_t a, uint64_t b, bool add);  ///< bfloat16
/// The same of signed bytes, A in registers: 32 bytes of each row as mma has them.
template <int kColumns>
__device__ void multiplyRegisters(int (&d)[kColumns / 8][4], const uint32_t (&a)[4], uint64_t b, bool add);
template <int kColumns>
__device__ void multiplyBf16Bits(int (&d)[kColumns / 8][4], uint64_t a, uint64_t b, bool add); ///< bfloat16, d the bits of floats
/// D += A B of bfloat16: A of 16 columns in registers, as mma has them in each warp; B of 16 rows, as describeColumns says: whole tiles side by side, or
/// the first columns of one. D is kColumns / 8 times [4].
template <int kColumns>
__device__ void multiplyColumns(float (*d)[4], const uint32_t (&a)[4], uint64_t b);

#define QUANTSCOPE_D0 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define QUANTSCOPE_D32 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define QUANTSCOPE_D64 "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define QUANTSCOPE_D96 "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define QUANTSCOPE_D0_8 "%0, %1, %2, %3, %4, %5, %6, %7"
#define QUANTSCOPE_BIND2(c, d, n) c(d[n][0]), c(d[n][1]), c(d[n][2]), c(d[n][3]), c(d[n + 1][0]), c(d[n + 1][1]), c(d[n + 1][2]), c(d[n + 1][3])
#define QUANTSCOPE_BIND8(c, d, n) \
    QUANTSCOPE_BIND2(c, d, n), QUANTSCOPE_BIND2(c, d, n + 2), QUANTSCOPE_BIND2(c, d, n + 4), QUANTSCOPE_BIND2(c, d, n + 6)
#define QUANTSCOPE_BIND16(c, d, n) QUANTSCOPE_BIND8(c, d, n), QUANTSCOPE_BIND8(c, d, n + 8)
#define QUANTSCOPE_BIND24(c, d, n) QUANTSCOPE_BIND16(c, d, n), QUANTSCOPE_BIND8(c, d, n + 16)
#define QUANTSCOPE_BIND32(c, d, n) QUANTSCOPE_BIND16(c, d, n), QUANTSCOPE_BIND16(c, d, n + 16)

#define QUANTSCOPE_MULTIPLY_TILES(name, columns, type, constraint, instruction, rest, registers, bind, a_, b_, add_)                                 \
    template <>                                                                                                                                \
    __device__ inline void name<columns>(type(&d)[columns / 8][4], uint64_t a, uint64_t b, bool add) {                                \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #add_ ", 0;\nwgmma.mma_async.sync.aligned.m64n" #columns instruction " {" registers \
                     "}, %" #a_ ", %" #b_ ", p" rest ";\n}"                                                                                    \
                     : bind(constraint, d, 0) : "l"(a), "l"(b), "r"(static_cast<int>(add)));                                                   \
    }
#define QUANTSCOPE_EACH_TYPE(columns, registers, bind, a, b, add)                                                                       \
    QUANTSCOPE_MULTIPLY_TILES(multiplyTiles, columns, int, "+r", "k32.s32.s8.s8", "", registers, bind, a, b, add)                       \
    QUANTSCOPE_MULTIPLY_TILES(multiplyTiles, columns, float, "+f", "k16.f32.bf16.bf16", ", 1, 1, 0, 0", registers, bind, a, b, add)     \
    QUANTSCOPE_MULTIPLY_TILES(multiplyBf16Bits, columns, int, "+r", "k16.f32.bf16.bf16", ", 1, 1, 0, 0", registers, bind, a, b, add)
QUANTSCOPE_EACH_TYPE(64, QUANTSCOPE_D0, QUANTSCOPE_BIND8, 32, 33, 34)
QUANTSCOPE_EACH_TYPE(128, QUANTSCOPE_D0 ", " QUANTSCOPE_D32, QUANTSCOPE_BIND16, 64, 65, 66)
QUANTSCOPE_EACH_TYPE(192, QUANTSCOPE_D0 ", " QUANTSCOPE_D32 ", " QUANTSCOPE_D64, QUANTSCOPE_BIND24, 96, 97, 98)
QUANTSCOPE_EACH_TYPE(256, QUANTSCOPE_D0 ", " QUANTSCOPE_D32 ", " QUANTSCOPE_D64 ", " QUANTSCOPE_D96, QUANTSCOPE_BIND32, 128, 129, 130)
#undef QUANTSCOPE_EACH_TYPE
#define QUANTSCOPE_MULTIPLY_REGISTERS(columns, registers, bind, a0, a1, a2, a3, b_, add_)                                                           \
    template <>                                                                                                                                 \
    __device__ inline void multiplyRegisters<columns>(int(&d)[columns / 8][4], const uint32_t(&a)[4], uint64_t b, bool add) {                   \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #add_ ", 0;\nwgmma.mma_async.sync.aligned.m64n" #columns "k32.s32.s8.s8 {" registers  \
                     "}, {%" #a0 ", %" #a1 ", %" #a2 ", %" #a3 "}, %" #b_ ", p;\n}"                                                              \
                     : bind("+r", d, 0) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(add)));                       \
    }
QUANTSCOPE_MULTIPLY_REGISTERS(128, QUANTSCOPE_D0 ", " QUANTSCOPE_D32, QUANTSCOPE_BIND16, 64, 65, 66, 67, 68, 69)
QUANTSCOPE_MULTIPLY_REGISTERS(256, QUANTSCOPE_D0 ", " QUANTSCOPE_D32 ", " QUANTSCOPE_D64 ", " QUANTSCOPE_D96, QUANTSCOPE_BIND32, 128, 129, 130, 131, 132, 133)
#undef QUANTSCOPE_MULTIPLY_REGISTERS
#undef QUANTSCOPE_MULTIPLY_TILES

#define QUANTSCOPE_MULTIPLY_COLUMNS(columns, registers, bind, a0, a1, a2, a3, b_)                                                            \
    template <>                                                                                                                              \
    __device__ inline void multiplyColumns<columns>(float (*d)[4], const uint32_t (&a)[4], uint64_t b) {                                     \
        asm volatile("wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32.bf16.bf16 {" registers "}, {%" #a0 ", %" #a1 ", %" #a2 ", %" #a3 \
                     "}, %" #b_ ", 1, 1, 1, 1;"                                                                                              \
                     : bind("+f", d, 0) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                                               \
    }
QUANTSCOPE_MULTIPLY_COLUMNS(16, QUANTSCOPE_D0_8, QUANTSCOPE_BIND2, 8, 9, 10, 11, 12)
QUANTSCOPE_MULTIPLY_COLUMNS(64, QUANTSCOPE_D0, QUANTSCOPE_BIND8, 32, 33, 34, 35, 36)
QUANTSCOPE_MULTIPLY_COLUMNS(128, QUANTSCOPE_D0 ", " QUANTSCOPE_D32, QUANTSCOPE_BIND16, 64, 65, 66, 67, 68)
#undef QUANTSCOPE_MULTIPLY_COLUMNS

}  // namespace quantscope::cuda
