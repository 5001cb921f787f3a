#include "stats/values.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
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
            ++counts[binOf(x[i]) * kCopies + i % kCopies];
        }
    }

    size_t binOf(double x) const { return static_cast<size_t>(std::min((0.5 * x - halfLo_) * power_ * perUnit_, last_)); }

private:
    double halfLo_;
    double last_;
    double power_;
    double perUnit_;
};

/// How often each value of a type of one or two bytes occurs. Neighbours of one byte go to different copies, as in BinCounter.
class CodeCounter {
public:
    /// For tensors of so many elements at least, counting is the cheaper way.
    static uint64_t worthwhile(size_t elementBytes) { return elementBytes > 2 ? std::numeric_limits<uint64_t>::max() : 4 * codes(elementBytes); }

    explicit CodeCounter(Dtype dtype) : dtype_(dtype), bytes_(elementBytes(dtype)) {}

    size_t size() const { return bytes_ == 1 ? 256 * kCopies : 65536; }

    /// counts: size() numbers.
    void count(const std::byte* stored, size_t n, uint64_t* counts) const {
        if (bytes_ == 1) {
            for (size_t i = 0; i < n; ++i) {
                ++counts[static_cast<size_t>(stored[i]) * kCopies + i % kCopies];
            }
            return;
        }
        for (size_t i = 0; i < n; ++i) {
            uint16_t code;
            std::memcpy(&code, stored + 2 * i, sizeof(code));
            ++counts[code];
        }
    }

    /// The finite values that occur and how often; adds the others to nan and inf.
    struct Occurrence {
        double value;
        uint64_t count;
    };
    std::vector<Occurrence> occurrences(const std::vector<uint64_t>& counts, uint64_t& nan, uint64_t& inf) const {
        const size_t n = codes(bytes_);
        std::vector<uint16_t> stored(n);
        auto* const bytes = reinterpret_cast<uint8_t*>(stored.data());
        for (size_t code = 0; code < n; ++code) {
            (bytes_ == 1 ? void(bytes[code] = static_cast<uint8_t>(code)) : void(stored[code] = static_cast<uint16_t>(code)));
        }
        std::vector<double> values(n);
        decodeToDouble(dtype_, reinterpret_cast<const std::byte*>(stored.data()), values.data(), n);
        std::vector<Occurrence> result;
        for (size_t code = 0; code < n; ++code) {
            const size_t copies = size() / n;
            const uint64_t count = std::accumulate(counts.begin() + static_cast<ptrdiff_t>(code * copies), counts.begin() + static_cast<ptrdiff_t>((code + 1) * copies), uint64_t{0});
            if (count > 0 && std::isfinite(values[code])) {
                result.push_back({values[code], count});
            } else {
                (std::isnan(values[code]) ? nan : inf) += count;
            }
        }
        return result;
    }

private:
    static constexpr size_t kCopies = 4;
    static size_t codes(size_t bytes) { return size_t{1} << 8 * bytes; }

    Dtype dtype_;
    size_t bytes_;
};

struct Workspace {
    AlignedArray<std::byte> stored;
    AlignedArray<double> values;
    std::vector<uint64_t> bins;
    std::vector<uint64_t> codes;
};

class Scanning {
public:
    Scanning(const StatsRequest& request, ThreadPool& pool, const Cancellation& cancellation, const Progress& progress)
        : pool_(pool), cancellation_(cancellation), progress_(progress), tensor_(request.tensor), bins_(request.histogramBins) {
        perTile_ = kTileBytes / tensor_.elementBytes();
        tiles_ = (tensor_.elements() + perTile_ - 1) / perTile_;
        for (unsigned i = 0; i < pool.threads(); ++i) {
            workspaces_.push_back({allocateAligned<std::byte>(kTileBytes), allocateAligned<double>(kBlock),
                                   std::vector<uint64_t>(BinCounter::kCopies * bins_), {}});
        }
    }

    ValueStats run() {
        if (tensor_.elements() >= CodeCounter::worthwhile(tensor_.elementBytes())) {
            return runByCodes();
        }
        passes_ = 2;
        std::vector<TileStats> perTile(tiles_);
        pass([&](size_t tile, Workspace&, double* values, size_t n) { perTile[tile].add(values, n); });
        TileStats total;
        for (const TileStats& tile : perTile) {
            total.merge(tile);
        }
        ValueStats result;
        describe(result, total);
        if (total.moments.count > 0) {
            result.histogram = histogram(total.min, total.max);
        }
        return result;
    }

private:
    /// Types of one or two bytes: everything follows from how often each value occurs, so that one pass counts and nothing else.
    ValueStats runByCodes() {
        passes_ = 1;
        const CodeCounter counter(tensor_.dtype());
        for (Workspace& work : workspaces_) {
            work.codes.resize(counter.size());
        }
        forTiles([&](size_t, Workspace& work, size_t n) { counter.count(work.stored.get(), n, work.codes.data()); });
        std::vector<uint64_t> counts(counter.size());
        for (const Workspace& work : workspaces_) {
            std::transform(counts.begin(), counts.end(), work.codes.begin(), counts.begin(), std::plus<>());
        }
        TileStats total;
        const auto occurrences = counter.occurrences(counts, total.nan, total.inf);
        for (const auto& [value, count] : occurrences) {
            total.min = std::min(total.min, value);
            total.max = std::max(total.max, value);
            total.zeros += value == 0 ? count : 0;
            total.moments.count += count;
            total.moments.mean += value * static_cast<double>(count);
        }
        ValueStats result;
        if (total.moments.count > 0) {
            Moments& moments = total.moments;
            moments.mean /= static_cast<double>(moments.count);
            const BinCounter bins(total.min, total.max, bins_);
            result.histogram = Histogram{total.min, total.max, std::vector<uint64_t>(size_t{bins_} + 2)};
            for (const auto& [value, count] : occurrences) {
                const double deviation = value - moments.mean, square = deviation * deviation, times = static_cast<double>(count);
                moments.m2 += times * square;
                moments.m3 += times * square * deviation;
                moments.m4 += times * square * square;
                result.histogram->counts[bins.binOf(value) + 1] += count;
            }
        }
        describe(result, total);
        return result;
    }

    /// body(tile, workspace, n) for every tile, which was read to workspace.stored.
    template <class Body>
    void forTiles(Body body) {
        pool_.run(tiles_, [&](size_t tile, unsigned worker) {
            cancellation_.check();
            const uint64_t first = tile * perTile_;
            const uint64_t count = std::min(perTile_, tensor_.elements() - first);
            tensor_.read(first, count, workspaces_[worker].stored.get());
            body(tile, workspaces_[worker], count);
            progress_(static_cast<double>(doneTiles_.fetch_add(1) + 1) / static_cast<double>(passes_ * tiles_));
        });
    }

    /// body(tile, workspace, values, n) for every block of every tile.
    template <class Body>
    void pass(Body body) {
        forTiles([&](size_t tile, Workspace& work, size_t count) {
            for (size_t done = 0; done < count; done += kBlock) {
                const size_t n = std::min(kBlock, count - done);
                decodeToDouble(tensor_.dtype(), work.stored.get() + done * tensor_.elementBytes(), work.values.get(), n);
                body(tile, work, work.values.get(), n);
            }
        });
    }

    void describe(ValueStats& result, const TileStats& total) const {
        result.count = tensor_.elements();
        result.nan = total.nan;
        result.inf = total.inf;
        result.zeros = total.zeros;
        if (total.moments.count == 0) {
            return;
        }
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
    uint64_t passes_ = 1;
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
