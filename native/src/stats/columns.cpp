#include "stats/columns.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/workers.h"

namespace quantscope {

ColumnRange columnRange(const ColumnRequest& request, ThreadPool& pool, const Cancellation& cancellation, const Progress& progress,
                        const Kernels& kernels) {
    const Tensor tensor(request.tensor);
    const uint64_t rows = request.tensor.shape.empty() ? 1 : request.tensor.shape.front();
    const uint64_t width = rows == 0 ? 0 : tensor.elements() / rows;
    ColumnRange result{std::vector<float>(width, 0.0F)};
    if (width == 0) {
        return result;
    }
    constexpr uint64_t kTileElements = uint64_t{1} << 18;
    const uint64_t rowsPerTile = std::max<uint64_t>(1, kTileElements / width);
    Workers workers(pool, cancellation, progress, static_cast<double>(rows));
    std::vector<TileMemory> memory(workers.threads());
    std::vector<std::vector<float>> largest(workers.threads(), std::vector<float>(width, 0.0F));
    workers.tiles((rows + rowsPerTile - 1) / rowsPerTile, [&](size_t tile, unsigned worker) {
        const uint64_t first = tile * rowsPerTile;
        const uint64_t count = std::min(rows - first, rowsPerTile);
        std::byte* const stored = memory[worker].stored.get<std::byte>(count * width * tensor.elementBytes());
        float* const values = memory[worker].decoded.get<float>(count * width);
        tensor.read(first * width, count * width, stored);
        kernels.decode(tensor.dtype(), stored, values, count * width);
        std::vector<float>& mine = largest[worker];
        for (uint64_t row = 0; row < count; ++row) {
            for (uint64_t column = 0; column < width; ++column) {
                const float magnitude = std::abs(values[row * width + column]);
                // The comparison with a NaN is false, so it takes the first branch and stays as an infinity.
                mine[column] = magnitude <= mine[column] ? mine[column]
                               : std::isnan(magnitude)  ? std::numeric_limits<float>::infinity()
                                                        : magnitude;
            }
        }
        workers.advance(static_cast<double>(count));
    });
    for (const std::vector<float>& mine : largest) {
        std::transform(mine.begin(), mine.end(), result.absMax.begin(), result.absMax.begin(), [](float a, float b) { return std::max(a, b); });
    }
    return result;
}

}  // namespace quantscope
