#include "block.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "emulator.h"
#include "fiber.h"
#include "memory.h"
#include "racecheck.h"

constinit thread_local uint3 threadIdx{};
constinit thread_local uint3 blockIdx{};
constinit thread_local uint3 blockDim{};
constinit thread_local uint3 gridDim{};

namespace quantscope::cuda::emulator {

namespace {

constexpr unsigned kWarp = 32;
constexpr unsigned kMostThreads = 1024;     // of a block, or of a cluster's blocks
constexpr unsigned kMostBlocks = 2;         // of a cluster
constexpr size_t kGuard = 4096;            // bytes before and behind dynamic shared memory
constexpr unsigned char kGuardByte = 0xa5;

struct Fault {
    std::string message;
};

std::string placeName(const Place& where) {
    const std::string file = where.file_name();
    return file.substr(file.find_last_of('/') + 1) + ":" + std::to_string(where.line());
}

struct Copy {
    void* to;
    const void* from;
    size_t bytes;
    size_t filled;  ///< of them from `from`; the rest are zeros
    Place where;
};

struct Thread {
    Fiber fiber;
    uint3 index{};
    bool done = false;
    const char* waitsIn = nullptr;
    Place waitsAt;
    std::vector<Copy> open;                 ///< copies of no group yet
    std::deque<std::vector<Copy>> groups;
};

/// Lanes that wait for each other.
struct Meeting {
    uint32_t mask;
    uint32_t arrived;
    const char* kind;
    Place where;
    void* arguments[kWarp];
};

struct Warp {
    uint32_t runnable = 0;
    std::vector<Meeting> meetings;
};

/// Where all threads of a block, or of a cluster, wait for each other.
struct BlockBarrier {
    unsigned waiting = 0;
    int sum = 0;
    int lastSum = 0;
    Place place;
    char order[2] = {};  ///< for ThreadSanitizer, in turn
    unsigned turn = 0;
};

/// What each block of a cluster has for itself.
struct OwnBlock {
    std::vector<unsigned char> memory;  ///< guard, dynamic shared memory, guard
    BlockBarrier barrier;

    unsigned char* shared() {
        const auto begin = reinterpret_cast<uintptr_t>(memory.data()) + kGuard;
        return reinterpret_cast<unsigned char*>((begin + 1023) / 1024 * 1024);
    }
};

/// A cluster of blocks that run together, mostly of one. One for each thread of the host; its stacks are used again and again.
struct Block {
    std::vector<std::unique_ptr<Thread>> threads;
    unsigned count = 0;
    Warp warps[kMostThreads / kWarp];
    uint32_t runnableWarps = 0;
    unsigned running = 0;
    unsigned left = 0;      ///< threads that have not returned
    unsigned size = 0;      ///< threads of a block
    OwnBlock own[kMostBlocks];
    BlockBarrier clusterBarrier;
    const std::function<void()>* body = nullptr;
    std::string failure;
    size_t sharedBytes = 0;
    std::map<void*, size_t> arrays;     ///< static shared memory that this block has come across
    uint64_t random = 0;
    char launched = 0, finished = 0;            ///< for ThreadSanitizer: what comes before and after a block's threads
    char meetings[kMostThreads / kWarp] = {};
    uint64_t number = 0;

