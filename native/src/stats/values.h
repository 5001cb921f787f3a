// Plain value statistics of a tensor, for any dtype that can be read as numbers.
#pragma once

#include <cstdint>
#include <optional>

#include "base/cancellation.h"
#include "base/thread_pool.h"
#include "stats/marginal.h"
#include "tensor/tensor.h"

namespace quantscope {

/// Central moments of a set of numbers, mergeable (Pébay 2008, Sandia report SAND2008-6212, Eq 2.1 and 3.1).
struct Moments {
    uint64_t count = 0;
    double mean = 0;
    double m2 = 0;  ///< sums of powers of deviations from the mean
    double m3 = 0;
    double m4 = 0;

    void merge(const Moments& other);
};

/// Moments of n numbers, by two passes over them.
Moments momentsOf(const double* x, size_t n);

struct ValueStats {
    uint64_t count = 0;  ///< elements, whatever their value
    uint64_t nan = 0;
    uint64_t inf = 0;
    uint64_t zeros = 0;
    // Over the finite values; absent when there is none, or when the number leaves the range of a double.
    std::optional<double> min;
    std::optional<double> max;
    std::optional<double> mean;
    std::optional<double> std;  ///< population standard deviation
    std::optional<double> absMax;
    std::optional<double> kurtosis;  ///< excess; absent when all values are equal
    std::optional<Histogram> histogram;  ///< equal bins from min to max, the largest value in the last inner bin
};

struct StatsRequest {
    TensorRef tensor;
    uint32_t histogramBins = 96;  ///< 1..4096
};

/// Two streaming passes (extremes and moments, then the histogram), or one that counts each value of a type of one or two bytes. Results do not
/// depend on the number of threads.
/// Throws Error: Io, Argument, Cancelled.
ValueStats valueStats(const StatsRequest& request, ThreadPool& pool, const Cancellation& cancellation, const Progress& progress);

}  // namespace quantscope
