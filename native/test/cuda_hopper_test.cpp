// What compute capability 9.0 adds, as the emulator has it: products of warpgroups, tile copies, barriers that count bytes, clusters; and the mistakes that
// show there.
#include <algorithm>
#include <vector>

#include "base/random.h"
#include "cuda/hopper.cuh"
#include "cuda_emulator_support.h"

namespace quantscope::cuda {
namespace {

constexpr int kRows = 64;
constexpr uint32_t kTile = kRows * 128;

struct Mistakes {
    bool skipsArrival = false;  ///< nobody waits for the tiles
    bool skipsWait = false;     ///< nor for the products
};

/// d [64][64] = a bᵀ of rows of 128 signed bytes, in one product for every 32; `registers` takes those of a from registers.
__global__ void product(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, int* d, bool registers, Mistakes mistakes) {
    uint8_t* const tiles = dynamicShared<uint8_t>();
    Barrier* const arrived = reinterpret_cast<Barrier*>(tiles + 2 * kTile);
    if (threadIdx.x == 0) {
        initBarrier(arrived, 1);
        publishBarriers();
        arriveExpecting(arrived, 2 * kTile);
        copyTile(tiles, a, arrived, 0, 0);
        copyTile(tiles + kTile, b, arrived, 0, 0);
    }
    __syncthreads();
    if (!mistakes.skipsArrival) {
        awaitBarrier(arrived, 0);
    }
    const uint32_t lane = threadIdx.x % 32, row = threadIdx.x / 32 * 16 + lane / 4;
    int sums[8][4] = {};
    uint32_t words[4][4];
    for (uint32_t piece = 0; piece < 4; ++piece) {
        for (uint32_t i = 0; i < 4; ++i) {
            const uint32_t of = row + i % 2 * 8;
            words[piece][i] = *reinterpret_cast<const uint32_t*>(tiles + of * 128 + ((piece * 2 + i / 2) ^ of % 8) * 16 + lane % 4 * 4);
        }
    }
    beginProducts();
    for (uint32_t piece = 0; piece < 4; ++piece) {
        const uint64_t w = describeTile(tiles + kTile) + 2 * piece;
        if (registers) {
            multiplyRegisters<64>(sums, words[piece], w, true);
        } else {
            multiplyTiles<64>(sums, describeTile(tiles) + 2 * piece, w, piece > 0);
        }
    }
    commitProducts();
    if (!mistakes.skipsWait) {
        waitProducts<0>();
    }
    for (uint32_t n = 0; n < 8; ++n) {
        for (uint32_t i = 0; i < 4; ++i) {
            d[(row + i / 2 * 8) * 64 + n * 8 + lane % 4 * 2 + i % 2] = sums[n][i];
        }
    }
}

struct Products : CudaEmulator {
    static constexpr uint64_t kHeight = 60, kBytes = 100;  ///< of what is there: the rest of the tiles is zeros
    SplitMix64 random{11};
    std::vector<int8_t> a = values(), b = values();

