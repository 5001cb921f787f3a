// Ops that only move values.
#include <algorithm>
#include <numeric>

#include "cuda/ops/ops.cuh"

namespace quantscope::cuda::ops {

namespace {

/// Unit is one element or 16 bytes of them; sizes and steps count in it.
template <class Unit>
__global__ void moveRows(const __grid_constant__ MoveRequest r, const __grid_constant__ RowAxes axes, uint32_t rows) {
    const int last = r.axes - 1;
    const uint64_t column = uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (column >= r.sizes[last]) {
        return;
    }
    for (uint32_t row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
        uint64_t from = column * r.xSteps[last];
        uint64_t to = column * r.outSteps[last];
        axes.visit(row, [&](int axis, uint32_t index) {
            from += index * r.xSteps[axis];
            to += index * r.outSteps[axis];
        });
        if constexpr (sizeof(Unit) == 16) {
            store16(static_cast<Unit*>(r.out) + to, load16(static_cast<const Unit*>(r.x) + from));
        } else {
            static_cast<Unit*>(r.out)[to] = static_cast<const Unit*>(r.x)[from];
        }
    }
}

constexpr uint32_t kTile = 32;

/// The last two axes change places: x is contiguous along the last but one, out along the last. Tiles of both go through shared memory, so that both sides
/// are read and written in rows; the other axes count as rows.
template <class Unit>
__global__ void moveTiles(const __grid_constant__ MoveRequest r, const __grid_constant__ RowAxes axes, uint32_t rows) {
    QUANTSCOPE_SHARED(Unit, tile, [kTile * (kTile + 1)]);
    const int across = r.axes - 1, down = r.axes - 2;
    const uint64_t tiles = (r.sizes[across] + kTile - 1) / kTile;
    const uint64_t firstAcross = blockIdx.x % tiles * kTile, firstDown = blockIdx.x / tiles * kTile;
    for (uint32_t row = blockIdx.y; row < rows; row += gridDim.y) {
        const Unit* x = static_cast<const Unit*>(r.x);
        Unit* out = static_cast<Unit*>(r.out);
        axes.visit(row, [&](int axis, uint32_t index) {
            x += index * r.xSteps[axis];
            out += index * r.outSteps[axis];
        });
        for (uint32_t i = threadIdx.y; i < kTile; i += blockDim.y) {
            if (firstAcross + i < r.sizes[across] && firstDown + threadIdx.x < r.sizes[down]) {
                tile[i * (kTile + 1) + threadIdx.x] = x[(firstAcross + i) * r.xSteps[across] + firstDown + threadIdx.x];
            }
        }
        __syncthreads();
        for (uint32_t i = threadIdx.y; i < kTile; i += blockDim.y) {
            if (firstDown + i < r.sizes[down] && firstAcross + threadIdx.x < r.sizes[across]) {
                out[(firstDown + i) * r.outSteps[down] + firstAcross + threadIdx.x] = tile[threadIdx.x * (kTile + 1) + i];
            }
        }
        __syncthreads();
    }
}

/// floor(i from / to) of one axis.
struct Scale {
    uint64_t from;
    uint32_t factor;  ///< i factor / divisor is the same with smaller numbers
    Divisor divisor;
    bool small;       ///< the product stays below 2^32

