// The range of every input channel of a weight: what smoothing balances against the activations.
#pragma once

#include <vector>

#include "base/cancellation.h"
#include "base/thread_pool.h"
#include "cpu/kernels.h"
#include "tensor/tensor.h"

namespace quantscope {

struct ColumnRequest {
    TensorRef tensor;  ///< [outputs, ...]; what follows the first dimension is one row
};

struct ColumnRange {
    std::vector<float> absMax;  ///< [inputs]: largest magnitude over all outputs; infinite where the column holds a NaN
};

/// One pass over the file in pieces of about a mebibyte.
ColumnRange columnRange(const ColumnRequest& request, ThreadPool& pool, const Cancellation& cancellation, const Progress& progress,
                        const Kernels& kernels);

}  // namespace quantscope
