#include <algorithm>

#include "cuda/linear/hopper.h"
#include "cuda/linear/hopper_codes.cuh"

namespace quantscope::cuda {

namespace {

template <int kTokens, bool kGrouped, int kCluster>
cudaError_t start(const ProductArguments& p, const uint4& levels, int multiprocessors, cudaStream_t stream) {
    hopper::CodesArguments a{};
    a.p = p;
    a.levels = levels;
    a.bytes[0] = p.bytes;
    a.bytes[1] = p.panels[1].bytes;
    a.rowTiles = divideUp(p.rows, kTokens);
    a.columnTiles = divideUp(divideUp(p.outputs, hopper::kRows), kCluster) * kCluster;
    cudaError_t error = cudaSuccess;
    const auto also = [&](cudaError_t next) { error = error == cudaSuccess ? next : error; };
    if (p.bytes > 0) {
        also(describeRows(a.x[0], p.x.at, p.rows, p.bytes, p.x.pitch, kTokens / kCluster));
        also(describeCodes(a.w[0], p.w.at, p.outputs, p.bytes / 2, p.w.pitch, hopper::kRows));
    }
    if (const FloatPanel& panel = p.panels[1]; panel.bytes > 0) {
        also(describeRows(a.x[1], panel.x.at, p.rows, panel.bytes, panel.x.pitch, kTokens / kCluster));
        also(describeRows(a.w[1], panel.w.at, p.outputs, panel.bytes, panel.w.pitch, hopper::kRows));
    }
    if (error != cudaSuccess) {
        return error;
    }
    const unsigned blocks = std::min(a.rowTiles * a.columnTiles, static_cast<unsigned>(multiprocessors) / kCluster * kCluster);
    return launchCluster(hopper::multiplyCodes<kTokens, kGrouped, kCluster>, kCluster, blocks, hopper::kThreads,
                         hopper::CodesLayout<kTokens, kGrouped>::kShared, stream, a);
}

/// Pairs of blocks where there are tiles of outputs for both.
template <int kTokens, bool kGrouped>
cudaError_t start(const ProductArguments& p, const uint4& levels, int multiprocessors, cudaStream_t stream) {
    return p.outputs > hopper::kRows && multiprocessors > 1 ? start<kTokens, kGrouped, 2>(p, levels, multiprocessors, stream)
                                                            : start<kTokens, kGrouped, 1>(p, levels, multiprocessors, stream);
}

}  // namespace

cudaError_t launchHopperCodes(const ProductArguments& p, const uint4& levels, int multiprocessors, cudaStream_t stream) {
    if (p.rows == 0 || p.outputs == 0) {
        return cudaSuccess;
    }
    if (p.groups > 1) {
        return start<128, true>(p, levels, multiprocessors, stream);
    }
    // What every multiprocessor goes through: wide tiles read less for each product, by about as much as narrow ones cost here.
    const auto time = [&](size_t tokens, double cost) {
        return divideUp(divideUp(p.rows, tokens) * divideUp(p.outputs, hopper::kRows), static_cast<size_t>(multiprocessors)) * cost;
    };
    return time(256, 1.0) <= time(128, 0.5 / 0.85) ? start<256, false>(p, levels, multiprocessors, stream)
                                                  : start<128, false>(p, levels, multiprocessors, stream);
}

}  // namespace quantscope::cuda
