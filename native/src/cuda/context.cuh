// What the groups share: the context behind api.h's opaque pointer, and how a call fails.
#pragma once

#include <cstdint>
#include <string>

#include <cuda_runtime.h>

#include "cuda/api.h"

namespace quantscope::cuda {

/// What all groups need to know of a context; device.cu adds what is its own.
struct Context {
    int32_t device = 0;
    DeviceDescription description{};
    cudaStream_t stream{};
    /// Kernels of compute capability 9.0 alone may run. QUANTSCOPE_CUDA_KERNELS=portable keeps to those of every device: for when they fail their self-test.
    bool warpgroups = false;
    virtual ~Context() = default;
};

/// Keeps the message for this thread and returns the status.
Status fail(Status status, const std::string& message);
const char* lastMessage();

/// Ok, or what the runtime's error means to us. `doing` says what was tried: "copying to the device", the name of a kernel.
Status check(cudaError_t error, const char* doing);

/// Shared memory of a block where two are to fit a multiprocessor: it has 1 KiB more than a block may have, and 1 KiB of each block goes to the system.
inline uint32_t sharedOfTwo(const Context& context) { return (static_cast<uint32_t>(context.description.sharedBytes) - 1024) / 2; }

/// Makes the context's device the calling thread's current one, which kernels and allocations go to.
Status select(const Context* context);

/// A call of a group as the table has it: with the device selected, since any thread may call.
template <auto kCall>
struct Selecting;
template <class... Parameters, Status (*kCall)(Context*, Parameters...)>
struct Selecting<kCall> {
    static Status call(Context* context, Parameters... parameters) {
        const Status status = select(context);
        return status == Status::Ok ? kCall(context, parameters...) : status;
    }
};
template <auto kCall>
inline constexpr auto onDevice = &Selecting<kCall>::call;

// One for each group, in the file of that name.
const DeviceCalls& deviceCalls();
const RotateCalls& rotateCalls();
const LinearCalls& linearCalls();
const SolverCalls& solverCalls();
const StatisticsCalls& statisticsCalls();
const AttentionCalls& attentionCalls();
const OpCalls& opCalls();
const SmallFloatCalls& smallFloatCalls();

}  // namespace quantscope::cuda
