#include "base/thread_pool.h"

#include <system_error>
#include <utility>

namespace quantscope {

unsigned ThreadPool::resolve(unsigned threads) {
    if (threads != 0) {
        return threads;
    }
    const unsigned processors = std::thread::hardware_concurrency();
    return processors == 0 ? 1 : processors;
}

ThreadPool::ThreadPool(unsigned threads) {
    const unsigned count = resolve(threads);
    workers_.reserve(count - 1);
    try {
        for (unsigned worker = 1; worker < count; ++worker) {
            workers_.emplace_back([this, worker] { sleepAndWork(worker); });
        }
    } catch (const std::system_error&) {
        // The system allows no more threads. The pool is complete with those that started: threads() tells how many.
    }
}

ThreadPool::~ThreadPool() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    for (auto& worker : workers_) {
        worker.join();
    }
}

void ThreadPool::run(size_t tiles, const std::function<void(size_t, unsigned)>& body) {
    const std::lock_guard exclusive(oneRun_);
    {
        const std::lock_guard lock(mutex_);
        body_ = &body;
        tiles_ = tiles;
        nextTile_.store(0, std::memory_order_relaxed);
        failure_ = nullptr;
        busy_ = static_cast<unsigned>(workers_.size());
        ++generation_;
    }
    wake_.notify_all();
    work(0);
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return busy_ == 0; });
    body_ = nullptr;
    if (failure_) {
        std::rethrow_exception(std::exchange(failure_, nullptr));
    }
}

void ThreadPool::sleepAndWork(unsigned worker) {
    uint64_t seen = 0;
    for (;;) {
        {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [&] { return stop_ || generation_ != seen; });
            if (stop_) {
                return;
            }
            seen = generation_;
        }
        work(worker);
        const std::lock_guard lock(mutex_);
        if (--busy_ == 0) {
            idle_.notify_one();
        }
    }
}

void ThreadPool::work(unsigned worker) {
    for (;;) {
        const size_t tile = nextTile_.fetch_add(1, std::memory_order_relaxed);
        if (tile >= tiles_) {
            return;
        }
        try {
            (*body_)(tile, worker);
        } catch (...) {
            const std::lock_guard lock(mutex_);
            if (!failure_ || tile < failedTile_) {
                failure_ = std::current_exception();
                failedTile_ = tile;
            }
            nextTile_.store(tiles_, std::memory_order_relaxed);
            return;
        }
    }
}

}  // namespace quantscope
