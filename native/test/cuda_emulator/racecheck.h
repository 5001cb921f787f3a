// With QUANTSCOPE_RACECHECK kernels are compiled with ThreadSanitizer, the emulator itself without it: what orders the threads of a block is said by these
// calls, and nothing else does.
#pragma once

#if defined(QUANTSCOPE_RACECHECK)
extern "C" {
void __tsan_acquire(void* at);
void __tsan_release(void* at);
void __tsan_read_range(void* at, unsigned long bytes);
void __tsan_write_range(void* at, unsigned long bytes);
}
#else
inline void __tsan_acquire(void*) {}
inline void __tsan_release(void*) {}
inline void __tsan_read_range(void*, unsigned long) {}
inline void __tsan_write_range(void*, unsigned long) {}
#endif
