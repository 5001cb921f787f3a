#include "stats/values.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/aligned.h"
#include "base/error.h"

namespace quantscope {

namespace {

constexpr uint64_t kTileBytes = uint64_t{1} << 20;
constexpr size_t kBlock = 2048;  // doubles at a time: stays in the first-level cache

/// Whether all n numbers are finite: adding one to an exponent field that is all ones carries into the sign bit.
bool allFinite(const double* x, size_t n) {
    constexpr uint64_t kExponent = 0x7FF0000000000000;
    uint64_t carries = 0;
    for (size_t i = 0; i < n; ++i) {
        carries |= (std::bit_cast<uint64_t>(x[i]) & kExponent) + (uint64_t{1} << 52);
    }
    return carries >> 63 == 0;
}

struct TileStats {
    uint64_t nan = 0;
    uint64_t inf = 0;
    uint64_t zeros = 0;
    double min = std::numeric_limits<double>::infinity();
    double max = -std::numeric_limits<double>::infinity();
    Moments moments;

    void merge(const TileStats& other) {
        nan += other.nan;
        inf += other.inf;
        zeros += other.zeros;
        min = std::min(min, other.min);
        max = std::max(max, other.max);
        moments.merge(other.moments);
    }

    /// Adds up to kBlock numbers; `values` is used as scratch.
    void add(double* values, size_t n) {
        if (!allFinite(values, n)) {
            size_t finite = 0;
            for (size_t i = 0; i < n; ++i) {
                if (std::isfinite(values[i])) {
                    values[finite++] = values[i];
                } else {
                    ++(std::isnan(values[i]) ? nan : inf);
                }
            }
            n = finite;
        }
        // Two of each, because an extreme waits for the previous one of its own.
        double lows[2] = {min, min};
        double highs[2] = {max, max};
        for (size_t i = 0; i < n; ++i) {
            lows[i % 2] = std::min(lows[i % 2], values[i]);
            highs[i % 2] = std::max(highs[i % 2], values[i]);
            zeros += values[i] == 0 ? 1 : 0;
        }
        min = std::min(lows[0], lows[1]);
        max = std::max(highs[0], highs[1]);
        moments.merge(momentsOf(values, n));
    }
};

/// Counts values into equal bins. Neighbouring values go to different copies of the bins: an increment waits for the previous one
/// of the same counter, and weights crowd into few bins.
class BinCounter {
public:
    static constexpr size_t kCopies = 4;

    BinCounter(double lo, double hi, uint32_t bins) : halfLo_(0.5 * lo), last_(bins - 1.0) {
        // Halves and a power of two on the side: neither the range nor its inverse may leave a double.
        const double halfRange = 0.5 * hi - halfLo_;
        const int exponent = lo < hi ? std::max(std::ilogb(halfRange), -1000) : 0;
        power_ = std::ldexp(1.0, -exponent);
        perUnit_ = lo < hi ? bins / std::ldexp(halfRange, -exponent) : 0.0;
    }

    /// counts: kCopies * bins, all copies of a bin side by side.
    void count(const double* x, size_t n, uint64_t* counts) const {
        for (size_t i = 0; i < n; ++i) {
            const double position = (0.5 * x[i] - halfLo_) * power_ * perUnit_;
            ++counts[static_cast<size_t>(std::min(position, last_)) * kCopies + i % kCopies];
        }
    }

private:
    double halfLo_;
    double last_;
    double power_;
    double perUnit_;
};

struct Workspace {
    AlignedArray<std::byte> stored;
    AlignedArray<double> values;
    std::vector<uint64_t> bins;
};

class Scanning {
public:
    Scanning(const StatsRequest& request, ThreadPool& pool, const Cancellation& cancellation, const Progress& progress)
        : pool_(pool), cancellation_(cancellation), progress_(progress), tensor_(request.tensor), bins_(request.histogramBins) {
        perTile_ = kTileBytes / tensor_.elementBytes();
        tiles_ = (tensor_.elements() + perTile_ - 1) / perTile_;
        for (unsigned i = 0; i < pool.threads(); ++i) {
            workspaces_.push_back({allocateAligned<std::byte>(kTileBytes), allocateAligned<double>(kBlock),
                                   std::vector<uint64_t>(BinCounter::kCopies * bins_)});
        }
    }

    ValueStats run() {
        std::vector<TileStats> perTile(tiles_);
        pass([&](size_t tile, Workspace&, double* values, size_t n) { perTile[tile].add(values, n); });
        TileStats total;
        for (const TileStats& tile : perTile) {
            total.merge(tile);
        }
        ValueStats result;
        result.count = tensor_.elements();
        result.nan = total.nan;
        result.inf = total.inf;
        result.zeros = total.zeros;
        if (total.moments.count > 0) {
            describe(result, total);
            result.histogram = histogram(total.min, total.max);
        }
        return result;
    }

private:
    /// body(tile, workspace, values, n) for every block of every tile.
    template <class Body>
    void pass(Body body) {
        pool_.run(tiles_, [&](size_t tile, unsigned worker) {
            cancellation_.check();
            Workspace& work = workspaces_[worker];
            const uint64_t first = tile * perTile_;
            const uint64_t count = std::min(perTile_, tensor_.elements() - first);
            tensor_.read(first, count, work.stored.get());
            for (uint64_t done = 0; done < count; done += kBlock) {
                const size_t n = std::min<uint64_t>(kBlock, count - done);
                decodeToDouble(tensor_.dtype(), work.stored.get() + done * tensor_.elementBytes(), work.values.get(), n);
                body(tile, work, work.values.get(), n);
            }
            progress_(static_cast<double>(doneTiles_.fetch_add(1) + 1) / static_cast<double>(2 * tiles_));
        });
    }

