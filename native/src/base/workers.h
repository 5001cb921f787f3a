// How a job works with many threads: pieces whose borders do not depend on their number, a look at the cancellation before each,
// and one count of what is done.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/aligned.h"
#include "base/cancellation.h"
#include "base/thread_pool.h"

namespace quantscope {

/// Memory that grows to what is asked for and is kept: fresh pages cost more than the arithmetic on them. Contents are lost when
/// it grows. Not thread-safe.
class Scratch {
public:
    template <class T>
    T* get(size_t count) {
        const size_t bytes = count * sizeof(T);
        if (bytes > bytes_) {
            memory_.reset();
            bytes_ = 0;
            memory_ = allocateAligned<std::byte>(bytes);
            bytes_ = bytes;
        }
        return reinterpret_cast<T*>(memory_.get());
    }

private:
    AlignedArray<std::byte> memory_;
    size_t bytes_ = 0;
};

/// What one thread needs for one tile.
struct TileMemory {
    Scratch panel;
    Scratch stored;
    Scratch decoded;
    Scratch spare;
};

class Workers {
public:
    /// `work` is the unit of advance(): what the whole job takes.
    Workers(ThreadPool& pool, const Cancellation& cancellation, const Progress& progress, double work)
        : pool_(pool), cancellation_(cancellation), progress_(progress), work_(work) {}

    unsigned threads() const { return pool_.threads(); }

    /// Calls body(tile, worker) for every tile, worker in 0..threads()-1. A tile takes a few milliseconds at most, or calls
    /// checkCancelled() itself.
    void tiles(size_t count, const std::function<void(size_t tile, unsigned worker)>& body) {
        pool_.run(count, [&](size_t tile, unsigned worker) {
            checkCancelled();
            body(tile, worker);
        });
    }

    /// Splits `rows` rows of `width` values into pieces of about 16 Ki values and calls body(begin, end) for each.
    template <class Body>
    void rows(uint64_t rows, uint64_t width, Body body) {
        constexpr uint64_t kPiece = uint64_t{1} << 14;
        const uint64_t each = std::max<uint64_t>(1, kPiece / std::max<uint64_t>(1, width));
        tiles((rows + each - 1) / each, [&](size_t piece, unsigned) { body(piece * each, std::min(rows, (piece + 1) * each)); });
    }

    /// Throws Error(Cancelled).
    void checkCancelled() const { cancellation_.check(); }

    /// Thread-safe: so much more of the work is done.
    void advance(double work) {
        const double done = done_.fetch_add(work, std::memory_order_relaxed) + work;
        progress_(work_ > 0 ? std::min(1.0, done / work_) : 1.0);
    }

private:
    ThreadPool& pool_;
    const Cancellation& cancellation_;
    const Progress& progress_;
    double work_;
    std::atomic<double> done_{0};
};

}  // namespace quantscope
