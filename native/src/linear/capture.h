// What goes into chosen linears, described while it passes by: nothing of it is kept but a few sample rows.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/workers.h"
#include "cpu/kernels.h"
#include "linear/second_moments.h"
#include "stats/marginal.h"

namespace quantscope {

struct CaptureRequest {
    std::vector<std::string> layers;
    uint64_t seed = 0;            ///< of the RPBH rotation that `after` is taken behind
    uint32_t histogramBins = 96;  ///< 1..4096
    uint64_t sampleRows = 0;      ///< rows kept per layer, number floor((i + 1/2) rows / sampleRows)
    /// Adds the rows to the second moments of the layers as well, which may take so many bytes in all.
    std::optional<uint64_t> secondMoments{};
};

struct CapturedLayer {
    std::string name;
    uint64_t rows = 0;
    uint64_t width = 0;
    std::vector<float> absMax;      ///< largest |x| per channel, [width]
    std::vector<float> meanSquare;  ///< mean of x² per channel, [width]
    std::vector<float> sample;      ///< [sampled rows, width]
    Marginal before;
    Marginal after;
    double rho = 0;          ///< as in Measurement, over the rows of x
    uint64_t nonFinite = 0;  ///< values; their rows are left out of every other number but the sample
};

/// What rows of one layer's inputs add up to. Rows with a NaN or an infinity are in nonFinite alone.
struct InputSums {
    InputSums(const MarginalGrid& grid, uint64_t width) : beforeCounts(grid.countsSize()), afterCounts(grid.countsSize()), absMax(width), sumSquares(width) {}
    void merge(const InputSums& other);

    uint64_t counted = 0;    ///< rows
    uint64_t nonFinite = 0;  ///< values
    double peak = 0;         ///< of concentrationRho()
    MarginalSums before;
    MarginalSums after;
    std::vector<uint64_t> beforeCounts;
    std::vector<uint64_t> afterCounts;
    std::vector<float> absMax;       ///< [width]
    std::vector<double> sumSquares;  ///< [width]
};

/// The captures of one run.
class Captures {
public:
    /// `rows` are those of all linears of that name together, `width` is their inputs, `buffers` where these come from.
    struct Expected {
        uint64_t rows = 0;
        uint64_t width = 0;
        SecondMomentsStore::Inputs buffers;
    };
    /// Throws Error: Argument when a layer is not in `layers`, Memory when second moments take more than they may.
    Captures(const CaptureRequest& request, const std::map<std::string, Expected>& layers, SecondMomentsStore& secondMoments,
             const SecondMomentsStore::Place& momentsIn = SecondMomentsStore::processor());

    /// Takes x [rows, width] into the description of the layer, if it is captured.
    void add(const std::string& layer, const float* x, uint64_t rows, uint64_t width, Workers& workers, const Kernels& kernels);

    // For rows that lie elsewhere (device/captures.h), of layers that has() knows.
    bool has(const std::string& layer) const { return states_.contains(layer); }
    const CaptureRequest& request() const { return request_; }
    const MarginalGrid& grid() const { return grid_; }
    MomentSums* secondMoments(const std::string& layer) const { return secondMoments_.of(layer); }
    /// Those of the next `rows` rows that belong to the sample, ascending.
    std::vector<uint64_t> sampled(const std::string& layer, uint64_t rows) const;
    /// Takes what the next `rows` rows add up to, and the sampled ones.
    void add(const std::string& layer, uint64_t rows, const InputSums& sums, const std::vector<float>& sample);

    /// What add() advances the workers by beside the layer itself, over all rows.
    double work() const;

    /// In the order of the request.
    std::vector<CapturedLayer> finish() const;

private:
    struct State {
        Expected expected;
        InputSums sums;
        uint64_t seen = 0;
        std::vector<float> sample{};
    };

    CaptureRequest request_;
    MarginalGrid grid_;
    SecondMomentsStore& secondMoments_;
    std::map<std::string, State> states_;
};

}  // namespace quantscope
