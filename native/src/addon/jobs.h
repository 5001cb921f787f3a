// Jobs of one JavaScript environment: they run one after the other on a thread of their own (never on libuv's), each with the whole
// worker pool, and settle their promises on the JavaScript thread.
#pragma once

#include <napi.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/cancellation.h"
#include "base/thread_pool.h"

namespace quantscope {

/// A JavaScript error with `.code`: 'IO', 'ARGUMENT', 'MEMORY' or 'CANCELLED'.
Napi::Error toJsError(Napi::Env env, const Error& error);

class JobQueue : public std::enable_shared_from_this<JobQueue> {
public:
    /// Makes the JavaScript value of a finished job; runs on the JavaScript thread.
    using Result = std::function<Napi::Value(Napi::Env)>;
    /// Runs on the job thread.
    using Work = std::function<Result(ThreadPool&, const Cancellation&, const Progress&)>;

    explicit JobQueue(Napi::Env env);
    ~JobQueue();

    /// Threads of the pool from the next job on; 0 = one per processor.
    void setThreads(unsigned threads) { threads_.store(threads); }
    unsigned threads() const { return ThreadPool::resolve(threads_.load()); }

    /// The Job<T> of engine/addon.ts: { promise, cancel() }. JavaScript thread.
    Napi::Object submit(Napi::Env env, const Napi::Function& progress, Work work);

    /// Runs on the job thread behind the job that is running, without a promise; not at all when no job ever ran. Must not throw.
    void afterwards(std::function<void()> work);

    /// Cancels everything and joins the job thread. Promises that are still open stay open: the environment is going away.
    void shutdown();

private:
    struct Job;
    struct Event;
    static void deliver(Napi::Env env, Napi::Function, JobQueue* queue, Event* event);
    using Channel = Napi::TypedThreadSafeFunction<JobQueue, Event, deliver>;

    void runJobs();
    void runOne(ThreadPool& pool, const std::shared_ptr<Job>& job);
    void post(std::unique_ptr<Event> event);
    void cancel(Napi::Env env, const std::shared_ptr<Job>& job);
    void settle(Napi::Env env, Job& job, const std::function<void()>& finish);

    Channel channel_;
    std::atomic<unsigned> threads_{0};
    std::vector<std::shared_ptr<Job>> open_;  ///< not settled yet; JavaScript thread only

    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::shared_ptr<Job>> waiting_;
    std::deque<std::function<void()>> afterwards_;
    std::shared_ptr<Job> running_;
    bool stop_ = false;
    std::thread thread_;
};

}  // namespace quantscope
