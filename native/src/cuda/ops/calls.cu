#include "cuda/ops/ops.cuh"

namespace quantscope::cuda {

const OpCalls& opCalls() {
    static constexpr OpCalls kCalls{ops::combine, ops::map,  ops::rowNorm, ops::groupNorm, ops::channelNorm,  ops::rope,
                                    ops::timestep, ops::move, ops::resize,  ops::conv,      ops::findNonFinite};
    return kCalls;
}

}  // namespace quantscope::cuda