    Scale() = default;
    Scale(uint64_t from, uint64_t to) : from(from) {
        const uint64_t common = std::gcd(from, to);
        factor = static_cast<uint32_t>(from / common);
        divisor = Divisor(to / common);
        small = to * (from / common) <= UINT32_MAX;
    }
    __device__ uint64_t operator()(uint32_t i) const {
        return small ? divisor.quotient(i * factor) : uint64_t{i} * factor / divisor.by;
    }
};

struct Scales {
    Scale axis[kMaxAxes];
};

/// kCount neighbours along the last axis to a thread.
template <class Unit, int kCount>
__global__ void resizeRows(const __grid_constant__ ResizeRequest r, const __grid_constant__ Scales scales, const __grid_constant__ RowAxes axes,
                           uint32_t rows) {
    const int last = axes.last;
    const uint32_t column = (blockIdx.x * blockDim.x + threadIdx.x) * kCount;
    if (column >= r.to[last]) {
        return;
    }
    uint64_t columns[kCount];
    for (int k = 0; k < kCount; ++k) {
        columns[k] = scales.axis[last](column + k);
    }
    for (uint32_t row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
        uint64_t from = 0;
        uint64_t step = r.from[last];
        axes.visit(row, [&](int axis, uint32_t index) {
            from += scales.axis[axis](index) * step;
            step *= r.from[axis];
        });
        Piece<Unit, kCount> piece;
        for (int k = 0; k < kCount; ++k) {
            piece.at[k] = static_cast<const Unit*>(r.x)[from + columns[k]];
        }
        storePiece(static_cast<Unit*>(r.out) + row * r.to[last] + column, piece);
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

/// Whether out is contiguous along the last axis and x along another one; that one becomes the last but one. Small axes would leave tiles empty.
bool inTiles(MoveRequest& r) {
    const int last = r.axes - 1;
    for (int axis = 0; axis < last; ++axis) {
        if (r.xSteps[axis] == 1 && r.outSteps[last] == 1 && r.sizes[axis] >= kTile / 2 && r.sizes[last] >= kTile / 2) {
            std::rotate(r.sizes + axis, r.sizes + axis + 1, r.sizes + last);
            std::rotate(r.xSteps + axis, r.xSteps + axis + 1, r.xSteps + last);
            std::rotate(r.outSteps + axis, r.outSteps + axis + 1, r.outSteps + last);
            return true;
        }
    }
    return false;
}

template <class Unit>
cudaError_t startMove(const MoveRequest& r, uint32_t rows, cudaStream_t stream) {
    const RowThreads threads(rows, r.sizes[r.axes - 1]);
    return launch(moveRows<Unit>, threads.grid, threads.block, 0, stream, r, RowAxes(r.axes, r.sizes), rows);
}

template <class Unit>
cudaError_t startElements(MoveRequest r, uint32_t rows, cudaStream_t stream) {
    if (!inTiles(r)) {
        return startMove<Unit>(r, rows, stream);
    }
    const uint64_t across = r.sizes[r.axes - 1], down = r.sizes[r.axes - 2];
    const auto others = static_cast<uint32_t>(rows / down);
    const dim3 grid(static_cast<unsigned>(uint64_t{divideUp(across, kTile)} * divideUp(down, kTile)), std::min<uint32_t>(others, 65535));
    return launch(moveTiles<Unit>, grid, dim3(kTile, 8), 0, stream, r, RowAxes(r.axes - 1, r.sizes), others);
}

template <class Unit>
cudaError_t startResize(const ResizeRequest& r, uint32_t rows, cudaStream_t stream) {
    Scales scales;
    for (int32_t axis = 0; axis < r.axes; ++axis) {
        scales.axis[axis] = Scale(r.from[axis], r.to[axis]);
    }
    const RowAxes axes(r.axes, r.to);
    const uint64_t width = r.to[r.axes - 1];
    const bool wide = width % kWide<Unit> == 0 && isAligned(r.out);
    const RowThreads threads(rows, wide ? width / kWide<Unit> : width);
    return wide ? launch(resizeRows<Unit, kWide<Unit>>, threads.grid, threads.block, 0, stream, r, scales, axes, rows)
                : launch(resizeRows<Unit, 1>, threads.grid, threads.block, 0, stream, r, scales, axes, rows);
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
    const cudaStream_t stream = context->stream;
    return check(inPieces(r)           ? startMove<uint4>(r, rows, stream)
                 : r.elementBytes == 2 ? startElements<uint16_t>(r, rows, stream)
                                       : startElements<uint32_t>(r, rows, stream), "move");
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
    if (*std::max_element(r.to, r.to + r.axes) > INT32_MAX || *std::max_element(r.from, r.from + r.axes) > INT32_MAX) {
        return fail(Status::Argument, "a resize of an axis of 2^31 values or more");
    }
    return check(r.elementBytes == 2 ? startResize<uint16_t>(r, rows, context->stream) : startResize<uint32_t>(r, rows, context->stream), "resize");
}

}  // namespace quantscope::cuda::ops