    std::vector<int8_t> values() {
        std::vector<int8_t> result(kHeight * 112);
        std::generate(result.begin(), result.end(), [&] { return static_cast<int8_t>(random.next()); });
        return result;
    }
    std::vector<int> run(bool registers, Mistakes mistakes = {}) {
        const OnDevice<int8_t> aThere(a), bThere(b);
        const OnDevice<int> d(64 * 64);
        TensorMap aMap, bMap;
        EXPECT_EQ(describeRows(aMap, aThere, kHeight, kBytes, 112, kRows), cudaSuccess);
        EXPECT_EQ(describeRows(bMap, bThere, kHeight, kBytes, 112, kRows), cudaSuccess);
        launch(product, 1, 128, 2 * kTile + 8, nullptr, aMap, bMap, d, registers, mistakes);
        EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess) << emulator::fault();
        return d.host();
    }
    std::vector<int> plain() const {
        std::vector<int> result(64 * 64);
        for (size_t i = 0; i < kHeight; ++i) {
            for (size_t j = 0; j < kHeight; ++j) {
                for (size_t k = 0; k < kBytes; ++k) {
                    result[i * 64 + j] += a[i * 112 + k] * b[j * 112 + k];
                }
            }
        }
        return result;
    }
};

TEST_F(Products, OfWarpgroupsAreThoseOfTheRows) {
    underAllOrders([&] {
        EXPECT_EQ(run(false), plain());
        EXPECT_EQ(run(true), plain());
    });
}

TEST_F(Products, ComeWhenTheyAreWaitedFor) {
    const auto right = plain();
    for (const bool registers : {false, true}) {
        EXPECT_NE(run(registers, {.skipsArrival = true}), right) << "tiles are garbage until they are waited for";
        EXPECT_NE(run(registers, {.skipsWait = true}), right) << "so are sums";
    }
}

__global__ void waitsForNobody(int* d) {
    Barrier* const barrier = dynamicShared<Barrier>();
    if (threadIdx.x == 0) {
        initBarrier(barrier, 2);
        arrive(barrier);
    }
    __syncthreads();
    awaitBarrier(barrier, 0);
    d[threadIdx.x] = 1;
}

__global__ void arrivesTooOften(int* d) {
    Barrier* const barrier = dynamicShared<Barrier>();
    if (threadIdx.x == 0) {
        initBarrier(barrier, 1);
        arriveExpecting(barrier, 16);
        arrive(barrier);
    }
    d[threadIdx.x] = 1;
}

TEST_F(CudaEmulator, BarriersOfArrivalsEndWithAMessage) {
    {
        const OnDevice<int> d(32);
        launch(waitsForNobody, 1, 32, 16, nullptr, d);
        expectFault("wait in a barrier of arrivals");
        launch(arrivesTooOften, 1, 32, 16, nullptr, d);
        expectFault("whose phase has all its arrivals");
    }
}

/// Four matrices of 64 elements below each other, of which lane l gives number 2 l and 2 l + 1; `shift` moves their rows.
__global__ void stores(uint16_t* to, bool transposed, uint32_t shift) {
    uint16_t* const rows = dynamicShared<uint16_t>();
    uint32_t words[4];
    for (uint32_t m = 0; m < 4; ++m) {
        words[m] = (64 * m + 2 * threadIdx.x + 1) << 16 | (64 * m + 2 * threadIdx.x);
    }
    if (transposed) {
        storeMatrices4Transposed(rows + threadIdx.x * 8 + shift, words);
    } else {
        storeMatrices4(rows + threadIdx.x * 8 + shift, words);
    }
    __syncwarp();
    for (uint32_t c = 0; c < 8; ++c) {
        to[threadIdx.x * 8 + c] = rows[threadIdx.x * 8 + c];
    }
}

TEST_F(CudaEmulator, StoresMatricesAsTheyAreAndTransposed) {
    underAllOrders([&] {
        const OnDevice<uint16_t> to(256);
        for (const bool transposed : {false, true}) {
            launch(stores, 1, 32, 1024, nullptr, to, transposed, 0u);
            const auto found = to.host();
            for (size_t i = 0; i < 256; ++i) {
                const size_t row = i / 8 % 8, column = i % 8;
                ASSERT_EQ(found[i], i / 64 * 64 + (transposed ? column * 8 + row : row * 8 + column)) << i;
            }
        }
    });
    const OnDevice<uint16_t> to(256);
    launch(stores, 1, 32, 1024, nullptr, to, false, 4u);
    expectFault("not aligned to 16");
}

/// Each block of a pair fetches one row of a tile for both, and tells the other that it has read them.
__global__ void shared(const __grid_constant__ TensorMap map, uint8_t* to) {
    uint8_t* const tile = dynamicShared<uint8_t>();
    Barrier* const full = reinterpret_cast<Barrier*>(tile + 2048);
    Barrier* const read = full + 1;
    const uint32_t rank = clusterRank();
    if (threadIdx.x == 0) {
        initBarrier(full, 1);
        initBarrier(read, 2);
        publishBarriers();
    }
    clusterBarrier();
    if (threadIdx.x == 0) {
        arriveExpecting(full, 2 * 8 * 128);
        copyTileTo(3, tile + rank * 1024, map, full, 0, rank * 8);
    }
    awaitBarrier(full, 0);
    for (uint32_t i = threadIdx.x; i < 2048; i += 32) {
        to[blockIdx.x * 2048 + i] = tile[i];
    }
    __syncwarp();
    if (threadIdx.x < 2) {
        arriveIn(threadIdx.x, read);
    }
    awaitBarrier(read, 0);
    clusterBarrier();
}

TEST_F(CudaEmulator, BlocksOfAClusterFetchForEachOther) {
    std::vector<uint8_t> values(16 * 128);
    for (size_t i = 0; i < values.size(); ++i) {
        values[i] = static_cast<uint8_t>(i / 128 * 16 + i % 128 / 16);  // a number for each piece of 16
    }
    const OnDevice<uint8_t> from(values);
    TensorMap map;
    ASSERT_EQ(describeRows(map, from, 16, 128, 128, 8), cudaSuccess);
    underAllOrders([&] {
        const OnDevice<uint8_t> to(4 * 2048);
        ASSERT_EQ(launchCluster(shared, 2, 4, 32, 2048 + 16, nullptr, map, to), cudaSuccess);
        const auto found = to.host();
        for (size_t i = 0; i < found.size(); ++i) {
            const size_t row = i / 128 % 16, piece = i % 128 / 16;
            ASSERT_EQ(found[i], row * 16 + (piece ^ row % 8)) << i;
        }
    });
    EXPECT_EQ(launchCluster(shared, 2, 3, 32, 2048 + 16, nullptr, map, static_cast<uint8_t*>(nullptr)), cudaErrorInvalidConfiguration);
    cudaGetLastError();
}

}  // namespace
}  // namespace quantscope::cuda
