// Ops that take every value by itself or with its neighbour: combinations with broadcasting, maps, rope, the timestep's embedding.
#include <algorithm>

#include "cuda/ops/ops.cuh"

namespace quantscope::cuda::ops {

namespace {

__device__ inline float combined(Combination kind, float a, float b, float c) {
    switch (kind) {
        case Combination::Add: return a + b;
        case Combination::Sub: return a - b;
        case Combination::Mul: return a * b;
        case Combination::Modulate: return a * (1.0f + b) + c;
        case Combination::GateAdd: return a + b * c;
    }
    return a;
}

/// kCount neighbours along the last axis, of which a step is 1, or, for several, 0.
template <int kCount, class T>
__device__ inline void loadValues(const T* from, uint64_t step, float (&to)[kCount]) {
    if (kCount == 1 || step == 0) {
        const float value = toFloat(*from);
        for (int i = 0; i < kCount; ++i) {
            to[i] = value;
        }
        return;
    }
    const Piece<T, kCount> piece = loadPiece<kCount>(from);
    for (int i = 0; i < kCount; ++i) {
        to[i] = toFloat(piece.at[i]);
    }
}

template <class T, int kCount>
__global__ void combineRows(const __grid_constant__ CombineRequest r, uint32_t rows) {
    const uint64_t width = r.sizes[r.axes - 1];
    const uint64_t column = (uint64_t{blockIdx.x} * blockDim.x + threadIdx.x) * kCount;
    if (column >= width) {
        return;
    }
    const bool three = r.operands[2] != nullptr;
    for (uint32_t row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
        uint64_t at[3];
        for (int k = 0; k < 3; ++k) {
            at[k] = column * r.steps[k][r.axes - 1];
        }
        uint32_t rest = row;
        for (int axis = r.axes - 2; axis >= 0; --axis) {
            const auto size = static_cast<uint32_t>(r.sizes[axis]);
            const uint32_t index = rest % size;
            rest /= size;
            for (int k = 0; k < 3; ++k) {
                at[k] += index * r.steps[k][axis];
            }
        }
        float a[kCount], b[kCount], c[kCount] = {};
        loadValues<kCount>(static_cast<const T*>(r.operands[0]) + at[0], r.steps[0][r.axes - 1], a);
        loadValues<kCount>(static_cast<const T*>(r.operands[1]) + at[1], r.steps[1][r.axes - 1], b);
        if (three) {
            loadValues<kCount>(static_cast<const T*>(r.operands[2]) + at[2], r.steps[2][r.axes - 1], c);
        }
        Piece<T, kCount> out;
        for (int i = 0; i < kCount; ++i) {
            out.at[i] = fromFloat<T>(combined(r.kind, a[i], b[i], c[i]));
        }
        storePiece(static_cast<T*>(r.out) + row * width + column, out);
    }
}

__device__ inline float mapped(const MapRequest& r, float x) {
    switch (r.kind) {
        case Map::Silu: return x / (1.0f + expf(-x));
        case Map::GeluTanh: {  // (1 + tanh u) / 2 = 1 / (1 + exp(-2 u))
            const float twice = x * (0.071354816f * (x * x) + 1.5957691f);
            return x / (1.0f + expf(-twice));
        }
        case Map::Tanh: return tanhf(x);
        case Map::Relu: return x < 0.0f ? 0.0f : x;
        case Map::Affine: {
            const float value = r.mul * x + r.add;
            return value < r.low ? r.low : value > r.high ? r.high : value;
        }
    }
    return x;
}

template <class T, int kCount>
__global__ void mapValues(const __grid_constant__ MapRequest r) {
    const uint64_t first = (uint64_t{blockIdx.x} * kThreads + threadIdx.x) * kCount;
    const T* const x = static_cast<const T*>(r.x) + first;
    T* const out = static_cast<T*>(r.out) + first;
    if (first + kCount <= r.count) {
        Piece<T, kCount> piece = loadPiece<kCount>(x);
        for (int i = 0; i < kCount; ++i) {
            piece.at[i] = fromFloat<T>(mapped(r, toFloat(piece.at[i])));
        }
        storePiece(out, piece);
    } else {
        for (uint64_t i = first; i < r.count; ++i) {
            out[i - first] = fromFloat<T>(mapped(r, toFloat(x[i - first])));
        }
    }
}

/// A thread for each pair.
template <class T>
__global__ void ropeRows(const __grid_constant__ RopeRequest r) {
    const uint64_t width = r.heads * r.pairs;  // pairs of a token
    const uint64_t column = uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
    if (column >= width) {
        return;
    }
    const uint32_t pair = static_cast<uint32_t>(column) % static_cast<uint32_t>(r.pairs);
    for (uint64_t token = blockIdx.y * blockDim.y + threadIdx.y; token < r.tokens; token += gridDim.y * blockDim.y) {
        const float cos = valueAt(r.cos, r.angles, token * r.pairs + pair);
        const float sin = valueAt(r.sin, r.angles, token * r.pairs + pair);
        const uint64_t at = 2 * (token * width + column);
        const float a = toFloat(static_cast<const T*>(r.x)[at]);
        const float b = toFloat(static_cast<const T*>(r.x)[at + 1]);
        static_cast<T*>(r.out)[at] = fromFloat<T>(a * cos - b * sin);
        static_cast<T*>(r.out)[at + 1] = fromFloat<T>(a * sin + b * cos);
    }
}

template <class T>
__global__ void embedTimestep(const __grid_constant__ TimestepRequest r) {
    const uint64_t k = uint64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (k < r.half) {
        // The product in float32, as the models have it; its sine in float64, since it may be a thousand radians.
        const auto angle = static_cast<double>(r.scale * valueAt(r.t, r.tElement, 0) * r.frequencies[k]);
        static_cast<T*>(r.out)[k] = fromFloat<T>(static_cast<float>(cos(angle)));
        static_cast<T*>(r.out)[r.half + k] = fromFloat<T>(static_cast<float>(sin(angle)));
    }
}

template <class T>
__global__ void searchNonFinite(const __grid_constant__ NonFiniteRequest r) {
    bool found = false;
    for (uint64_t i = uint64_t{blockIdx.x} * kThreads + threadIdx.x; i < r.count; i += uint64_t{gridDim.x} * kThreads) {
        found = found || (__float_as_uint(toFloat(static_cast<const T*>(r.x)[i])) & 0x7F800000u) == 0x7F800000u;
    }
    if (found) {
        atomicOr(r.found, 1u);
    }
}

template <class T>
cudaError_t startCombine(const CombineRequest& r, uint32_t rows, cudaStream_t stream) {
    const int last = r.axes - 1;
    const uint64_t width = r.sizes[last];
    bool wide = width % kWide<T> == 0 && isAligned(r.out);
    for (int k = 0; k < 3; ++k) {
        if (r.operands[k] == nullptr || r.steps[k][last] == 0) {
            continue;
        }
        wide = wide && r.steps[k][last] == 1 && isAligned(r.operands[k]);
        for (int axis = 0; axis < last; ++axis) {
            wide = wide && r.steps[k][axis] % kWide<T> == 0;
        }
    }
    const RowThreads threads(rows, wide ? width / kWide<T> : width);
    return wide ? launch(combineRows<T, kWide<T>>, threads.grid, threads.block, 0, stream, r, rows)
                : launch(combineRows<T, 1>, threads.grid, threads.block, 0, stream, r, rows);
}

template <class T>
cudaError_t startMap(const MapRequest& r, cudaStream_t stream) {
    return isAligned(r.x) && isAligned(r.out) ? launch(mapValues<T, kWide<T>>, divideUp(r.count, kThreads * kWide<T>), kThreads, 0, stream, r)
                                              : launch(mapValues<T, 1>, divideUp(r.count, kThreads), kThreads, 0, stream, r);
}

}  // namespace

Status combine(Context* context, const CombineRequest* request) {
    const CombineRequest& r = *request;
    uint32_t rows = 0;
    const bool three = r.kind == Combination::Modulate || r.kind == Combination::GateAdd;
    if (!countRows(r.axes, r.sizes, rows) || r.operands[0] == nullptr || r.operands[1] == nullptr || (r.operands[2] != nullptr) != three) {
        return fail(Status::Argument, "a combination without operands, or with axes that make no sense");
    }
    if (rows == 0 || r.sizes[r.axes - 1] == 0) {
        return Status::Ok;
    }
    return check(r.element == Element::F32 ? startCombine<float>(r, rows, context->stream) : startCombine<Bf16>(r, rows, context->stream), "combine");
}

Status map(Context* context, const MapRequest* request) {
    if (request->count == 0) {
        return Status::Ok;
    }
    return check(request->element == Element::F32 ? startMap<float>(*request, context->stream) : startMap<Bf16>(*request, context->stream), "map");
}

Status rope(Context* context, const RopeRequest* request) {
    const RopeRequest& r = *request;
    if (r.tokens == 0 || r.heads == 0 || r.pairs == 0) {
        return Status::Ok;
    }
    if (r.heads > UINT32_MAX / r.pairs) {
        return fail(Status::Argument, "rope: rows of more than 2^33 values");
    }
    const RowThreads threads(r.tokens, r.heads * r.pairs);
    return check(r.element == Element::F32 ? launch(ropeRows<float>, threads.grid, threads.block, 0, context->stream, r)
                                           : launch(ropeRows<Bf16>, threads.grid, threads.block, 0, context->stream, r), "rope");
}

Status timestep(Context* context, const TimestepRequest* request) {
    const TimestepRequest& r = *request;
    if (r.half == 0) {
        return Status::Ok;
    }
    const unsigned blocks = divideUp(r.half, kThreads);
    return check(r.element == Element::F32 ? launch(embedTimestep<float>, blocks, kThreads, 0, context->stream, r)
                                           : launch(embedTimestep<Bf16>, blocks, kThreads, 0, context->stream, r), "timestep");
}

Status findNonFinite(Context* context, const NonFiniteRequest* request) {
    const NonFiniteRequest& r = *request;
    if (r.count == 0) {
        return Status::Ok;
    }
    const unsigned blocks = divideUp(std::min<uint64_t>(r.count, uint64_t{4096} * kThreads), kThreads);
    return check(r.element == Element::F32 ? launch(searchNonFinite<float>, blocks, kThreads, 0, context->stream, r)
                                           : launch(searchNonFinite<Bf16>, blocks, kThreads, 0, context->stream, r), "looking for values that are not finite");
}

}  // namespace quantscope::cuda::ops
