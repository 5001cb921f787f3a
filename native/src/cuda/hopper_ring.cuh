// Stages in shared memory that one side fills while the other one reads, with a barrier for each side (hopper.cuh).
#pragma once

#include "cuda/hopper.cuh"

namespace quantscope::cuda {

/// The ring of stages as one side goes through it.
template <int kStages>
struct Turn {
    uint32_t stage = 0;
    uint32_t parity = 0;
    __device__ void next() {
        if (++stage == kStages) {
            stage = 0;
            parity ^= 1;
        }
    }
};

/// Every thread of the block, or of its cluster, has come.
template <int kCluster>
__device__ inline void together() {
    if constexpr (kCluster == 1) {
        __syncthreads();
    } else {
        clusterBarrier();
    }
}

}  // namespace quantscope::cuda
