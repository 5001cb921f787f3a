// One execution of a program, as an op sees it: where its buffers are, threads to work with, and the one place that reports progress
// and looks at the cancellation.
#pragma once

#include <algorithm>
#include <functional>
#include <vector>

#include "base/aligned.h"
#include "base/cancellation.h"
#include "base/thread_pool.h"
#include "cpu/kernels.h"
#include "graph/program.h"
#include "linear/linear.h"

namespace quantscope {

/// Memory that grows to what is asked for and is kept: fresh memory costs more than the arithmetic on it.
class Scratch {
public:
    template <class T>
    T* get(size_t count) {
        const size_t bytes = count * sizeof(T);
        if (bytes > bytes_) {
            memory_.reset();
            memory_ = allocateAligned<std::byte>(bytes);
            bytes_ = bytes;
        }
        return reinterpret_cast<T*>(memory_.get());
    }

private:
    AlignedArray<std::byte> memory_;
    size_t bytes_ = 0;
};

class Run {
public:
    /// `places[b]` is where buffer b begins.
    Run(const Program& program, const std::vector<float*>& places, ThreadPool& pool, const Cancellation& cancellation,
        const Progress& progress, const Kernels& levelKernels, double totalFlops)
        : kernels(levelKernels), program_(program), places_(places), pool_(pool), cancellation_(cancellation), progress_(progress),
          totalFlops_(totalFlops) {}

    const Kernels& kernels;

    const Shape& shape(Buffer buffer) const { return program_.buffers[buffer]; }
    uint64_t elements(Buffer buffer) const { return elementsOf(shape(buffer)); }
    const float* in(Buffer buffer) const { return places_[buffer]; }
    float* out(Buffer buffer) const { return places_[buffer]; }

    unsigned threads() const { return pool_.threads(); }

    /// Calls body(tile, worker) for every tile; looks at the cancellation before each. Tiles take a few milliseconds at most.
    void tiles(size_t count, const std::function<void(size_t tile, unsigned worker)>& body) {
        pool_.run(count, [&](size_t tile, unsigned worker) {
            cancellation_.check();
            body(tile, worker);
        });
    }

    /// Splits `rows` rows of `width` values into pieces of about 16 Ki values and calls body(begin, end) for each. The pieces do
    /// not depend on the number of threads.
    template <class Body>
    void rows(uint64_t rows, uint64_t width, Body body) {
        constexpr uint64_t kPiece = uint64_t{1} << 14;
        const uint64_t perPiece = std::max<uint64_t>(1, kPiece / std::max<uint64_t>(1, width));
        tiles((rows + perPiece - 1) / perPiece,
              [&](size_t piece, unsigned) { body(piece * perPiece, std::min(rows, (piece + 1) * perPiece)); });
    }

    void checkCancelled() const { cancellation_.check(); }

    /// Reports that this much of Graph::flops() is done.
    void advance(double flops) {
        const double done = doneFlops_.fetch_add(flops, std::memory_order_relaxed) + flops;
        progress_(std::min(1.0, done / totalFlops_));
    }

private:
    const Program& program_;
    const std::vector<float*>& places_;
    ThreadPool& pool_;
    const Cancellation& cancellation_;
    const Progress& progress_;
    double totalFlops_;
    std::atomic<double> doneFlops_{0};
};

}  // namespace quantscope