    static void describe(ValueStats& result, const TileStats& total) {
        const auto finite = [](double value) { return std::isfinite(value) ? std::optional(value) : std::nullopt; };
        const double n = static_cast<double>(total.moments.count);
        const double variance = total.moments.m2 / n;
        result.min = total.min;
        result.max = total.max;
        result.absMax = std::max(std::fabs(total.min), std::fabs(total.max));
        result.mean = finite(total.moments.mean);
        result.std = finite(std::sqrt(variance));
        if (total.min < total.max) {
            result.kurtosis = finite(total.moments.m4 / n / (variance * variance) - 3.0);
        }
    }

    Histogram histogram(double lo, double hi) {
        const BinCounter counter(lo, hi, bins_);
        pass([&](size_t, Workspace& work, double* values, size_t n) {
            if (!allFinite(values, n)) {
                n = static_cast<size_t>(std::remove_if(values, values + n, [](double v) { return !std::isfinite(v); }) - values);
            }
            counter.count(values, n, work.bins.data());
        });
        Histogram result{lo, hi, std::vector<uint64_t>(size_t{bins_} + 2)};
        for (const Workspace& work : workspaces_) {
            for (size_t i = 0; i < work.bins.size(); ++i) {
                result.counts[i / BinCounter::kCopies + 1] += work.bins[i];
            }
        }
        return result;
    }

    ThreadPool& pool_;
    const Cancellation& cancellation_;
    const Progress& progress_;
    Tensor tensor_;
    uint32_t bins_;
    uint64_t perTile_;
    uint64_t tiles_;
    std::vector<Workspace> workspaces_;
    std::atomic<uint64_t> doneTiles_{0};
};

}  // namespace

void Moments::merge(const Moments& other) {
    if (other.count == 0) {
        return;
    }
    if (count == 0) {
        *this = other;
        return;
    }
    const double na = static_cast<double>(count);
    const double nb = static_cast<double>(other.count);
    const double n = na + nb;
    const double delta = other.mean - mean;
    const double d = delta / n;
    m4 += other.m4 + delta * d * d * d * na * nb * (na * na - na * nb + nb * nb) + 6 * d * d * (na * na * other.m2 + nb * nb * m2) +
          4 * d * (na * other.m3 - nb * m3);
    m3 += other.m3 + delta * d * d * na * nb * (na - nb) + 3 * d * (na * other.m2 - nb * m2);
    m2 += other.m2 + delta * d * na * nb;
    mean += d * nb;
    count += other.count;
}

Moments momentsOf(const double* x, size_t n) {
    Moments result;
    if (n == 0) {
        return result;
    }
    // Several independent sums: an addition waits for the previous one to the same sum.
    constexpr size_t kSums = 4;
    double sum[kSums] = {};
    size_t i = 0;
    for (; i + kSums <= n; i += kSums) {
        for (size_t k = 0; k < kSums; ++k) {
            sum[k] += x[i + k];
        }
    }
    for (; i < n; ++i) {
        sum[0] += x[i];
    }
    result.count = n;
    result.mean = (sum[0] + sum[1] + (sum[2] + sum[3])) / static_cast<double>(n);
    double m2[kSums] = {};
    double m3[kSums] = {};
    double m4[kSums] = {};
    const auto add = [&](size_t k, double value) {
        const double deviation = value - result.mean;
        const double square = deviation * deviation;
        m2[k] += square;
        m3[k] += square * deviation;
        m4[k] += square * square;
    };
    for (i = 0; i + kSums <= n; i += kSums) {
        for (size_t k = 0; k < kSums; ++k) {
            add(k, x[i + k]);
        }
    }
    for (; i < n; ++i) {
        add(0, x[i]);
    }
    result.m2 = m2[0] + m2[1] + (m2[2] + m2[3]);
    result.m3 = m3[0] + m3[1] + (m3[2] + m3[3]);
    result.m4 = m4[0] + m4[1] + (m4[2] + m4[3]);
    return result;
}

ValueStats valueStats(const StatsRequest& request, ThreadPool& pool, const Cancellation& cancellation, const Progress& progress) {
    if (request.histogramBins < 1 || request.histogramBins > 4096) {
        failArgument("histogramBins: from 1 to 4096, got " + std::to_string(request.histogramBins));
    }
    return Scanning(request, pool, cancellation, progress).run();
}

}  // namespace quantscope
