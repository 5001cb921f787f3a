// The jobs that fit transforms to statistics: tensors in, one small safetensors file out (engine/addon.ts).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/cancellation.h"
#include "base/thread_pool.h"
#include "cpu/kernels.h"
#include "transform/basis.h"
#include "transform/outlier_rotation.h"
#include "transform/transform.h"

namespace quantscope {

/// Writes `first` F32 [1, block, block], `sources` I32 [width] and `second` F32 [1, block, block].
struct OutlierRotationRequest {
    TensorRef sample;  ///< [rows, width]
    uint64_t block;
    uint64_t steps;
    DealOrder order;
    uint64_t seed;
    std::string out;
};
struct OutlierRotationSummary {
    double peakBefore;
    double peakAfter;
};
OutlierRotationSummary runJob(const OutlierRotationRequest& request, ThreadPool& pool, const Cancellation& cancellation,
                              const Progress& progress, const Kernels& kernels);

/// Writes `matrices` F32 [heads, b, b] and, with several heads, `sources` I32 [width].
struct BasisRequest {
    TensorRef secondMoments;  ///< F32 [width, width]
    uint64_t heads;
    uint64_t high;
    uint64_t seed;
    std::string out;
};
struct BasisSummary {
    uint64_t block;
};
BasisSummary runJob(const BasisRequest& request, ThreadPool& pool, const Cancellation& cancellation, const Progress& progress,
                    const Kernels& kernels);

/// Writes `sample` F32 [rows, width], transformed.
struct TransformRequest {
    TensorRef sample;
    std::vector<Transform> transforms;
    std::string out;
};
struct TransformSummary {
    uint64_t rows;
};
TransformSummary runJob(const TransformRequest& request, ThreadPool& pool, const Cancellation& cancellation, const Progress& progress,
                        const Kernels& kernels);

}  // namespace quantscope
