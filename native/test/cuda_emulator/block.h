// The threads of one block as fibers, and what they do together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <string>

#include "cuda_runtime.h"

namespace quantscope::cuda::emulator {

using Place = std::source_location;

/// Ends the kernel: a message about the running thread, with the place.
[[noreturn]] void fail(const std::string& what, const Place& where);

/// __syncthreads(): returns when all threads of the block have come to this place.
void blockBarrier(const Place& where);

/// As blockBarrier; the sum over all threads of what they bring.
int blockBarrierSum(int value, const Place& where);

/// Waits until all lanes of `mask` have come to this place with the same `kind`; then the last one runs `body` once for all.
/// arguments[lane] is what that lane passed, null outside of the mask.
using Together = void (*)(void* const* arguments, uint32_t mask);
void warpTogether(uint32_t mask, const char* kind, void* argument, Together body, const Place& where);

// For barriers of other kinds (hopper.cpp).
unsigned runningThread();                                     ///< of the block
void sleepUntilWoken(const char* in, const Place& where);     ///< the running thread
void wakeThread(unsigned thread);
uint64_t runningBlock();                                      ///< another number for every block, or cluster of blocks, that runs

// Blocks of a cluster run together.
unsigned clusterRank();                                       ///< of the running thread's block
void* inBlock(const void* shared, unsigned rank);             ///< the same place in another block's shared memory
void clusterBarrier(const Place& where);

/// The dynamic shared memory of the running block.
unsigned char* dynamicShared();
size_t dynamicSharedBytes();

/// A static shared array: filled with NaNs when a block first comes across it.
void enterShared(void* array, size_t bytes, const Place& where);

/// Complains unless [at, at + bytes) is aligned to `alignment` and, where it begins in the block's shared memory or between its guards, ends there too.
void checkShared(const void* at, size_t bytes, size_t alignment, const Place& where);
bool isShared(const void* at, size_t bytes);
/// Complains unless the bytes lie in memory of cudaMalloc or in shared memory.
void checkReadable(const void* at, size_t bytes, size_t alignment, const Place& where);

// Copies as cp.async makes them: the target is garbage from the request until the running thread has waited for the copy's group.
void copyLater(void* to, const void* from, size_t bytes, size_t filled, const Place& where);
void closeCopyGroup();
void awaitCopyGroups(size_t left);

/// Memory that nobody has written: a NaN as float, bfloat16 and half.
void fillWithGarbage(void* at, size_t bytes);

/// Runs all blocks, `cluster` neighbours along x together. An empty answer, or what went wrong.
std::string runGrid(const Place& launched, dim3 grid, dim3 block, unsigned cluster, size_t sharedBytes, const std::function<void()>& body);

}  // namespace quantscope::cuda::emulator