    OwnBlock& mine() { return own[running / size]; }
    unsigned char* shared() { return mine().shared(); }
    uint64_t next() {  // SplitMix64
        uint64_t z = random += 0x9e3779b97f4a7c15;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }
    void wake(unsigned thread) {
        warps[thread / kWarp].runnable |= 1u << thread % kWarp;
        runnableWarps |= 1u << thread / kWarp;
    }
    void sleep(unsigned thread) {
        Warp& warp = warps[thread / kWarp];
        warp.runnable &= ~(1u << thread % kWarp);
        if (warp.runnable == 0) {
            runnableWarps &= ~(1u << thread / kWarp);
        }
    }
    unsigned pick(uint32_t mask) {
        switch (options().order) {
            case Order::Forward: return static_cast<unsigned>(std::countr_zero(mask));
            case Order::Backward: return 31 - static_cast<unsigned>(std::countl_zero(mask));
            case Order::Shuffled: break;
        }
        const int turn = static_cast<int>(next() % kWarp);
        return (static_cast<unsigned>(std::countr_zero(std::rotr(mask, turn))) + static_cast<unsigned>(turn)) % kWarp;
    }
    Thread& self() { return *threads[running]; }
};

Block& block() {
    static thread_local Block instance;
    return instance;
}

std::string tripleName(const uint3& index) {
    return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) + ")";
}

/// Until somebody wakes the running thread.
void wait(const char* in, const Place& where) {
    Block& b = block();
    Thread& self = b.self();
    self.waitsIn = in;
    self.waitsAt = where;
    b.sleep(b.running);
    self.fiber.leave();
    self.waitsIn = nullptr;
}

void threadEntry() {
    Block& b = block();
    __tsan_acquire(&b.launched);
    try {
        (*b.body)();
    } catch (const Fault& fault) {
        b.failure = fault.message;
    } catch (const std::exception& error) {
        b.failure = std::string("exception: ") + error.what();
    }
    Thread& self = b.self();
    __tsan_release(&b.finished);
    self.done = true;
    --b.left;
    b.sleep(b.running);
    self.fiber.leave(true);
}

/// Nobody can go on: where they all are.
std::string stuck(Block& b) {
    std::map<std::string, unsigned> places;
    for (unsigned t = 0; t < b.count; ++t) {
        const Thread& thread = *b.threads[t];
        ++places[thread.done ? "have returned" : std::string("wait in ") + thread.waitsIn + " at " + placeName(thread.waitsAt)];
    }
    std::string text = "threads wait for others that do not come:";
    for (const auto& [place, count] : places) {
        text += " " + std::to_string(count) + " " + place + ";";
    }
    text.pop_back();
    return text;
}

void checkGuards(Block& b, OwnBlock& own) {
    const unsigned char* const begin = own.shared();
    const auto whole = [](const unsigned char* from) { return std::all_of(from, from + kGuard, [](unsigned char byte) { return byte == kGuardByte; }); };
    if (!whole(begin - kGuard) || !whole(begin + b.sharedBytes)) {
        b.failure = "writes outside of its " + std::to_string(b.sharedBytes) + " bytes of dynamic shared memory";
    }
}

/// Of the block with blockIdx, and of its neighbours along x in its cluster.
void runBlocks(Block& b, dim3 size, unsigned cluster) {
    const uint3 first = blockIdx;
    b.size = size.x * size.y * size.z;
    b.count = b.size * cluster;
    ++b.number;
    b.left = b.count;
    b.clusterBarrier = {};
    b.runnableWarps = 0;
    b.arrays.clear();
    for (unsigned rank = 0; rank < cluster; ++rank) {
        OwnBlock& own = b.own[rank];
        own.barrier = {};
        own.memory.resize(b.sharedBytes + 2 * kGuard + 1024);
        std::fill_n(own.shared() - kGuard, kGuard, kGuardByte);
        fillWithGarbage(own.shared(), b.sharedBytes);
        std::fill_n(own.shared() + b.sharedBytes, kGuard, kGuardByte);
    }
    for (auto& warp : b.warps) {
        warp.runnable = 0;
        warp.meetings.clear();
    }
    while (b.threads.size() < b.count) {
        b.threads.push_back(std::make_unique<Thread>());
    }
    for (unsigned t = 0; t < b.count; ++t) {
        Thread& thread = *b.threads[t];
        const unsigned own = t % b.size;
        thread.index = {own % size.x, own / size.x % size.y, own / (size.x * size.y)};
        thread.done = false;
        thread.open.clear();
        thread.groups.clear();
        thread.fiber.start(threadEntry);
        b.wake(t);
    }
    __tsan_release(&b.launched);
    while (b.left > 0 && b.failure.empty()) {
        if (b.runnableWarps == 0) {
            b.failure = stuck(b);
            return;
        }
        const unsigned warp = b.pick(b.runnableWarps);
        b.running = warp * kWarp + b.pick(b.warps[warp].runnable);
        threadIdx = b.self().index;
        blockIdx = {first.x + b.running / b.size, first.y, first.z};
        b.self().fiber.resume();
    }
    __tsan_acquire(&b.finished);
    for (unsigned rank = 0; rank < cluster && b.failure.empty(); ++rank) {
        checkGuards(b, b.own[rank]);
    }
}

void finish(const Copy& copy) {
    checkReadable(copy.from, copy.filled, 1, copy.where);
    __tsan_read_range(const_cast<void*>(copy.from), copy.filled);
    __tsan_write_range(copy.to, copy.bytes);
    std::memcpy(copy.to, copy.from, copy.filled);
    std::memset(static_cast<char*>(copy.to) + copy.filled, 0, copy.bytes - copy.filled);
}

}  // namespace

void fail(const std::string& what, const Place& where) { throw Fault{"thread " + tripleName(threadIdx) + " " + what + " at " + placeName(where)}; }

