// Ops that only move values.
#include "cuda/ops/ops.cuh"

namespace quantscope::cuda::ops {

namespace {

/// Unit is one element or 16 bytes of them; sizes and steps count in it.
template <class Unit>
__global__ void moveRows(const __grid_constant__ MoveRequest r, uint32_t rows) {
    const int last = r.axes - 1;
    const uint64_t column = uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (column >= r.sizes[last]) {
        return;
    }
    for (uint32_t row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
        uint64_t from = column * r.xSteps[last];
        uint64_t to = column * r.outSteps[last];
        uint32_t rest = row;
        for (int axis = last - 1; axis >= 0; --axis) {
            const auto size = static_cast<uint32_t>(r.sizes[axis]);
            const uint32_t index = rest % size;
            rest /= size;
            from += index * r.xSteps[axis];
            to += index * r.outSteps[axis];
        }
        if constexpr (sizeof(Unit) == 16) {
            store16(static_cast<Unit*>(r.out) + to, load16(static_cast<const Unit*>(r.x) + from));
        } else {
            static_cast<Unit*>(r.out)[to] = static_cast<const Unit*>(r.x)[from];
        }
    }
}

template <class Unit>
__global__ void resizeRows(const __grid_constant__ ResizeRequest r, uint32_t rows) {
    const int last = r.axes - 1;
    const uint64_t column = uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (column >= r.to[last]) {
        return;
    }
    for (uint32_t row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
        uint64_t from = column * r.from[last] / r.to[last];
        uint64_t step = r.from[last];
        uint32_t rest = row;
        for (int axis = last - 1; axis >= 0; --axis) {
            const auto size = static_cast<uint32_t>(r.to[axis]);
            from += rest % size * r.from[axis] / size * step;
            rest /= size;
            step *= r.from[axis];
        }
        static_cast<Unit*>(r.out)[row * r.to[last] + column] = static_cast<const Unit*>(r.x)[from];
    }
}

/// The same in units of 16 bytes, if it can be said in them.
bool inPieces(MoveRequest& r) {
    const uint64_t each = 16 / static_cast<uint64_t>(r.elementBytes);
    const int last = r.axes - 1;
    if (!isAligned(r.x) || !isAligned(r.out) || r.xSteps[last] != 1 || r.outSteps[last] != 1 || r.sizes[last] % each != 0) {
        return false;
    }
    MoveRequest pieces = r;
    pieces.sizes[last] /= each;
    for (int axis = 0; axis < last; ++axis) {
        if (r.xSteps[axis] % each != 0 || r.outSteps[axis] % each != 0) {
            return false;
        }
        pieces.xSteps[axis] /= each;
        pieces.outSteps[axis] /= each;
    }
    r = pieces;
    return true;
}

}  // namespace

Status move(Context* context, const MoveRequest* request) {
    MoveRequest r = *request;
    uint32_t rows = 0;
    if (!countRows(r.axes, r.sizes, rows) || (r.elementBytes != 2 && r.elementBytes != 4)) {
        return fail(Status::Argument, "a move along axes that make no sense");
    }
    if (rows == 0 || r.sizes[r.axes - 1] == 0) {
        return Status::Ok;
    }
    const bool pieces = inPieces(r);
    const RowThreads threads(rows, r.sizes[r.axes - 1]);
    const cudaStream_t stream = context->stream;
    return check(pieces                ? launch(moveRows<uint4>, threads.grid, threads.block, 0, stream, r, rows)
                 : r.elementBytes == 2 ? launch(moveRows<uint16_t>, threads.grid, threads.block, 0, stream, r, rows)
                                       : launch(moveRows<uint32_t>, threads.grid, threads.block, 0, stream, r, rows), "move");
}

Status resize(Context* context, const ResizeRequest* request) {
    const ResizeRequest& r = *request;
    uint32_t rows = 0;
    if (!countRows(r.axes, r.to, rows) || (r.elementBytes != 2 && r.elementBytes != 4)) {
        return fail(Status::Argument, "a resize along axes that make no sense");
    }
    if (rows == 0 || r.to[r.axes - 1] == 0) {
        return Status::Ok;
    }
    const RowThreads threads(rows, r.to[r.axes - 1]);
    return check(r.elementBytes == 2 ? launch(resizeRows<uint16_t>, threads.grid, threads.block, 0, context->stream, r, rows)
                                     : launch(resizeRows<uint32_t>, threads.grid, threads.block, 0, context->stream, r, rows), "resize");
}

}  // namespace quantscope::cuda::ops
