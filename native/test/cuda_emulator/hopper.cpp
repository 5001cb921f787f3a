#include "hopper.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <vector>

#include "racecheck.h"

namespace quantscope::cuda {

namespace {

/// What a TensorMap holds here.
struct Rows {
    const void* base;
    uint64_t rows;
    uint64_t heads;
    uint64_t bytes;      ///< of a head
    uint64_t pitch;
    uint32_t boxRows;
    uint32_t boxBytes;
};

/// As of a driver that is too old for them.
bool refusesTileCopies() {
    const char* const said = std::getenv("QUANTSCOPE_EMULATED_TILE_COPIES");
    return said != nullptr && std::strcmp(said, "refused") == 0;
}

cudaError_t describe(TensorMap& map, const void* base, uint64_t rows, uint64_t heads, uint64_t bytes, uint64_t pitch, uint32_t boxRows, uint32_t boxBytes) {
    if (refusesTileCopies()) {
        return cudaErrorNotSupported;
    }
    const bool aligned = reinterpret_cast<uintptr_t>(base) % 16 == 0 && pitch % 16 == 0;
    if (!aligned || boxRows == 0 || boxRows > 256 || rows == 0 || heads == 0 || bytes == 0) {
        return cudaErrorInvalidValue;
    }
    const Rows described{base, rows, heads, bytes, pitch, boxRows, boxBytes};
    std::memcpy(map.bytes, &described, sizeof described);
    return cudaSuccess;
}

}  // namespace

cudaError_t describeRows(TensorMap& map, const void* base, uint64_t rows, uint64_t bytes, uint64_t pitch, uint32_t boxRows) {
    return describe(map, base, rows, 1, bytes, pitch, boxRows, 128);
}
cudaError_t describeCodes(TensorMap& map, const void* base, uint64_t rows, uint64_t bytes, uint64_t pitch, uint32_t boxRows) {
    return describe(map, base, rows, 1, bytes, pitch, boxRows, 64);
}
cudaError_t describeHeads(TensorMap& map, const void* base, uint64_t rows, uint64_t heads, uint64_t bytes, uint64_t pitch, uint32_t boxRows) {
    return bytes % 16 == 0 && pitch % bytes == 0 ? describe(map, base, rows, heads, bytes, pitch, boxRows, 128) : cudaErrorInvalidValue;
}

namespace emulator {

namespace {

/// A list of threads that wait. It never grows: ThreadSanitizer watches what the heap does while a kernel runs.
std::vector<unsigned> sleepers() {
    std::vector<unsigned> none;
    none.reserve(1024);
    return none;
}

struct BarrierState {
    uint32_t arrivals;   ///< of a phase
    uint32_t missing;    ///< of them in this phase
    int64_t bytes = 0;   ///< that were announced and have not come
    uint32_t phase = 0;
    std::vector<unsigned> waiting = sleepers();
    std::vector<std::function<void()>> copies;
    char order = 0;      ///< for ThreadSanitizer
    char requests = 0;   ///< likewise: of blocks of a cluster that ask for copies
};

struct NamedBarrier {
    uint32_t threads;        ///< that meet
    uint32_t arrived = 0;
    std::vector<unsigned> waiting = sleepers();
    char order = 0;
};

struct Product {
    void* results;
    std::function<void()> work;
};

/// What a thread has asked for and not waited for.
struct Products {
    std::vector<Product> open;
    std::deque<std::vector<Product>> groups;
    std::map<void*, std::vector<unsigned char>> before;  ///< results of the first product that waits for its turn
};

struct State {
    uint64_t block = ~uint64_t{0};
    std::map<void*, BarrierState> barriers;
    std::map<uint32_t, NamedBarrier> named;  ///< by number, and 16 for each block of a cluster before
    std::map<unsigned, Products> products;
};

State& state() {
    static thread_local State instance;
    if (instance.block != runningBlock()) {
        instance = {};
        instance.block = runningBlock();
    }
    return instance;
}

BarrierState& find(Barrier* barrier, const Place& where) {
    const auto found = state().barriers.find(barrier);
    if (found == state().barriers.end()) {
        fail("comes to a barrier that nobody has initialised", where);
    }
    return found->second;
}

void wakeAll(BarrierState& barrier) {
    std::for_each(barrier.waiting.begin(), barrier.waiting.end(), wakeThread);
    barrier.waiting.clear();
}

void endPhase(BarrierState& barrier) {
    if (barrier.missing == 0 && barrier.bytes == 0) {
        ++barrier.phase;
        barrier.missing = barrier.arrivals;
        wakeAll(barrier);
    }
}

void copyLater(BarrierState& barrier, uint32_t bytes, std::function<void()> copy) {
    __tsan_acquire(&barrier.requests);
    barrier.copies.push_back([&barrier, bytes, copy = std::move(copy)] {
        copy();
        barrier.bytes -= bytes;
    });
    __tsan_release(&barrier.requests);
    __tsan_release(&barrier.order);
    wakeAll(barrier);
}

/// Where 16 bytes of a tile lie whose rows are 128 or 64 bytes long: pieces within them are exchanged.
uintptr_t swizzled(uintptr_t address, uint64_t rowBytes) { return address ^ (address >> 7 & (rowBytes / 16 - 1)) << 4; }

}  // namespace

void initBarrier(Barrier* barrier, uint32_t arrivals, const Place& where) {
    checkShared(barrier, sizeof *barrier, sizeof *barrier, where);
    state().barriers[barrier] = {arrivals, arrivals};
}

void arrive(Barrier* barrier, uint32_t bytes, const Place& where) {
    BarrierState& it = find(barrier, where);
    if (it.missing == 0) {
        fail("arrives at a barrier whose phase has all its arrivals", where);
    }
    __tsan_release(&it.order);
    --it.missing;
    it.bytes += bytes;
    endPhase(it);
}

void awaitBarrier(Barrier* barrier, uint32_t parity, const Place& where) {
    BarrierState& it = find(barrier, where);
    while (it.phase % 2 == parity) {
        __tsan_acquire(&it.order);
        const auto copies = std::move(it.copies);
        it.copies.clear();
        for (const auto& copy : copies) {
            copy();
        }
        __tsan_release(&it.order);
        endPhase(it);
        if (it.phase % 2 == parity) {
            it.waiting.push_back(runningThread());
            sleepUntilWoken("a barrier of arrivals", where);
        }
    }
    __tsan_acquire(&it.order);
}

void meet(uint32_t number, uint32_t threads, bool waits, const Place& where) {
    if (number < 1 || number > 15 || threads % 32 != 0) {
        fail("comes to barrier " + std::to_string(number) + " of " + std::to_string(threads) + " threads: 1 to 15 and whole warps there are,", where);
    }
    NamedBarrier& it = state().named.try_emplace(clusterRank() * 16 + number, threads).first->second;
    if (it.arrived == 0) {
        it.threads = threads;
    } else if (it.threads != threads) {
        fail("comes to barrier " + std::to_string(number) + " of " + std::to_string(threads) + " threads where others wait for " + std::to_string(it.threads) + ",", where);
    }
    __tsan_release(&it.order);
    if (++it.arrived == threads) {
        it.arrived = 0;
        std::for_each(it.waiting.begin(), it.waiting.end(), wakeThread);
        it.waiting.clear();
    } else if (waits) {
        it.waiting.push_back(runningThread());
        sleepUntilWoken("a barrier of several warps", where);
    }
    if (waits) {
        __tsan_acquire(&it.order);
    }
}

void copyTile(void* shared, const TensorMap& described, Barrier* barrier, uint32_t column, uint32_t head, uint32_t row, uint32_t blocks, const Place& where) {
    Rows map;
    std::memcpy(&map, described.bytes, sizeof map);
    const uint64_t each = map.boxBytes;
    const size_t all = each * map.boxRows;
    checkShared(shared, all, 1024, where);
    for (unsigned rank = 0; blocks >> rank != 0; ++rank) {
        if ((blocks >> rank & 1) == 0) {
            continue;
        }
        auto* const to = static_cast<unsigned char*>(inBlock(shared, rank));
        __tsan_write_range(to, all);
        fillWithGarbage(to, all);
        copyLater(find(static_cast<Barrier*>(inBlock(barrier, rank)), where), static_cast<uint32_t>(all), [to, map, each, column, head, row, where] {
            for (uint64_t r = 0; r < map.boxRows; ++r) {
                for (uint64_t piece = 0; piece < each; piece += 16) {
                    auto* const at = reinterpret_cast<unsigned char*>(swizzled(reinterpret_cast<uintptr_t>(to + r * each + piece), each));
                    const uint64_t begin = column + piece;
                    const uint64_t inside = row + r < map.rows && head < map.heads && begin < map.bytes ? std::min<uint64_t>(16, map.bytes - begin) : 0;
                    const unsigned char* const from = static_cast<const unsigned char*>(map.base) + (row + r) * map.pitch + head * map.bytes + begin;
                    checkReadable(from, inside, 1, where);
                    __tsan_write_range(at, 16);
                    std::memset(at, 0, 16);
                    std::memcpy(at, from, inside);
                }
            }
        });
    }
}

void copyBulk(void* shared, const void* global, uint32_t bytes, Barrier* barrier, const Place& where) {
    checkShared(shared, bytes, 16, where);
    checkReadable(global, bytes, 16, where);
    if (bytes % 16 != 0) {
        fail("copies " + std::to_string(bytes) + " bytes at once, no multiple of 16,", where);
    }
    __tsan_write_range(shared, bytes);
    fillWithGarbage(shared, bytes);
    copyLater(find(barrier, where), bytes, [shared, global, bytes] {
        __tsan_write_range(shared, bytes);
        std::memcpy(shared, global, bytes);
    });
}

void productLater(void* results, size_t bytes, std::function<void()> work, const Place&) {
    Products& mine = state().products[runningThread()];
    auto* const at = static_cast<unsigned char*>(results);
    if (mine.before.emplace(results, std::vector<unsigned char>(at, at + bytes)).second) {
        fillWithGarbage(results, bytes);
    }
    mine.open.push_back({results, std::move(work)});
}

void commitProducts() {
    Products& mine = state().products[runningThread()];
    mine.groups.push_back(std::move(mine.open));
    mine.open.clear();
}

void waitProducts(size_t left, const Place& where) {
    Products& mine = state().products[runningThread()];
    while (mine.groups.size() > left) {
        for (const Product& product : mine.groups.front()) {
            if (const auto found = mine.before.find(product.results); found != mine.before.end()) {
                std::memcpy(product.results, found->second.data(), found->second.size());
                mine.before.erase(found);
            }
            product.work();
        }
        mine.groups.pop_front();
    }
    warpTogether(0xffffffffu, "wgmma.wait_group", nullptr, [](void* const*, uint32_t) {}, where);  // whoever goes on speaks for its warp
}

void readTile(uint64_t tile, uint32_t row, unsigned char (&to)[32], const Place& where) {
    for (uintptr_t piece = 0; piece < 32; piece += 16) {
        auto* const at = reinterpret_cast<void*>(swizzled(static_cast<uintptr_t>(tile) * 16 + row * 128 + piece, 128));
        checkShared(at, 16, 16, where);
        __tsan_read_range(at, 16);
        std::memcpy(to + piece, at, 16);
    }
}

void readColumns(uint64_t tiles, uint32_t column, uint16_t (&to)[16][8], const Place& where) {
    const auto begin = static_cast<uintptr_t>(tiles % kApart) * 16 + column / 64 * static_cast<uintptr_t>(tiles / kApart) * 16 + column % 64 * 2;
    for (uintptr_t row = 0; row < 16; ++row) {
        auto* const at = reinterpret_cast<void*>(swizzled(begin + row * 128, 128));
        checkShared(at, 16, 16, where);
        __tsan_read_range(at, 16);
        std::memcpy(to[row], at, 16);
    }
}

}  // namespace emulator

}  // namespace quantscope::cuda
