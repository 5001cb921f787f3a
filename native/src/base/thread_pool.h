// Worker threads that sleep on a condition variable between jobs: an idle engine costs no processor time.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace quantscope {

class ThreadPool {
public:
    /// `threads` counts the calling thread, which works too; 0 means one per processor.
    explicit ThreadPool(unsigned threads);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    static unsigned resolve(unsigned threads);
    unsigned threads() const { return static_cast<unsigned>(workers_.size()) + 1; }

    /// Calls body(tile, worker) once for every tile in 0..tiles-1, worker in 0..threads()-1, and returns when all are done. Tiles are
    /// handed out in order. When bodies throw, the remaining tiles are skipped and the exception of the lowest tile is rethrown.
    /// One call at a time (a second caller waits); body must not call run().
    void run(size_t tiles, const std::function<void(size_t tile, unsigned worker)>& body);

private:
    void sleepAndWork(unsigned worker);
    void work(unsigned worker);

    std::mutex oneRun_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::condition_variable idle_;
    uint64_t generation_ = 0;
    unsigned busy_ = 0;
    bool stop_ = false;

    const std::function<void(size_t, unsigned)>* body_ = nullptr;
    size_t tiles_ = 0;
    std::atomic<size_t> nextTile_{0};
    std::exception_ptr failure_;
    size_t failedTile_ = 0;

    std::vector<std::thread> workers_;
};

}  // namespace quantscope
