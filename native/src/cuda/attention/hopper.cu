#include "cuda/attention/hopper.h"

#include <algorithm>

#include "cuda/attention/hopper.cuh"

namespace quantscope::cuda {

namespace {

template <int kWidth, int kCluster>
cudaError_t start(const Context& context, const AttentionArguments<Bf16>& p, uint32_t heads) {
    using T = hopperAttention::Tiling<kWidth>;
    hopperAttention::Arguments a{};
    a.p = p;
    a.rowTiles = divideUp(p.queries, hopperAttention::kRows);
    a.tiles = a.rowTiles * heads;
    const uint32_t bytes = p.width * sizeof(Bf16);
    const auto describe = [&](TensorMap& map, const Bf16* rows, uint64_t count, uint64_t stride, uint32_t boxRows) {
        return describeHeads(map, rows, count, heads, bytes, stride * sizeof(Bf16), boxRows);
    };
    cudaError_t error = describe(a.q, p.q, p.queries, p.qStride, hopperAttention::kGroupRows);
    error = error != cudaSuccess ? error : describe(a.k, p.k, p.keys, p.kStride, hopperAttention::kKeys / kCluster);
    error = error != cudaSuccess ? error : describe(a.v, p.v, p.keys, p.vStride, hopperAttention::kKeys / kCluster);
    if (error != cudaSuccess) {
        return error;
    }
    const uint32_t blocks = std::min(a.tiles, static_cast<uint32_t>(context.description.multiprocessors) / kCluster * kCluster);
    return launchCluster(hopperAttention::attend<kWidth, kCluster>, kCluster, blocks, hopperAttention::kThreads, T::kShared, context.stream, a);
}

}  // namespace

bool takesHopperAttention(const Context& context, const AttentionArguments<Bf16>& p) {
    const bool headsApart = p.qStride % p.width == 0 && p.kStride % p.width == 0 && p.vStride % p.width == 0;
    const bool outInFours = p.outStride % 4 == 0 && reinterpret_cast<uintptr_t>(p.out) % 8 == 0;
    return context.warpgroups && p.width <= 128 && headsApart && p.inPieces && outInFours;
}

cudaError_t launchHopperAttention(const Context& context, const AttentionArguments<Bf16>& p, uint32_t heads) {
    const bool pairs = divideUp(p.queries, hopperAttention::kRows) % 2 == 0;
    return p.width <= 64   ? start<64, 1>(context, p, heads)
           : p.width <= 80 ? start<80, 1>(context, p, heads)
           : pairs         ? start<128, 2>(context, p, heads)
                           : start<128, 1>(context, p, heads);
}

}  // namespace quantscope::cuda
