// What captures say of the columns of rows whose statistics are known.
#include "cuda/columns.h"

#include "cuda/context.cuh"
#include "cuda/portable.cuh"

namespace quantscope::cuda {

namespace {

constexpr unsigned kThreads = 128;

/// A thread for each column of one part of the rows.
template <class T>
__global__ void measureParts(ColumnsRequest r) {
    const uint64_t column = static_cast<uint64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (column >= r.width) {
        return;
    }
    const uint64_t end = r.rows * (blockIdx.y + 1) / kColumnParts;
    float largest = 0;
    double squares = 0;
    for (uint64_t row = r.rows * blockIdx.y / kColumnParts; row < end; ++row) {
        if (r.statistics[row].nonFinite == 0) {
            const float value = fabsf(toFloat(static_cast<const T*>(r.x)[row * r.xStride + column]));
            largest = fmaxf(largest, value);
            squares += static_cast<double>(value) * value;
        }
    }
    r.largestParts[blockIdx.y * r.width + column] = largest;
    r.squareParts[blockIdx.y * r.width + column] = squares;
}

__global__ void addParts(ColumnsRequest r) {
    const uint64_t column = static_cast<uint64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (column >= r.width) {
        return;
    }
    float largest = 0;
    double squares = 0;
    for (uint64_t part = 0; part < kColumnParts; ++part) {
        largest = fmaxf(largest, r.largestParts[part * r.width + column]);
        squares += r.squareParts[part * r.width + column];
    }
    r.largest[column] = largest;
    r.squares[column] = squares;
}

}  // namespace

Status measureColumns(Context* context, const ColumnsRequest* request) {
    if (request->width == 0) {
        return Status::Ok;
    }
    const unsigned across = divideUp(request->width, kThreads);
    const auto kernel = request->element == Element::F32 ? measureParts<float> : measureParts<Bf16>;
    const cudaError_t error = launch(kernel, dim3(across, kColumnParts), kThreads, 0, context->stream, *request);
    return check(error == cudaSuccess ? launch(addParts, across, kThreads, 0, context->stream, *request) : error, "statistics of columns");
}

}  // namespace quantscope::cuda
