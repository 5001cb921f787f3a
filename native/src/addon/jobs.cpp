#include "addon/jobs.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <optional>
#include <utility>

namespace quantscope {

namespace {

int64_t milliseconds() {
    using namespace std::chrono;
    return duration_cast<std::chrono::milliseconds>(steady_clock::now().time_since_epoch()).count();
}

const char* codeName(ErrorCode code) {
    switch (code) {
        case ErrorCode::Io: return "IO";
        case ErrorCode::Argument: return "ARGUMENT";
        case ErrorCode::Memory: return "MEMORY";
        case ErrorCode::Device: return "DEVICE";
        case ErrorCode::Cancelled: return "CANCELLED";
    }
    return "ARGUMENT";
}

}  // namespace

Napi::Error toJsError(Napi::Env env, const Error& error) {
    Napi::Error result = Napi::Error::New(env, error.what());
    result.Set("code", Napi::String::New(env, codeName(error.code())));
    return result;
}

struct JobQueue::Job {
    Job(Napi::Env env, const Napi::Function& progressFunction, Work jobWork)
        : deferred(Napi::Promise::Deferred::New(env)), progress(Napi::Persistent(progressFunction)), work(std::move(jobWork)) {}

    Napi::Promise::Deferred deferred;
    Napi::FunctionReference progress;
    Work work;
    Cancellation cancellation;
    std::atomic<int64_t> lastProgress{0};
};

/// One message to the JavaScript thread: progress, or the end of a job.
struct JobQueue::Event {
    std::shared_ptr<Job> job;
    double fraction = 0;
    Result result;
    std::optional<Error> error;
    bool isEnd() const { return result != nullptr || error.has_value(); }
};

JobQueue::JobQueue(Napi::Env env) : channel_(Channel::New(env, "quantscope jobs", 0, 1, this)) {
    channel_.Unref(env);  // an idle engine does not keep the process alive
}

JobQueue::~JobQueue() { shutdown(); }

Napi::Object JobQueue::submit(Napi::Env env, const Napi::Function& progress, Work work) {
    auto job = std::make_shared<Job>(env, progress, std::move(work));
    if (open_.empty()) {
        channel_.Ref(env);
    }
    open_.push_back(job);
    {
        const std::lock_guard lock(mutex_);
        waiting_.push_back(job);
        if (!thread_.joinable()) {
            thread_ = std::thread([this] { runJobs(); });
        }
    }
    wake_.notify_one();

    Napi::Object handle = Napi::Object::New(env);
    handle.Set("promise", job->deferred.Promise());
    handle.Set("cancel", Napi::Function::New(env, [queue = weak_from_this(), job](const Napi::CallbackInfo& info) {
                   if (const auto alive = queue.lock()) {
                       alive->cancel(info.Env(), job);
                   }
               }));
    return handle;
}

void JobQueue::afterwards(std::function<void()> work) {
    {
        const std::lock_guard lock(mutex_);
        if (!thread_.joinable()) {
            return;
        }
        afterwards_.push_back(std::move(work));
    }
    wake_.notify_one();
}

void JobQueue::cancel(Napi::Env env, const std::shared_ptr<Job>& job) {
    job->cancellation.cancel();
    {
        const std::lock_guard lock(mutex_);
        const auto position = std::find(waiting_.begin(), waiting_.end(), job);
        if (position == waiting_.end()) {
            return;  // running: it will notice; or settled already
        }
        waiting_.erase(position);
    }
    settle(env, *job, [&] { job->deferred.Reject(toJsError(env, Error(ErrorCode::Cancelled, "The job was cancelled.")).Value()); });
}

void JobQueue::settle(Napi::Env env, Job& job, const std::function<void()>& finish) {
    job.progress.Reset();
    std::erase_if(open_, [&](const auto& candidate) { return candidate.get() == &job; });
    if (open_.empty()) {
        channel_.Unref(env);
    }
    finish();
}

void JobQueue::deliver(Napi::Env env, Napi::Function, JobQueue* queue, Event* raw) {
    const std::unique_ptr<Event> event(raw);
    if (env == nullptr) {
        return;  // the environment is going away
    }
    Job& job = *event->job;
    if (!event->isEnd()) {
        if (!job.cancellation.requested() && !job.progress.IsEmpty()) {
            job.progress.Call({Napi::Number::New(env, event->fraction)});
        }
        return;
    }
    // Who cancels gets CANCELLED, even when the job was faster.
    if (job.cancellation.requested()) {
        event->error.emplace(ErrorCode::Cancelled, "The job was cancelled.");
    }
    queue->settle(env, job, [&] {
        if (!event->error) {
            job.deferred.Resolve(event->result(env));
        } else {
            job.deferred.Reject(toJsError(env, *event->error).Value());
        }
    });
}

void JobQueue::runJobs() {
    std::unique_ptr<ThreadPool> pool;
    unsigned poolThreads = 0;
    for (;;) {
        std::shared_ptr<Job> job;
        {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [this] { return stop_ || !waiting_.empty() || !afterwards_.empty(); });
            if (stop_) {
                return;
            }
            if (!afterwards_.empty()) {
                const std::function<void()> work = std::move(afterwards_.front());
                afterwards_.pop_front();
                lock.unlock();
                work();
                continue;
            }
            job = waiting_.front();
            waiting_.pop_front();
            running_ = job;
        }
        if (!pool || poolThreads != threads()) {
            poolThreads = threads();
            pool.reset();
            pool = std::make_unique<ThreadPool>(poolThreads);
        }
        runOne(*pool, job);
        const std::lock_guard lock(mutex_);
        running_.reset();
    }
}

void JobQueue::runOne(ThreadPool& pool, const std::shared_ptr<Job>& job) {
    const Progress progress = [&](double fraction) {
        constexpr int64_t kInterval = 50;
        const int64_t now = milliseconds();
        int64_t last = job->lastProgress.load(std::memory_order_relaxed);
        if (now - last >= kInterval && job->lastProgress.compare_exchange_strong(last, now, std::memory_order_relaxed)) {
            post(std::unique_ptr<Event>(new Event{job, fraction, nullptr, std::nullopt}));
        }
    };
    std::unique_ptr<Event> end(new Event{job, 1.0, nullptr, std::nullopt});
    try {
        end->result = job->work(pool, job->cancellation, progress);
    } catch (const Error& error) {
        end->error = error;
    } catch (const std::bad_alloc&) {
        end->error.emplace(ErrorCode::Memory, "Not enough memory for this job. Close other programs or use fewer threads.");
    } catch (const std::exception& error) {
        end->error.emplace(ErrorCode::Io, error.what());
    }
    post(std::move(end));
}

void JobQueue::post(std::unique_ptr<Event> event) {
    Event* raw = event.get();
    if (channel_.NonBlockingCall(raw) == napi_ok) {
        (void)event.release();  // deliver() owns it now
    }
}

void JobQueue::shutdown() {
    {
        const std::lock_guard lock(mutex_);
        if (stop_) {
            return;
        }
        stop_ = true;
        waiting_.clear();
        if (running_) {
            running_->cancellation.cancel();
        }
    }
    wake_.notify_one();
    if (thread_.joinable()) {
        thread_.join();
    }
    for (const auto& job : open_) {
        job->progress.Reset();
    }
    open_.clear();
    channel_.Release();
}

}  // namespace quantscope
