// What cuda/hopper_ptx.cuh says in PTX, said in C++. As late as they may: tiles arrive when somebody waits for them and are garbage before; products are
// carried out, and read shared memory, when they are waited for, and their results are garbage before.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <functional>
#include <source_location>

#include "block.h"
#include "cuda/tensor_map.h"

namespace quantscope::cuda {

using Barrier = uint64_t;

namespace emulator {

void initBarrier(Barrier* barrier, uint32_t arrivals, const Place& where);
void arrive(Barrier* barrier, uint32_t bytes, const Place& where);
void awaitBarrier(Barrier* barrier, uint32_t parity, const Place& where);
/// A barrier 1..15 of several warps.
void meet(uint32_t number, uint32_t threads, bool waits, const Place& where);
/// `blocks`: a bit for each block of the cluster that gets the tile, at the same place, and whose barrier counts it.
void copyTile(void* shared, const TensorMap& map, Barrier* barrier, uint32_t column, uint32_t head, uint32_t row, uint32_t blocks, const Place& where);
void copyBulk(void* shared, const void* global, uint32_t bytes, Barrier* barrier, const Place& where);

/// `work` runs when it is waited for; [results, results + bytes) of the running thread are garbage until then.
void productLater(void* results, size_t bytes, std::function<void()> work, const Place& where);
void commitProducts();
void waitProducts(size_t left, const Place& where);

struct StoreMatrices {
    void* row;
    const uint32_t* from;
};
template <bool kTransposed>
void storeMatrices(void* row, const uint32_t (&from)[4], const Place& where) {
    checkShared(row, 16, 16, where);
    StoreMatrices mine{row, from};
    warpTogether(0xffffffffu, "stmatrix", &mine, [](void* const* lanes, uint32_t) {
        for (int lane = 0; lane < 32; ++lane) {
            for (int m = 0; m < 4; ++m) {
                for (int e = 0; e < 2; ++e) {
                    const int r = kTransposed ? lane % 4 * 2 + e : lane / 4;
                    const int c = kTransposed ? lane / 4 : lane % 4 * 2 + e;
                    const auto value = static_cast<uint16_t>(static_cast<const StoreMatrices*>(lanes[lane])->from[m] >> 16 * e);
                    std::memcpy(static_cast<char*>(static_cast<const StoreMatrices*>(lanes[m * 8 + r])->row) + 2 * c, &value, 2);
                }
            }
        }
    }, where);
}

/// 32 bytes of a row of a tile, from where `tile` begins in its rows on.
void readTile(uint64_t tile, uint32_t row, unsigned char (&to)[32], const Place& where);
/// 8 columns of 16 rows of tiles side by side; what describeColumns() says is their address / 16, and times kApart what is between them, likewise.
inline constexpr uint64_t kApart = uint64_t{1} << 44;
void readColumns(uint64_t tiles, uint32_t column, uint16_t (&to)[16][8], const Place& where);

inline void addProduct(int& sum, const unsigned char (&a)[32], const unsigned char (&b)[32]) {
    for (int k = 0; k < 32; ++k) {
        sum += static_cast<int8_t>(a[k]) * static_cast<int8_t>(b[k]);
    }
}
inline void addProduct(float& sum, const unsigned char (&a)[32], const unsigned char (&b)[32]) {
    double added = 0;  // the order within one product is the tensor core's own: exact here
    for (int k = 0; k < 32; k += 2) {
        const auto value = [k](const unsigned char* from) { return std::bit_cast<float>(static_cast<uint32_t>(from[k + 1]) << 24 | static_cast<uint32_t>(from[k]) << 16); };
        added += static_cast<double>(value(a)) * value(b);
    }
    sum = static_cast<float>(sum + added);
}

/// A float whose bits are an int's.
struct FloatBits {
    int bits;
    explicit FloatBits(int zero) : bits(zero) {}
};
inline void addProduct(FloatBits& sum, const unsigned char (&a)[32], const unsigned char (&b)[32]) {
    float value = std::bit_cast<float>(sum.bits);
    addProduct(value, a, b);
    sum.bits = std::bit_cast<int>(value);
}

/// The first operand's rows of this thread are what readRows leaves.
template <class D, int kTiles, class ReadRows>
void multiplyLater(D (&d)[kTiles][4], ReadRows readRows, uint64_t b, bool add, const Place& where) {
    productLater(d, sizeof d, [&d, readRows, b, add, where] {
        const uint32_t lane = threadIdx.x % 32;
        unsigned char rows[2][32];
        readRows(rows);
        for (uint32_t n = 0; n < kTiles; ++n) {
            for (uint32_t i = 0; i < 2; ++i) {
                unsigned char column[32];
                readTile(b, 8 * n + lane % 4 * 2 + i, column, where);
                for (uint32_t h = 0; h < 2; ++h) {
                    D& sum = d[n][2 * h + i];
                    sum = add ? sum : D(0);
                    addProduct(sum, rows[h], column);
                }
            }
        }
    }, where);
}

template <class D, int kTiles>
void multiplyTiles(D (&d)[kTiles][4], uint64_t a, uint64_t b, bool add, const Place& where) {
    multiplyLater(d, [a, where](unsigned char (&rows)[2][32]) {
        for (uint32_t h = 0; h < 2; ++h) {
            readTile(a, threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4 + 8 * h, rows[h], where);
        }
    }, b, add, where);
}

/// Registers of the first operand are read when the product is carried out: they must stay as they are until then.
struct Lane {
    const uint32_t* a;
    unsigned char (*rows)[32];
};
inline void readRegisters(const uint32_t (&a)[4], unsigned char (&rows)[2][32], const Place& where) {
    Lane mine{a, rows};
    warpTogether(0xffffffffu, "wgmma", &mine, [](void* const* lanes, uint32_t) {
        for (int lane = 0; lane < 32; ++lane) {
            const auto& to = *static_cast<const Lane*>(lanes[lane]);
            for (int from = lane / 4 * 4; from < lane / 4 * 4 + 4; ++from) {
                const uint32_t* const words = static_cast<const Lane*>(lanes[from])->a;
                for (int r = 0; r < 4; ++r) {
                    std::memcpy(to.rows[r % 2] + r / 2 * 16 + from % 4 * 4, words + r, 4);
                }
            }
        }
    }, where);
}
template <int kTiles>
void multiplyRegisters(int (&d)[kTiles][4], const uint32_t (&a)[4], uint64_t b, bool add, const Place& where) {
    multiplyLater(d, [&a, where](unsigned char (&rows)[2][32]) { readRegisters(a, rows, where); }, b, add, where);
}
template <int kColumns>
void multiplyColumns(float (*d)[4], const uint32_t (&a)[4], uint64_t b, const Place& where) {
    static_assert(kColumns % 64 == 0 || kColumns < 64, "whole tiles, or a part of one");
    productLater(d, kColumns / 8 * sizeof *d, [d, &a, b, where] {
        unsigned char rows[2][32];
        readRegisters(a, rows, where);
        for (uint32_t n = 0; n < kColumns / 8; ++n) {
            uint16_t values[16][8];
            readColumns(b, 8 * n, values, where);
            for (uint32_t i = 0; i < 4; ++i) {
                unsigned char column[32];
                for (uint32_t k = 0; k < 16; ++k) {
                    std::memcpy(column + 2 * k, &values[k][threadIdx.x % 4 * 2 + i % 2], 2);
                }
                addProduct(d[n][i], rows[i / 2], column);
            }
        }
    }, where);
}

}  // namespace emulator

inline void initBarrier(Barrier* barrier, uint32_t arrivals, QUANTSCOPE_WHERE) { emulator::initBarrier(barrier, arrivals, where); }
inline void publishBarriers() {}
inline void arrive(Barrier* barrier, QUANTSCOPE_WHERE) { emulator::arrive(barrier, 0, where); }
inline void arriveExpecting(Barrier* barrier, uint32_t bytes, QUANTSCOPE_WHERE) { emulator::arrive(barrier, bytes, where); }
inline void arriveIn(uint32_t rank, Barrier* barrier, QUANTSCOPE_WHERE) { emulator::arrive(static_cast<Barrier*>(emulator::inBlock(barrier, rank)), 0, where); }
inline uint32_t clusterRank() { return emulator::clusterRank(); }
inline void clusterBarrier(QUANTSCOPE_WHERE) { emulator::clusterBarrier(where); }
inline void awaitBarrier(Barrier* barrier, uint32_t parity, QUANTSCOPE_WHERE) { emulator::awaitBarrier(barrier, parity, where); }
inline void prefetchMap(const TensorMap&) {}
inline void copyTile(void* shared, const TensorMap& map, Barrier* barrier, uint32_t column, uint32_t row, QUANTSCOPE_WHERE) {
    emulator::copyTile(shared, map, barrier, column, 0, row, 1u << emulator::clusterRank(), where);
}
inline void copyTile(void* shared, const TensorMap& map, Barrier* barrier, uint32_t column, uint32_t head, uint32_t row, QUANTSCOPE_WHERE) {
    emulator::copyTile(shared, map, barrier, column, head, row, 1u << emulator::clusterRank(), where);
}
inline void copyTileTo(uint16_t blocks, void* shared, const TensorMap& map, Barrier* barrier, uint32_t column, uint32_t row, QUANTSCOPE_WHERE) {
    emulator::copyTile(shared, map, barrier, column, 0, row, blocks, where);
}
inline void copyTileTo(uint16_t blocks, void* shared, const TensorMap& map, Barrier* barrier, uint32_t column, uint32_t head, uint32_t row, QUANTSCOPE_WHERE) {
    emulator::copyTile(shared, map, barrier, column, head, row, blocks, where);
}
inline void copyBulk(void* shared, const void* global, uint32_t bytes, Barrier* barrier, QUANTSCOPE_WHERE) {
    emulator::copyBulk(shared, global, bytes, barrier, where);
}
inline void storeMatrices4(void* row, const uint32_t (&from)[4], QUANTSCOPE_WHERE) { emulator::storeMatrices<false>(row, from, where); }
inline void storeMatrices4Transposed(void* row, const uint32_t (&from)[4], QUANTSCOPE_WHERE) { emulator::storeMatrices<true>(row, from, where); }
inline void giveRegisters() {}
inline void takeRegisters() {}
inline uint64_t describeTile(const void* shared) { return reinterpret_cast<uintptr_t>(shared) / 16; }
inline uint64_t describeColumns(const void* shared, uint32_t apart) { return describeTile(shared) + apart / 16 * emulator::kApart; }
inline void meet(uint32_t barrier, uint32_t threads, QUANTSCOPE_WHERE) { emulator::meet(barrier, threads, true, where); }
inline void announce(uint32_t barrier, uint32_t threads, QUANTSCOPE_WHERE) { emulator::meet(barrier, threads, false, where); }
template <class D, int kTiles>
void takeProducts(D (&)[kTiles][4]) {}
inline void settle(uint32_t (&)[4]) {}
template <class D, int kTiles>
void settle(D (&)[kTiles][4]) {}
inline void beginProducts() {}
inline void commitProducts() { emulator::commitProducts(); }
template <int kLeft>
void waitProducts(QUANTSCOPE_WHERE) {
    emulator::waitProducts(kLeft, where);
}
template <int kColumns, class D>
void multiplyTiles(D (&d)[kColumns / 8][4], uint64_t a, uint64_t b, bool add, QUANTSCOPE_WHERE) {
    emulator::multiplyTiles(d, a, b, add, where);
}
template <int kColumns>
void multiplyRegisters(int (&d)[kColumns / 8][4], const uint32_t (&a)[4], uint64_t b, bool add, QUANTSCOPE_WHERE) {
    emulator::multiplyRegisters(d, a, b, add, where);
}
template <int kColumns>
void multiplyColumns(float (*d)[4], const uint32_t (&a)[4], uint64_t b, QUANTSCOPE_WHERE) {
    emulator::multiplyColumns<kColumns>(d, a, b, where);
}
template <int kColumns>
void multiplyBf16Bits(int (&d)[kColumns / 8][4], uint64_t a, uint64_t b, bool add, QUANTSCOPE_WHERE) {
    emulator::multiplyTiles(reinterpret_cast<emulator::FloatBits (&)[kColumns / 8][4]>(d), a, b, add, where);
}

}  // namespace quantscope::cuda
