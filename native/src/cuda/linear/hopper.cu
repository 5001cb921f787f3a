#include "cuda/linear/hopper.h"

#include <algorithm>
#include <utility>

#include "cuda/linear/hopper.cuh"

namespace quantscope::cuda {

namespace {

template <int kColumns, bool kIntegers, bool kGrouped, int kCluster>
cudaError_t start(const ProductArguments& p, int multiprocessors, cudaStream_t stream) {
    hopper::Arguments a{};
    a.p = p;
    a.rowTiles = divideUp(p.rows, hopper::kRows);
    a.columnTiles = divideUp(p.outputs, kColumns);
    const struct {
        RowsOfBytes x, w;
        uint32_t bytes;
    } segments[hopper::kSegments] = {
        {p.x, p.w, kIntegers ? p.bytes : 0}, {p.panels[0].x, p.panels[0].w, p.panels[0].bytes}, {p.panels[1].x, p.panels[1].w, p.panels[1].bytes}};
    for (int i = 0; i < hopper::kSegments; ++i) {
        const auto& [x, w, bytes] = segments[i];
        a.bytes[i] = bytes;
        if (bytes == 0) {
            continue;
        }
        if (const cudaError_t error = describeRows(a.x[i], x.at, p.rows, bytes, x.pitch, hopper::kRows); error != cudaSuccess) {
            return error;
        }
        if (const cudaError_t error = describeRows(a.w[i], w.at, p.outputs, bytes, w.pitch, kColumns / kCluster); error != cudaSuccess) {
            return error;
        }
    }
    const unsigned blocks = std::min(a.rowTiles * a.columnTiles, static_cast<unsigned>(multiprocessors) / kCluster * kCluster);
    return launchCluster(hopper::multiply<kColumns, kIntegers, kGrouped, kCluster>, kCluster, blocks, hopper::kThreads, hopper::Layout<kColumns, kGrouped>::kShared,
                         stream, a);
}

/// Pairs of blocks where tiles of rows come in pairs.
template <int kColumns, bool kIntegers, bool kGrouped>
cudaError_t start(const ProductArguments& p, int multiprocessors, cudaStream_t stream) {
    return divideUp(p.rows, hopper::kRows) % 2 == 0 && multiprocessors > 1 ? start<kColumns, kIntegers, kGrouped, 2>(p, multiprocessors, stream)
                                                                           : start<kColumns, kIntegers, kGrouped, 1>(p, multiprocessors, stream);
}

/// The columns of a tile that are done first, by the tiles that every multiprocessor goes through. Wide tiles read less for each product.
int columnsFor(uint32_t rows, uint32_t outputs, int multiprocessors) {
    int best = 0;
    double least = 0;
    for (const auto& [columns, cost] : {std::pair{256, 256.0}, {192, 192 / 0.95}, {128, 128 / 0.85}}) {
        const unsigned tiles = divideUp(rows, hopper::kRows) * divideUp(outputs, static_cast<size_t>(columns));
        const double time = divideUp(tiles, static_cast<size_t>(multiprocessors)) * cost;
        if (best == 0 || time < least) {
            best = columns;
            least = time;
        }
    }
    return best;
}

template <bool kIntegers>
cudaError_t startWhole(const ProductArguments& p, int multiprocessors, cudaStream_t stream) {
    switch (columnsFor(p.rows, p.outputs, multiprocessors)) {
        case 256: return start<256, kIntegers, false>(p, multiprocessors, stream);
        case 192: return start<192, kIntegers, false>(p, multiprocessors, stream);
        default: return start<128, kIntegers, false>(p, multiprocessors, stream);
    }
}

}  // namespace

cudaError_t launchHopper(const ProductArguments& p, bool integers, bool grouped, int multiprocessors, cudaStream_t stream) {
    if (p.rows == 0 || p.outputs == 0) {
        return cudaSuccess;
    }
    return grouped    ? start<128, true, true>(p, multiprocessors, stream)
           : integers ? startWhole<true>(p, multiprocessors, stream)
                      : startWhole<false>(p, multiprocessors, stream);
}

}  // namespace quantscope::cuda
