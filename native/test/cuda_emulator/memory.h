// The device's memory and what waits on its streams.
#pragma once

#include <functional>
#include <source_location>

#include "cuda_runtime.h"

namespace quantscope::cuda::emulator {

/// Whether the bytes lie in one allocation of cudaMalloc.
bool isDeviceMemory(const void* at, size_t bytes);
/// The same while a kernel runs, by whose thread the runtime is locked.
bool isDeviceMemoryForKernels(const void* at, size_t bytes);

/// Puts a kernel, launched at `where`, on a stream, `cluster` blocks along x together. Pointers among its arguments are checked beforehand by the caller.
cudaError_t enqueueKernel(const std::source_location& where, dim3 grid, dim3 block, unsigned cluster, size_t sharedBytes, cudaStream_t stream,
                          std::function<void()> body);

}  // namespace quantscope::cuda::emulator