namespace {

/// Until `count` threads from `first` on have come.
int meet(BlockBarrier& barrier, unsigned first, unsigned count, int value, const char* name, const Place& where) {
    Block& b = block();
    if (barrier.waiting > 0 && (barrier.place.line() != where.line() || std::strcmp(barrier.place.file_name(), where.file_name()) != 0)) {
        fail("comes to a barrier while others of its block wait at another one, " + placeName(barrier.place) + ",", where);
    }
    barrier.place = where;
    barrier.sum += value;
    char* const order = &barrier.order[barrier.turn % 2];
    __tsan_release(order);
    if (++barrier.waiting == count) {  // threads that have returned never come: stuck() says so
        barrier.waiting = 0;
        ++barrier.turn;
        barrier.lastSum = barrier.sum;
        barrier.sum = 0;
        for (unsigned t = first; t < first + count; ++t) {
            b.wake(t);
        }
        // Whoever is first by the order goes on, not who came last.
        b.self().fiber.leave();
    } else {
        wait(name, where);
    }
    __tsan_acquire(order);
    return barrier.lastSum;
}

}  // namespace

int blockBarrierSum(int value, const Place& where) {
    Block& b = block();
    return meet(b.mine().barrier, b.running / b.size * b.size, b.size, value, "a block barrier", where);
}

void clusterBarrier(const Place& where) {
    Block& b = block();
    meet(b.clusterBarrier, 0, b.count, 0, "a barrier of the cluster", where);
}

unsigned clusterRank() { return block().running / block().size; }

void* inBlock(const void* shared, unsigned rank) {
    Block& b = block();
    return b.own[rank].shared() + (static_cast<const unsigned char*>(shared) - b.shared());
}

void blockBarrier(const Place& where) { blockBarrierSum(0, where); }

void warpTogether(uint32_t mask, const char* kind, void* argument, Together body, const Place& where) {
    Block& b = block();
    Warp& warp = b.warps[b.running / kWarp];
    const uint32_t lane = b.running % kWarp;
    if ((mask >> lane & 1) == 0) {
        fail(std::string("is not in the mask of its own ") + kind, where);
    }
    if (b.running % b.size - lane + kWarp - static_cast<unsigned>(std::countl_zero(mask)) > b.size) {
        fail(std::string("waits in ") + kind + " for lanes that its block of " + std::to_string(b.size) + " threads does not have", where);
    }
    Meeting* meeting = nullptr;
    for (Meeting& other : warp.meetings) {
        if ((other.mask & mask) == 0) {
            continue;
        }
        if (other.mask != mask || std::strcmp(other.kind, kind) != 0 || other.where.line() != where.line()) {
            fail(std::string("comes to ") + kind + " while lanes of its warp wait in " + other.kind + " at " + placeName(other.where) + ",", where);
        }
        meeting = &other;
    }
    if (meeting == nullptr) {
        warp.meetings.push_back({mask, 0, kind, where, {}});
        meeting = &warp.meetings.back();
    }
    char* const order = &b.meetings[b.running / kWarp];
    __tsan_release(order);
    meeting->arguments[lane] = argument;
    meeting->arrived |= 1u << lane;
    if (meeting->arrived != mask) {
        wait(kind, where);
        __tsan_acquire(order);
        return;
    }
    __tsan_acquire(order);
    const Meeting complete = *meeting;
    warp.meetings.erase(warp.meetings.begin() + (meeting - warp.meetings.data()));
    body(complete.arguments, mask);
    __tsan_release(order);
    for (uint32_t other = 0; other < kWarp; ++other) {
        if (mask >> other & 1) {
            b.wake(b.running - lane + other);
        }
    }
    b.self().fiber.leave();  // as after a barrier
}

unsigned runningThread() { return block().running; }
void sleepUntilWoken(const char* in, const Place& where) { wait(in, where); }
void wakeThread(unsigned thread) { block().wake(thread); }
uint64_t runningBlock() { return block().number; }

unsigned char* dynamicShared() { return block().shared(); }
size_t dynamicSharedBytes() { return block().sharedBytes; }

