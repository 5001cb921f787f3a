#include "linear/capture.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/sampling.h"
#include "rotation/rpbh.h"
#include "stats/concentration.h"

namespace quantscope {

Captures::Captures(const CaptureRequest& request, const std::map<std::string, Expected>& layers, SecondMomentsStore& secondMoments)
    : request_(request), grid_(request.histogramBins), secondMoments_(secondMoments) {
    std::vector<SecondMomentsStore::Layer> adding;
    for (const std::string& name : request.layers) {
        const auto found = layers.find(name);
        if (found == layers.end()) {
            failArgument("capture.layers: the model has no linear \"" + name + "\"");
        }
        State& state = states_[name];
        state.expected = found->second;
        const uint64_t width = found->second.width;
        state.absMax.resize(width);
        state.sumSquares.resize(width);
        state.sample.reserve(std::min(request.sampleRows, found->second.rows) * width);
        state.beforeCounts.resize(grid_.countsSize());
        state.afterCounts.resize(grid_.countsSize());
        if (request.secondMoments) {
            adding.push_back({name, found->second.buffers, width});
        }
    }
    secondMoments_.startRun(adding, request.secondMoments.value_or(UINT64_MAX));
}

double Captures::work() const {
    double work = 0;
    for (const auto& [name, state] : states_) {
        work += secondMoments_.workOf(name, state.expected.rows);
    }
    return work;
}

void Captures::takeSample(State& state, const float* x, uint64_t rows) const {
    const uint64_t wanted = std::min(request_.sampleRows, state.expected.rows);
    for (uint64_t taken = state.sample.size() / state.expected.width; taken < wanted; ++taken) {
        const uint64_t row = sampledRow(taken, state.expected.rows, wanted);
        if (row >= state.seen + rows) {
            break;
        }
        const float* values = x + (row - state.seen) * state.expected.width;
        state.sample.insert(state.sample.end(), values, values + state.expected.width);
    }
}

void Captures::add(const std::string& layer, const float* x, uint64_t rows, uint64_t width, Workers& workers,
                   const Kernels& kernels) {
    const auto found = states_.find(layer);
    if (found == states_.end()) {
        return;
    }
    State& state = found->second;
    secondMoments_.add(layer, x, rows, workers, kernels);
    takeSample(state, x, rows);
    state.seen += rows;

    // Rows by the thread, each piece for itself; pieces are added up in order, so that rounding does not depend on the threads.
    struct Piece {
        MarginalSums before;
        MarginalSums after;
        double peak = 0;
        uint64_t nonFinite = 0;
    };
    struct Counts {
        std::vector<uint32_t> before;
        std::vector<uint32_t> after;
    };
    const auto rotation = rotationFor(width, request_.seed);
    const uint64_t each = std::max<uint64_t>(1, (uint64_t{1} << 16) / width);
    std::vector<Piece> pieces((rows + each - 1) / each);
    std::vector<Counts> counts(workers.threads(),
                               {std::vector<uint32_t>(grid_.countsSize()), std::vector<uint32_t>(grid_.countsSize())});
    std::vector<uint8_t> usable(rows, 1);
    workers.tiles(pieces.size(), [&](size_t index, unsigned worker) {
        Piece& piece = pieces[index];
        std::vector<float> rotated(width);
        for (uint64_t i = index * each; i < std::min(rows, (index + 1) * each); ++i) {
            const float* row = x + i * width;
            const auto bad = static_cast<uint64_t>(std::count_if(row, row + width, [](float v) { return !std::isfinite(v); }));
            const double energy = bad == 0 ? kernels.sumSquares(row, width) : 0;
            piece.nonFinite += bad;
            usable[i] = bad == 0;
            // Activations beyond 2^40 or so have no finite energy here; their marginal would be that of a broken model.
            if (!(energy > 0) || !std::isfinite(energy)) {
                continue;
            }
            const float scale = static_cast<float>(std::sqrt(static_cast<double>(width) / energy));
            piece.before.add(row, width, scale, grid_, counts[worker].before.data(), kernels);
            rotation->apply(row, rotated.data(), kernels);
            piece.after.add(rotated.data(), width, scale, grid_, counts[worker].after.data(), kernels);
            const Range range = kernels.range(row, width);
            const double largest = std::max(-range.lowest, range.highest);
            piece.peak = std::max(piece.peak, static_cast<double>(width) * largest * largest / energy);
        }
    });
    for (const Piece& piece : pieces) {
        state.before.merge(piece.before);
        state.after.merge(piece.after);
        state.peak = std::max(state.peak, piece.peak);
        state.nonFinite += piece.nonFinite;
    }
    for (const Counts& worker : counts) {
        for (size_t i = 0; i < worker.before.size(); ++i) {
            state.beforeCounts[i] += worker.before[i];
            state.afterCounts[i] += worker.after[i];
        }
    }
    state.counted += static_cast<uint64_t>(std::count(usable.begin(), usable.end(), 1));

    // Channels by the thread: no sums to merge at all.
    constexpr uint64_t kChannels = 256;
    workers.tiles((width + kChannels - 1) / kChannels, [&](size_t tile, unsigned) {
        const uint64_t first = tile * kChannels;
        const uint64_t end = std::min(width, first + kChannels);
        for (uint64_t i = 0; i < rows; ++i) {
            for (uint64_t c = first; usable[i] != 0 && c < end; ++c) {
                const float value = x[i * width + c];
                state.absMax[c] = std::max(state.absMax[c], std::fabs(value));
                state.sumSquares[c] += static_cast<double>(value) * value;
            }
        }
    });
}

std::vector<CapturedLayer> Captures::finish() const {
    std::vector<CapturedLayer> result;
    for (const std::string& name : request_.layers) {
        const State& state = states_.at(name);
        CapturedLayer layer{name, state.seen, state.expected.width, state.absMax, {}, state.sample, {}, {}, 0, state.nonFinite};
        for (const double sum : state.sumSquares) {
            layer.meanSquare.push_back(state.counted > 0 ? static_cast<float>(sum / static_cast<double>(state.counted)) : 0.0f);
        }
        layer.before = finishMarginal(state.before, state.beforeCounts, grid_, layer.width);
        layer.after = finishMarginal(state.after, state.afterCounts, grid_, layer.width);
        layer.rho = concentrationRho(state.peak, layer.width);
        result.push_back(std::move(layer));
    }
    return result;
}

}  // namespace quantscope
