#include "fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(QUANTSCOPE_RACECHECK)
#include <sanitizer/tsan_interface.h>
#endif

namespace quantscope::cuda::emulator {

namespace {

/// Whom a fiber that begins belongs to.
constinit thread_local Fiber* starting = nullptr;

}  // namespace

#if defined(__x86_64__)
// Saves what a function must keep (System V ABI) on the stack that is left, and takes it back from the other one.
extern "C" void quantscopeSwitchStack(void** from, void* to);
asm(R"(
    .text
    .p2align 4
    .hidden quantscopeSwitchStack
    .globl quantscopeSwitchStack
    .type quantscopeSwitchStack, @function
quantscopeSwitchStack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size quantscopeSwitchStack, .-quantscopeSwitchStack
)");
#endif

Fiber::~Fiber() {
#if defined(QUANTSCOPE_RACECHECK)
    if (thread_ != nullptr) {
        __tsan_destroy_fiber(thread_);
    }
#endif
    if (stack_ != nullptr) {
        munmap(stack_, kStackBytes);
    }
}

void Fiber::start(void (*entry)()) {
    if (stack_ == nullptr) {
        stack_ = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stack_ == MAP_FAILED) {
            stack_ = nullptr;
            throw std::bad_alloc();
        }
        mprotect(stack_, static_cast<size_t>(getpagesize()), PROT_NONE);
    }
    entry_ = entry;
    fakeStack_ = nullptr;
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(stack_, kStackBytes);  // what a kernel that was given up has left there
#endif
#if defined(__x86_64__)
    // Six registers and where to begin; above them the stack is aligned as after a call.
    auto* const top = reinterpret_cast<void**>(static_cast<char*>(stack_) + kStackBytes) - 3;
    *top = nullptr;
    top[-1] = reinterpret_cast<void*>(&Fiber::begin);
    for (int i = 2; i <= 7; ++i) {
        top[-i] = nullptr;
    }
    at_ = top - 7;
#else
    getcontext(&at_);
    at_.uc_stack.ss_sp = stack_;
    at_.uc_stack.ss_size = kStackBytes;
    at_.uc_link = nullptr;
    makecontext(&at_, &Fiber::begin, 0);
#endif
}

void Fiber::begin() {
    Fiber* const self = starting;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &self->callerStack_, &self->callerBytes_);
#endif
    self->entry_();
}

void Fiber::resume() {
    starting = this;
#if defined(QUANTSCOPE_RACECHECK)
    // Threads of a block know nothing of each other but by barriers and collectives, which block.cpp announces.
    if (thread_ == nullptr) {
        thread_ = __tsan_create_fiber(0);
    }
    callerThread_ = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(thread_, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&callerFakeStack_, stack_, kStackBytes);
#endif
#if defined(__x86_64__)
    quantscopeSwitchStack(&caller_, at_);
#else
    swapcontext(&caller_, &at_);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(callerFakeStack_, nullptr, nullptr);
#endif
}

void Fiber::leave([[maybe_unused]] bool forGood) {
#if defined(QUANTSCOPE_RACECHECK)
    __tsan_switch_to_fiber(callerThread_, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(forGood ? nullptr : &fakeStack_, callerStack_, callerBytes_);
#endif
#if defined(__x86_64__)
    quantscopeSwitchStack(&at_, caller_);
#else
    swapcontext(&at_, &caller_);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fakeStack_, &callerStack_, &callerBytes_);
#endif
}

}  // namespace quantscope::cuda::emulator
