#include "solver/gptq.h"

#include <algorithm>

#include "base/error.h"
#include "solver/levels.h"

namespace quantscope {

namespace {

/// Rows that one thread solves together: 64, or as many as have their levels in 32 MiB.
size_t rowsPerTile(const RowCodec& codec) {
    constexpr size_t kBytes = size_t{32} << 20;
    return std::clamp<size_t>(kBytes / RowLevels::bytes(codec), 1, 64);
}

}  // namespace

Rounding roundToNearest(const float* weights, size_t rows, const RowCodec& codec, Workers& workers) {
    const size_t width = codec.width();
    Rounding result{std::vector<uint8_t>(rows * width), std::vector<float>(rows * codec.sides())};
    workers.rows(rows, width, [&](uint64_t begin, uint64_t end) {
        for (uint64_t i = begin; i < end; ++i) {
            codec.encode(weights + i * width, result.codes.data() + i * width, result.sides.data() + i * codec.sides());
        }
    });
    return result;
}

Gptq gptq(std::vector<float> weights, const float* moments, size_t stride, const RowCodec& codec, const GptqOptions& options,
          Workers& workers) {
    const size_t n = codec.width();
    const size_t rows = weights.size() / n;
    const size_t perRow = codec.sides();
    const size_t group = options.staticGroups || codec.group() == n ? 0 : codec.group();
    if (group != 0 && options.actOrder) {
        failArgument("solver: actOrder needs staticGroups, because groups are consecutive inputs. Set staticGroups to true.");
    }
    const Feedback feedback(moments, n, stride, options.damping, options.actOrder, workers);
    Rounding nearest = roundToNearest(weights.data(), rows, codec, workers);
    const size_t each = rowsPerTile(codec);
    std::vector<ProxyLoss> losses((rows + each - 1) / each);
    workers.tiles(losses.size(), [&](size_t tile, unsigned) {
        const size_t first = tile * each;
        const size_t count = std::min(each, rows - first);
        std::vector<float> decoded(count * n);
        for (size_t i = 0; i < count; ++i) {
            codec.decode(nearest.codes.data() + (first + i) * n, nearest.sides.data() + (first + i) * perRow, decoded.data() + i * n);
        }
        losses[tile].rtn = feedback.sweep(weights.data() + first * n, count,
                                          [&](size_t i, size_t j, double) { return decoded[i * n + j]; }, workers);
        workers.advance(feedback.sweepWork(count));
    });
    for (size_t j = 0; j < n; ++j) {
        for (size_t i = 0; feedback.dead(j) && i < rows; ++i) {
            weights[i * n + j] = 0;
        }
    }
    Rounding result = roundToNearest(weights.data(), rows, codec, workers);  // static sides
    workers.tiles(losses.size(), [&](size_t tile, unsigned) {
        const size_t first = tile * each;
        const size_t count = std::min(each, rows - first);
        float* const tileSides = result.sides.data() + first * perRow;
        std::vector<RowLevels> levels(count, RowLevels(codec));
        for (size_t i = 0; i < count; ++i) {
            levels[i].set(tileSides + i * perRow);
        }
        const auto decide = [&](size_t i, size_t j, double moved) -> double {
            const RowLevels::Choice choice = levels[i].nearest(j, moved);
            result.codes[(first + i) * n + j] = choice.code;
            return choice.value;
        };
        std::vector<float> row(n);
        std::vector<uint8_t> codes(n);
        std::vector<float> sides(perRow);
        const auto enter = [&](size_t column, size_t width, const double* moved) {
            const size_t perGroup = perRow / (n / width);
            for (size_t i = 0; i < count; ++i) {
                std::copy_n(weights.data() + (first + i) * n, n, row.data());
                std::transform(moved + i * width, moved + (i + 1) * width, row.begin() + static_cast<ptrdiff_t>(column),
                               [](double w) { return static_cast<float>(w); });
                codec.encode(row.data(), codes.data(), sides.data());
                std::copy_n(sides.data() + column / width * perGroup, perGroup, tileSides + i * perRow + column / width * perGroup);
                levels[i].set(tileSides + i * perRow);
            }
        };
        losses[tile].solver = feedback.sweep(weights.data() + first * n, count, decide, workers, group,
                                             group == 0 ? Feedback::Enter() : enter);
        workers.advance(feedback.sweepWork(count));
    });
    ProxyLoss loss;
    for (const ProxyLoss& tile : losses) {
        loss.rtn += tile.rtn;
        loss.solver += tile.solver;
    }
    return {std::move(result), loss, feedback.damping(), feedback.retries()};
}

double gptqWork(size_t rows, size_t width) {
    const auto n = static_cast<double>(width);
    return n * n * n / 3 + 2 * static_cast<double>(rows) * n * n;
}

}  // namespace quantscope
