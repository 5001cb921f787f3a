#include "linear/capture.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/error.h"
#include "base/sampling.h"
#include "rotation/rpbh.h"
#include "stats/concentration.h"

namespace quantscope {

void InputSums::merge(const InputSums& other) {
    counted += other.counted;
    nonFinite += other.nonFinite;
    peak = std::max(peak, other.peak);
    before.merge(other.before);
    after.merge(other.after);
    std::ranges::transform(beforeCounts, other.beforeCounts, beforeCounts.begin(), std::plus<>());
    std::ranges::transform(afterCounts, other.afterCounts, afterCounts.begin(), std::plus<>());
    std::ranges::transform(absMax, other.absMax, absMax.begin(), [](float a, float b) { return std::max(a, b); });
    std::ranges::transform(sumSquares, other.sumSquares, sumSquares.begin(), std::plus<>());
}

Captures::Captures(const CaptureRequest& request, const std::map<std::string, Expected>& layers, SecondMomentsStore& secondMoments,
                   const SecondMomentsStore::Place& momentsIn)
    : request_(request), grid_(request.histogramBins), secondMoments_(secondMoments) {
    std::vector<SecondMomentsStore::Layer> adding;
    for (const std::string& name : request.layers) {
        const auto found = layers.find(name);
        if (found == layers.end()) {
            failArgument("capture.layers: the model has no linear \"" + name + "\"");
        }
        const uint64_t width = found->second.width;
        State& state = states_.try_emplace(name, State{found->second, InputSums(grid_, width)}).first->second;
        state.sample.reserve(std::min(request.sampleRows, found->second.rows) * width);
        if (request.secondMoments) {
            adding.push_back({name, found->second.buffers, width});
        }
    }
    secondMoments_.startRun(adding, request.secondMoments.value_or(UINT64_MAX), momentsIn);
}

double Captures::work() const {
    double work = 0;
    for (const auto& [name, state] : states_) {
        work += secondMoments_.workOf(name, state.expected.rows);
    }
    return work;
}

std::vector<uint64_t> Captures::sampled(const std::string& layer, uint64_t rows) const {
    const State& state = states_.at(layer);
    const uint64_t wanted = std::min(request_.sampleRows, state.expected.rows);
    std::vector<uint64_t> result;
    for (uint64_t taken = state.sample.size() / state.expected.width; taken < wanted; ++taken) {
        const uint64_t row = sampledRow(taken, state.expected.rows, wanted);
        if (row >= state.seen + rows) {
            break;
        }
        result.push_back(row - state.seen);
    }
    return result;
}

void Captures::add(const std::string& layer, uint64_t rows, const InputSums& sums, const std::vector<float>& sample) {
    State& state = states_.at(layer);
    state.sums.merge(sums);
    state.sample.insert(state.sample.end(), sample.begin(), sample.end());
    state.seen += rows;
}

void Captures::add(const std::string& layer, const float* x, uint64_t rows, uint64_t width, Workers& workers,
                   const Kernels& kernels) {
    if (!has(layer)) {
        return;
    }
    if (MomentSums* const moments = secondMoments(layer)) {
        moments->add(x, rows, workers, kernels);
    }
    std::vector<float> sample;
    for (const uint64_t row : sampled(layer, rows)) {
        sample.insert(sample.end(), x + row * width, x + (row + 1) * width);
    }
    InputSums sums(grid_, width);

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
        sums.before.merge(piece.before);
        sums.after.merge(piece.after);
        sums.peak = std::max(sums.peak, piece.peak);
        sums.nonFinite += piece.nonFinite;
    }
    for (const Counts& worker : counts) {
        for (size_t i = 0; i < worker.before.size(); ++i) {
            sums.beforeCounts[i] += worker.before[i];
            sums.afterCounts[i] += worker.after[i];
        }
    }
    sums.counted = static_cast<uint64_t>(std::count(usable.begin(), usable.end(), 1));

    // Channels by the thread: no sums to merge at all.
    constexpr uint64_t kChannels = 256;
    workers.tiles((width + kChannels - 1) / kChannels, [&](size_t tile, unsigned) {
        const uint64_t first = tile * kChannels;
        const uint64_t end = std::min(width, first + kChannels);
        for (uint64_t i = 0; i < rows; ++i) {
            for (uint64_t c = first; usable[i] != 0 && c < end; ++c) {
                const float value = x[i * width + c];
                sums.absMax[c] = std::max(sums.absMax[c], std::fabs(value));
                sums.sumSquares[c] += static_cast<double>(value) * value;
            }
        }
    });
    add(layer, rows, sums, sample);
}

std::vector<CapturedLayer> Captures::finish() const {
    std::vector<CapturedLayer> result;
    for (const std::string& name : request_.layers) {
        const State& state = states_.at(name);
        const InputSums& sums = state.sums;
        CapturedLayer layer{name, state.seen, state.expected.width, sums.absMax, {}, state.sample, {}, {}, 0, sums.nonFinite};
        for (const double sum : sums.sumSquares) {
            layer.meanSquare.push_back(sums.counted > 0 ? static_cast<float>(sum / static_cast<double>(sums.counted)) : 0.0f);
        }
        layer.before = finishMarginal(sums.before, sums.beforeCounts, grid_, layer.width);
        layer.after = finishMarginal(sums.after, sums.afterCounts, grid_, layer.width);
        layer.rho = concentrationRho(sums.peak, layer.width);
        result.push_back(std::move(layer));
    }
    return result;
}

}  // namespace quantscope
