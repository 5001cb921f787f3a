// A flag that one thread raises and the working threads poll, at least every few milliseconds.
#pragma once

#include <atomic>
#include <functional>

#include "base/error.h"

namespace quantscope {

/// Thread-safe. Once cancelled it stays cancelled.
class Cancellation {
public:
    void cancel() { requested_.store(true, std::memory_order_relaxed); }
    bool requested() const { return requested_.load(std::memory_order_relaxed); }
    /// Throws Error(Cancelled) when cancel() was called.
    void check() const {
        if (requested()) {
            throw Error(ErrorCode::Cancelled, "The job was cancelled.");
        }
    }

private:
    std::atomic<bool> requested_{false};
};

/// Receives the finished share of a job, 0..1. Called from any worker thread, possibly from several at once.
using Progress = std::function<void(double)>;

}  // namespace quantscope
