#include "cuda/ops/ops.cuh"

namespace quantscope::cuda {

const OpCalls& opCalls() {
    static constexpr OpCalls kCalls{onDevice<ops::combine>,  onDevice<ops::map>,  onDevice<ops::rowNorm>, onDevice<ops::groupNorm>, onDevice<ops::channelNorm>, onDevice<ops::rope>,
                                    onDevice<ops::timestep>, onDevice<ops::move>, onDevice<ops::resize>,  onDevice<ops::conv>,      onDevice<ops::findNonFinite>};
    return kCalls;
}

}  // namespace quantscope::cuda
