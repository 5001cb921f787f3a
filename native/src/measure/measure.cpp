#include "measure/measure.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "base/aligned.h"
#include "measure/rows.h"
#include "quantizer/expected.h"
#include "rotation/rpbh.h"
#include "stats/concentration.h"

namespace quantscope {

namespace {

constexpr uint32_t kInfinityBits = 0x7F800000;

/// Numbers of one tile. Tiles are merged in order, so that rounding is the same for every number of threads.
struct TileSums : RowSums {
    TensorRange range;  ///< of the whole-tensor pass

    void merge(const TileSums& other) {
        energy += other.energy;
        error += other.error;
        before.merge(other.before);
        after.merge(other.after);
        peak = std::max(peak, other.peak);
        zeroRows += other.zeroRows;
        nonFinite += other.nonFinite;
        range.merge(other.range);
    }
};

/// Memory one thread works in, allocated once per job.
struct Workspace {
    Workspace(const RowTiles& tiles, uint64_t columns, const MarginalGrid& grid)
        : stored(allocateAligned<std::byte>(tiles.tileBytes())),
          values(allocateAligned<float>(columns)),
          rotated(allocateAligned<float>(columns)),
          before(grid.countsSize()),
          after(grid.countsSize()),
          beforeTotal(grid.countsSize()),
          afterTotal(grid.countsSize()) {}

    AlignedArray<std::byte> stored;
    AlignedArray<float> values;
    AlignedArray<float> rotated;
    std::vector<uint32_t> before;
    std::vector<uint32_t> after;
    std::vector<uint64_t> beforeTotal;
    std::vector<uint64_t> afterTotal;
    uint64_t counted = 0;

    /// Moves the 32-bit counts to the totals before they could overflow.
    void flush() {
        for (size_t i = 0; i < before.size(); ++i) {
            beforeTotal[i] += before[i];
            afterTotal[i] += after[i];
        }
        std::fill(before.begin(), before.end(), 0);
        std::fill(after.begin(), after.end(), 0);
        counted = 0;
    }
};

class Measuring {
public:
    Measuring(const MeasureRequest& request, ThreadPool& pool, const Cancellation& cancellation, const Progress& progress,
              const Kernels& kernels)
        : request_(request), pool_(pool), cancellation_(cancellation), progress_(progress), kernels_(kernels),
          tensor_(request.tensor), grid_(request.histogramBins) {
        const uint64_t width = tensor_.columns();
        if (!isWeightDtype(tensor_.dtype())) {
            failArgument("tensor.dtype: " + std::string(nameOf(tensor_.dtype())) +
                         " weights cannot be measured; supported are F32, F16, BF16, F64, F8_E4M3, F8_E5M2, I8 and U8");
        }
        if (width > kMaxWidth) {
            failArgument("tensor.shape: rows of " + std::to_string(width) + " values are too wide; at most " + std::to_string(kMaxWidth));
        }
        validate(request.weights, std::max<uint64_t>(width, 1));
    }

    Measurement run() {
        Measurement result;
        result.rows = tensor_.rows();
        const RowTiles tiles(tensor_, request_.sampleRows);
        const RowTiles all(tensor_, 0);
        result.sampledRows = tiles.count();
        const uint64_t width = tensor_.columns();
        if (width > 0) {
            rotation_ = rotationFor(width, request_.rotationSeed.value_or(request_.diagnosticSeed), &cancellation_);
            result.expectedRelativeMse = expectedDistortion(request_.weights, width, result.rows);
        }
        for (unsigned i = 0; i < pool_.threads(); ++i) {
            workspaces_.emplace_back(all, width, grid_);
        }
        if (needsTensorRange(request_.weights) && width > 0) {
            totalTiles_ = all.tiles() + tiles.tiles();
            range_ = pass(all, [this](const RowTiles& t, uint64_t tile, Workspace& w) { return rangeOfTile(t, tile, w); }).range;
            if (std::holds_alternative<IntQuantizer>(request_.weights)) {
                sharedExponent_ = exponentFor(static_cast<float>(range_.largest()));
            }
        } else {
            totalTiles_ = tiles.tiles();
        }
        if (width > 0) {
            quantizer_ = makeRowQuantizer(request_.weights, width, range_);
        }
        const TileSums sums = pass(tiles, [this](const RowTiles& t, uint64_t tile, Workspace& w) { return measureTile(t, tile, w); });
        finish(result, sums);
        return result;
    }

private:
    template <class Body>
    TileSums pass(const RowTiles& tiles, Body body) {
        std::vector<TileSums> perTile(tiles.tiles());
        pool_.run(tiles.tiles(), [&](size_t tile, unsigned worker) {
            cancellation_.check();
            perTile[tile] = body(tiles, tile, workspaces_[worker]);
            progress_(static_cast<double>(doneTiles_.fetch_add(1) + 1) / static_cast<double>(totalTiles_));
        });
        TileSums total;
        for (const TileSums& sums : perTile) {
            total.merge(sums);
        }
        return total;
    }

    /// Decodes row number `i` of a tile that was read. False when it holds a NaN or an infinity, which are counted.
    bool decodeRow(uint64_t i, Workspace& work, TileSums& sums, float& largest) const {
        const size_t n = tensor_.columns();
        kernels_.decode(tensor_.dtype(), work.stored.get() + i * tensor_.rowBytes(), work.values.get(), n);
        const uint32_t bits = kernels_.maxMagnitude(work.values.get(), n);
        largest = std::bit_cast<float>(bits);
        if (bits < kInfinityBits) {
            return true;
        }
        for (size_t k = 0; k < n; ++k) {
            sums.nonFinite += std::isfinite(work.values[k]) ? 0 : 1;
        }
        return false;
    }