void enterShared(void* array, size_t bytes, const Place& where) {
    Block& b = block();
    if (!b.arrays.emplace(array, bytes).second) {
        return;
    }
    if (b.count > b.size) {
        fail("has static shared memory in a cluster, which the emulator does not keep apart by block,", where);
    }
    size_t total = 0;
    for (const auto& [at, size] : b.arrays) {
        total += size;
    }
    if (total > 48 * 1024) {
        fail("has " + std::to_string(total) + " bytes of static shared memory, more than 48 KiB,", where);
    }
    const size_t before = (total + 1023) / 1024 * 1024;  // dynamic memory behind it is aligned so far (ptx.cuh)
    if (b.sharedBytes > 0 && before + b.sharedBytes > options().sharedPerBlock) {
        fail("has " + std::to_string(before) + " bytes of static and " + std::to_string(b.sharedBytes) + " of dynamic shared memory, more than a block may have,", where);
    }
    fillWithGarbage(array, bytes);
}

bool isShared(const void* at, size_t bytes) {
    Block& b = block();
    const auto* const first = static_cast<const unsigned char*>(at);
    if (first >= b.shared() && first + bytes <= b.shared() + b.sharedBytes) {
        return true;
    }
    auto found = b.arrays.upper_bound(const_cast<void*>(at));
    if (found == b.arrays.begin()) {
        return false;
    }
    --found;
    return first + bytes <= static_cast<const unsigned char*>(found->first) + found->second;
}

void checkShared(const void* at, size_t bytes, size_t alignment, const Place& where) {
    if (reinterpret_cast<uintptr_t>(at) % alignment != 0) {
        fail("addresses " + std::to_string(bytes) + " bytes that are not aligned to " + std::to_string(alignment), where);
    }
    if (!isShared(at, bytes)) {
        fail("addresses " + std::to_string(bytes) + " bytes outside of the block's shared memory", where);
    }
}

void checkReadable(const void* at, size_t bytes, size_t alignment, const Place& where) {
    if (bytes == 0) {
        return;
    }
    if (reinterpret_cast<uintptr_t>(at) % alignment != 0) {
        fail("addresses " + std::to_string(bytes) + " bytes that are not aligned to " + std::to_string(alignment), where);
    }
    if (!isShared(at, bytes) && !isDeviceMemoryForKernels(at, bytes)) {
        fail("addresses " + std::to_string(bytes) + " bytes outside of every allocation of the device", where);
    }
}

void copyLater(void* to, const void* from, size_t bytes, size_t filled, const Place& where) {
    checkShared(to, bytes, bytes, where);
    if (filled > bytes) {
        fail("asks for more bytes than the copy has", where);
    }
    checkReadable(from, filled, filled == 0 ? 1 : bytes, where);
    __tsan_write_range(to, bytes);
    fillWithGarbage(to, bytes);
    block().self().open.push_back({to, from, bytes, filled, where});
}

void closeCopyGroup() {
    Thread& self = block().self();
    self.groups.push_back(std::move(self.open));
    self.open.clear();
}

void awaitCopyGroups(size_t left) {
    Thread& self = block().self();
    while (self.groups.size() > left) {
        std::for_each(self.groups.front().begin(), self.groups.front().end(), finish);
        self.groups.pop_front();
    }
}

void fillWithGarbage(void* at, size_t bytes) {
    auto* const target = static_cast<unsigned char*>(at);
    for (size_t i = 0; i < bytes; ++i) {
        target[i] = (reinterpret_cast<uintptr_t>(target) + i) % 2 == 0 ? 0xe5 : 0xff;
    }
}

std::string runGrid(const Place& launched, dim3 grid, dim3 size, unsigned cluster, size_t sharedBytes, const std::function<void()>& body) {
    Block& b = block();
    b.body = &body;
    b.sharedBytes = sharedBytes;
    b.failure.clear();
    b.random = options().seed;
    blockDim = {size.x, size.y, size.z};
    gridDim = {grid.x, grid.y, grid.z};
    const uint64_t across = grid.x / cluster;
    const uint64_t count = across * grid.y * grid.z;
    std::vector<uint64_t> sequence(count);
    for (uint64_t i = 0; i < count; ++i) {
        sequence[i] = options().order == Order::Backward ? count - 1 - i : i;
    }
    for (uint64_t i = count; options().order == Order::Shuffled && i > 1; --i) {
        std::swap(sequence[i - 1], sequence[b.next() % i]);
    }
    for (const uint64_t i : sequence) {
        blockIdx = {static_cast<unsigned>(i % across) * cluster, static_cast<unsigned>(i / across % grid.y), static_cast<unsigned>(i / (across * grid.y))};
        runBlocks(b, size, cluster);
        if (!b.failure.empty()) {
            return "the kernel launched at " + placeName(launched) + ", block " + tripleName(blockIdx) + ": " + b.failure;
        }
    }
    return "";
}

}  // namespace quantscope::cuda::emulator
