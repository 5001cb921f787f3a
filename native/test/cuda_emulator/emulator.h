// Runs CUDA kernels on the CPU, for tests: the same sources that nvcc compiles for devices are compiled by the host compiler against the headers of
// this folder. Blocks run one after another; the threads of a block are fibers that switch at barriers and warp collectives. What a device leaves open
// is chosen so that mistakes show: memory starts as NaNs, the order of threads between barriers can be turned round or shuffled, asynchronous copies
// arrive as late as they may, work on streams waits until somebody waits for it, threads that have not selected the device have none, and barriers that not
// everybody reaches end with a message.
// No speed of a device follows from it, and nothing about memory coalescing or bank conflicts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace quantscope::cuda::emulator {

enum class Order { Forward, Backward, Shuffled };

/// Of the one emulated device. Read from the environment at first use: QUANTSCOPE_EMULATED_ORDER ("forward", "backward" or a number that seeds a
/// shuffle), QUANTSCOPE_EMULATED_MEMORY (bytes) and QUANTSCOPE_EMULATED_ARCH ("8.6", with the shared memory of such devices).
struct Options {
    Order order = Order::Forward;
    uint64_t seed = 1;
    size_t memory = size_t{1} << 32;     ///< that cudaMalloc gives out
    int major = 9;
    int minor = 0;
    size_t sharedPerBlock = 232448;      ///< dynamic and static shared memory of a block, after opting in
};

Options& options();

/// What a kernel did wrong, with kernel, thread and place; empty as long as nothing is wrong. As on a device the error stays: every later call of the
/// runtime reports it until reset().
std::string fault();

/// Forgets the fault and what waits on streams. Memory stays.
void reset();

/// Bytes that cudaMalloc has given out and nobody has freed.
size_t allocatedBytes();

}  // namespace quantscope::cuda::emulator