    /// What the quantizer has to know of all coordinates that are quantized.
    TileSums rangeOfTile(const RowTiles& tiles, uint64_t tile, Workspace& work) const {
        TileSums sums;
        tiles.read(tile, work.stored.get());
        const size_t n = tensor_.columns();
        for (uint64_t i = 0; i < tiles.end(tile) - tiles.begin(tile); ++i) {
            float largest;
            if (!decodeRow(i, work, sums, largest) || largest == 0) {
                continue;
            }
            const int exponent = exponentFor(largest);
            if (exponent != 0) {
                kernels_.multiply(work.values.get(), n, std::ldexp(1.0f, -exponent));
            }
            if (request_.rotationSeed) {
                rotation_->apply(work.values.get(), work.rotated.get(), kernels_);
            }
            observe(request_.weights, request_.rotationSeed ? work.rotated.get() : work.values.get(), n, exponent, kernels_, sums.range);
        }
        return sums;
    }

    TileSums measureTile(const RowTiles& tiles, uint64_t tile, Workspace& work) const {
        TileSums sums;
        tiles.read(tile, work.stored.get());
        const size_t n = tensor_.columns();
        const double width = static_cast<double>(n);
        for (uint64_t i = 0; i < tiles.end(tile) - tiles.begin(tile); ++i) {
            float largest;
            if (!decodeRow(i, work, sums, largest)) {
                continue;
            }
            if (largest == 0) {
                ++sums.zeroRows;
                continue;
            }
            const int exponent = sharedExponent_.value_or(exponentFor(largest));
            if (exponent != 0) {
                kernels_.multiply(work.values.get(), n, std::ldexp(1.0f, -exponent));
                largest = std::ldexp(largest, -exponent);
            }
            const double energy = kernels_.sumSquares(work.values.get(), n);
            if (energy == 0) {
                continue;  // vanishes beside the tensor's largest value
            }
            const double norm = std::sqrt(energy);
            const float scale = static_cast<float>(std::sqrt(width) / norm);
            sums.before.add(work.values.get(), n, scale, grid_, work.before.data(), kernels_);
            rotation_->apply(work.values.get(), work.rotated.get(), kernels_);
            sums.after.add(work.rotated.get(), n, scale, grid_, work.after.data(), kernels_);
            sums.peak = std::max(sums.peak, width * largest * largest / energy);

            Row row{request_.rotationSeed ? work.rotated.get() : work.values.get(), n, norm, exponent};
            if (tensor_.dtype() == Dtype::F64 && !request_.rotationSeed) {
                row.exact = reinterpret_cast<const double*>(work.stored.get() + i * tensor_.rowBytes());
            }
            sums.energy += std::ldexp(energy, 2 * exponent);
            sums.error += std::ldexp(quantizer_->squaredError(row, kernels_), 2 * exponent);
        }
        work.counted += (tiles.end(tile) - tiles.begin(tile)) * n;
        if (work.counted >= uint64_t{1} << 31) {
            work.flush();
        }
        return sums;
    }

    void finish(Measurement& result, const TileSums& sums) {
        std::vector<uint64_t> before(grid_.countsSize());
        std::vector<uint64_t> after(grid_.countsSize());
        for (Workspace& work : workspaces_) {
            work.flush();
            for (size_t i = 0; i < before.size(); ++i) {
                before[i] += work.beforeTotal[i];
                after[i] += work.afterTotal[i];
            }
        }
        quantscope::finish(result, sums, before, after, grid_, tensor_.columns(), cancellation_);
    }

    const MeasureRequest& request_;
    ThreadPool& pool_;
    const Cancellation& cancellation_;
    const Progress& progress_;
    const Kernels& kernels_;
    Tensor tensor_;
    MarginalGrid grid_;
    std::shared_ptr<const Rpbh> rotation_;
    std::unique_ptr<RowQuantizer> quantizer_;
    std::optional<int> sharedExponent_;
    TensorRange range_;
    std::vector<Workspace> workspaces_;
    std::atomic<uint64_t> doneTiles_{0};
    uint64_t totalTiles_ = 0;
};

}  // namespace

void finish(Measurement& report, const RowSums& sums, const std::vector<uint64_t>& before, const std::vector<uint64_t>& after, const MarginalGrid& grid, uint64_t width,
            const Cancellation& cancellation) {
    const uint64_t d = std::max<uint64_t>(width, 1);
    report.before = finishMarginal(sums.before, before, grid, d);
    cancellation.check();
    report.after = finishMarginal(sums.after, after, grid, d);
    report.relativeMse = sums.energy > 0 ? sums.error / sums.energy : 0.0;
    report.rho = concentrationRho(sums.peak, d);
    report.zeroRows = sums.zeroRows;
    report.nonFinite = sums.nonFinite;
}

Measurement measure(const MeasureRequest& request, ThreadPool& pool, const Cancellation& cancellation, const Progress& progress,
                    const Kernels& kernels) {
    if (request.histogramBins < 1 || request.histogramBins > 4096) {
        failArgument("histogramBins: from 1 to 4096, got " + std::to_string(request.histogramBins));
    }
    return Measuring(request, pool, cancellation, progress, kernels).run();
}

}  // namespace quantscope
