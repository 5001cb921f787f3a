// A stack of its own for each thread of a block, and the switch between them. The switch is a dozen instructions on x86-64, and ucontext elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace quantscope::cuda::emulator {

class Fiber {
public:
    static constexpr size_t kStackBytes = size_t{256} << 10;

    Fiber() = default;
    ~Fiber();
    Fiber(const Fiber&) = delete;
    Fiber& operator=(const Fiber&) = delete;

    /// To begin at `entry` when resumed next. `entry` never returns; it leaves for good with leave(…, true).
    void start(void (*entry)());
    /// From the scheduler to this fiber, until it leaves.
    void resume();
    /// From this fiber back to who resumed it.
    void leave(bool forGood = false);

private:
    void* stack_ = nullptr;  ///< with a page below that nobody may touch
    void (*entry_)() = nullptr;
    void* thread_ = nullptr;           ///< as ThreadSanitizer sees it
    void* callerThread_ = nullptr;
    void* fakeStack_ = nullptr;        ///< of AddressSanitizer
    void* callerFakeStack_ = nullptr;
    const void* callerStack_ = nullptr;
    size_t callerBytes_ = 0;
#if defined(__x86_64__)
    void* at_ = nullptr;
    void* caller_ = nullptr;
#else
    ucontext_t at_{};
    ucontext_t caller_{};
#endif
    static void begin();
};

}  // namespace quantscope::cuda::emulator
