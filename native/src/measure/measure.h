// The per-layer report: what a quantizer does to a weight, and whether its rows follow the marginal that the codebook assumes.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/cancellation.h"
#include "base/thread_pool.h"
#include "cpu/kernels.h"
#include "quantizer/quantizer.h"
#include "stats/marginal.h"
#include "tensor/tensor.h"

namespace quantscope {

struct MeasureRequest {
    TensorRef tensor;
    std::optional<uint64_t> rotationSeed;  ///< rotation that the recipe applies before it quantizes
    uint64_t diagnosticSeed = 0;           ///< rotation of the `after` marginal when the recipe has none
    Quantizer weights;
    uint32_t histogramBins = 96;  ///< 1..4096, over -6..6 standard deviations
    uint64_t sampleRows = 0;      ///< 0: all; else that many, number floor((i + 1/2) rows / sampleRows)
};

struct Measurement {
    /// Sum of (w - quantized w)^2 / sum of w^2 over the measured rows, in the coordinates that are quantized; 0 for an all-zero
    /// weight.
    double relativeMse = 0;
    std::optional<double> expectedRelativeMse;
    Marginal before;
    Marginal after;
    /// Largest rho of OrbitQuant's Proposition 1 over the rows before rotation, delta = 0.01:
    /// d max(x)^2 sqrt(ln(4 k / delta) / (2 h)) for unit rows x, h the Hadamard block and k = d / h.
    double rho = 0;
    uint64_t rows = 0;
    uint64_t sampledRows = 0;  ///< rows read
    uint64_t zeroRows = 0;
    uint64_t nonFinite = 0;  ///< NaN and infinite values in the rows read; their rows are left out of every number
};

/// Sums over rows that a report is made of.
struct RowSums {
    double energy = 0;
    double error = 0;
    MarginalSums before;
    MarginalSums after;
    double peak = 0;  ///< largest d max(x)^2 / |x|^2
    uint64_t zeroRows = 0;
    uint64_t nonFinite = 0;
};

/// Fills in everything that follows from the sums and from the histograms of both marginals, `grid.countsSize()` counts each.
void finish(Measurement& report, const RowSums& sums, const std::vector<uint64_t>& before, const std::vector<uint64_t>& after, const MarginalGrid& grid, uint64_t width,
            const Cancellation& cancellation);

/// One streaming pass over the rows (two for a whole-tensor scale), in float32 with double sums; F64 beyond float32's range counts as
/// infinite. Results do not depend on the number of threads. Polls the cancellation at least every few milliseconds.
/// Throws Error: Io, Argument (width above kMaxWidth included), Cancelled.
Measurement measure(const MeasureRequest& request, ThreadPool& pool, const Cancellation& cancellation, const Progress& progress,
                    const Kernels& kernels);

}  // namespace quantscope
