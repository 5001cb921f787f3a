// Ops that take every value by itself or with its neighbour: combinations with broadcasting, maps, rope, the timestep's embedding.
#include <algorithm>

#include "cuda/ops/ops.cuh"

namespace quantscope::cuda::ops {

namespace {

/// The combination of kCount values each, in the place of a.
template <int kCount>
__device__ inline void combineValues(Combination kind, float (&a)[kCount], const float (&b)[kCount], const float (&c)[kCount]) {
    const auto each = [&](auto combined) {
        for (int i = 0; i < kCount; ++i) {
            a[i] = combined(a[i], b[i], c[i]);
        }
    };
    switch (kind) {
        case Combination::Add: each([](float x, float y, float) { return x + y; }); break;
        case Combination::Sub: each([](float x, float y, float) { return x - y; }); break;
        case Combination::Mul: each([](float x, float y, float) { return x * y; }); break;
        case Combination::Modulate: each([](float x, float scale, float shift) { return x * (1.0f + scale) + shift; }); break;
        case Combination::GateAdd: each([](float x, float gate, float y) { return x + gate * y; }); break;
    }
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
__global__ void __launch_bounds__(kThreads, 6) combineRows(const __grid_constant__ CombineRequest r, const __grid_constant__ RowAxes axes, uint32_t rows) {
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
        axes.visit(row, [&](int axis, uint32_t index) {
            for (int k = 0; k < 3; ++k) {
                at[k] += index * r.steps[k][axis];
            }
        });
        float a[kCount], b[kCount], c[kCount] = {};
        loadValues<kCount>(static_cast<const T*>(r.operands[0]) + at[0], r.steps[0][r.axes - 1], a);
        loadValues<kCount>(static_cast<const T*>(r.operands[1]) + at[1], r.steps[1][r.axes - 1], b);
        if (three) {
            loadValues<kCount>(static_cast<const T*>(r.operands[2]) + at[2], r.steps[2][r.axes - 1], c);
        }
        combineValues(r.kind, a, b, c);
        Piece<T, kCount> out;
        for (int i = 0; i < kCount; ++i) {
            out.at[i] = fromFloat<T>(a[i]);
        }
        storePiece(static_cast<T*>(r.out) + row * width + column, out);
    }
}

/// x / (1 + exp(-y)). What is rounded to bfloat16 afterwards bears exponentials and quotients that are off in the last places.
template <class T>
__device__ inline float gated(float x, float y) {
    if constexpr (sizeof(T) == 2) {
        return __fdividef(x, 1.0f + exp2Approximate(-1.4426950f * y));
    } else {
        return x / (1.0f + expf(-y));
    }
}

template <class T, int kCount>
__device__ inline void mapPiece(const MapRequest& r, Piece<T, kCount>& piece) {
    const auto each = [&](auto mapped) {
        for (int i = 0; i < kCount; ++i) {
            piece.at[i] = fromFloat<T>(mapped(toFloat(piece.at[i])));
        }
    };
    switch (r.kind) {
        case Map::Silu: each([](float x) { return gated<T>(x, x); }); break;
        // (1 + tanh u) / 2 = 1 / (1 + exp(-2 u))
        case Map::GeluTanh: each([](float x) { return gated<T>(x, x * (0.071354816f * (x * x) + 1.5957691f)); }); break;
        case Map::Tanh: each([](float x) { return tanhf(x); }); break;
        case Map::Relu: each([](float x) { return x < 0.0f ? 0.0f : x; }); break;
        case Map::Affine:
            each([&](float x) {
                const float value = r.mul * x + r.add;
                return value < r.low ? r.low : value > r.high ? r.high : value;
            });
            break;
    }
}

template <class T, int kCount>
__global__ void mapValues(const __grid_constant__ MapRequest r) {
    const uint64_t first = (uint64_t{blockIdx.x} * kThreads + threadIdx.x) * kCount;
    const T* const x = static_cast<const T*>(r.x) + first;
    T* const out = static_cast<T*>(r.out) + first;
    if (first + kCount <= r.count) {
        Piece<T, kCount> piece = loadPiece<kCount>(x);
        mapPiece(r, piece);
        storePiece(out, piece);
    } else {
        for (uint64_t i = first; i < r.count; ++i) {
            Piece<T, 1> piece = loadPiece<1>(x + (i - first));
            mapPiece(r, piece);
            storePiece(out + (i - first), piece);
        }
    }
}

/// kPairs of the angles' values from `at` on; four in float32 are aligned.
template <int kPairs>
__device__ inline void loadAngles(const void* from, Element element, uint64_t at, float (&to)[kPairs]) {
    if (kPairs == 4 && element == Element::F32) {
        const float4 four = load16(reinterpret_cast<const float4*>(static_cast<const float*>(from) + at));
        to[0] = four.x, to[1 % kPairs] = four.y, to[2 % kPairs] = four.z, to[3 % kPairs] = four.w;
    } else {
        for (int i = 0; i < kPairs; ++i) {
            to[i] = valueAt(from, element, at + i);
        }
    }
}

/// kPairs neighbours of one head to a thread.
template <class T, int kPairs>
__global__ void ropeRows(const __grid_constant__ RopeRequest r) {
    const uint64_t width = r.heads * r.pairs;  // pairs of a token
    const uint64_t column = (uint64_t{blockIdx.x} * blockDim.x + threadIdx.x) * kPairs;
    if (column >= width) {
        return;
    }
    const uint32_t pair = static_cast<uint32_t>(column) % static_cast<uint32_t>(r.pairs);
    for (uint64_t token = blockIdx.y * blockDim.y + threadIdx.y; token < r.tokens; token += gridDim.y * blockDim.y) {
        const uint64_t at = 2 * (token * width + column);
        const T* const x = static_cast<const T*>(r.x) + at;
        Piece<T, 2 * kPairs> piece;
        if constexpr (kPairs > 1) {
            piece = loadPiece<2 * kPairs>(x);
        } else {
            piece = {{x[0], x[1]}};
        }
        float cos[kPairs], sin[kPairs];
        loadAngles(r.cos, r.angles, token * r.pairs + pair, cos);
        loadAngles(r.sin, r.angles, token * r.pairs + pair, sin);
        for (int i = 0; i < kPairs; ++i) {
            const float a = toFloat(piece.at[2 * i]);
            const float b = toFloat(piece.at[2 * i + 1]);
            piece.at[2 * i] = fromFloat<T>(a * cos[i] - b * sin[i]);
            piece.at[2 * i + 1] = fromFloat<T>(a * sin[i] + b * cos[i]);
        }
        T* const out = static_cast<T*>(r.out) + at;
        if constexpr (kPairs > 1) {
            storePiece(out, piece);
        } else {
            out[0] = piece.at[0];
            out[1] = piece.at[1];
        }
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

/// Looks at words of 32 bits with one float32 or two bfloat16 each: adding the lowest bit of an exponent of ones carries into the sign.
template <class T>
__device__ inline uint32_t carries(uint32_t word) {
    constexpr uint32_t kExponents = sizeof(T) == 2 ? 0x7F807F80u : 0x7F800000u;
    return ((word & kExponents) + (kExponents & ~(kExponents << 1))) & (sizeof(T) == 2 ? 0x80008000u : 0x80000000u);
}

template <class T>
__global__ void searchNonFinite(const __grid_constant__ NonFiniteRequest r) {
    const uint64_t thread = uint64_t{blockIdx.x} * kThreads + threadIdx.x, threads = uint64_t{gridDim.x} * kThreads;
    const uint64_t pieces = isAligned(r.x) ? r.count / kWide<T> : 0;
    const auto* const x = static_cast<const T*>(r.x);
    uint32_t found = 0;
#pragma unroll 4
    for (uint64_t i = thread; i < pieces; i += threads) {
        const uint4 piece = load16(reinterpret_cast<const uint4*>(x) + i);
        found |= carries<T>(piece.x) | carries<T>(piece.y) | carries<T>(piece.z) | carries<T>(piece.w);
    }
    for (uint64_t i = pieces * kWide<T> + thread; i < r.count; i += threads) {
        found |= carries<float>(__float_as_uint(toFloat(x[i])));
    }
    if (found != 0) {
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
    const RowAxes axes(r.axes, r.sizes);
    return wide ? launch(combineRows<T, kWide<T>>, threads.grid, threads.block, 0, stream, r, axes, rows)
                : launch(combineRows<T, 1>, threads.grid, threads.block, 0, stream, r, axes, rows);
}

template <class T>
cudaError_t startMap(const MapRequest& r, cudaStream_t stream) {
    return isAligned(r.x) && isAligned(r.out) ? launch(mapValues<T, kWide<T>>, divideUp(r.count, kThreads * kWide<T>), kThreads, 0, stream, r)
                                              : launch(mapValues<T, 1>, divideUp(r.count, kThreads), kThreads, 0, stream, r);
}

template <class T>
cudaError_t startRope(const RopeRequest& r, cudaStream_t stream) {
    constexpr int kPairs = kWide<T> / 2;
    const bool wide = r.pairs % kPairs == 0 && isAligned(r.x) && isAligned(r.out) && isAligned(r.cos) && isAligned(r.sin);
    const RowThreads threads(r.tokens, r.heads * r.pairs / (wide ? kPairs : 1));
    return wide ? launch(ropeRows<T, kPairs>, threads.grid, threads.block, 0, stream, r) : launch(ropeRows<T, 1>, threads.grid, threads.block, 0, stream, r);
}

template <class T>
cudaError_t startSearch(const NonFiniteRequest& r, cudaStream_t stream) {
    constexpr uint64_t kMost = 4096, kEach = uint64_t{4} * kWide<T> * kThreads;
    const auto blocks = static_cast<unsigned>(std::min(kMost, (r.count + kEach - 1) / kEach));
    return launch(searchNonFinite<T>, blocks, kThreads, 0, stream, r);
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
    return check(r.element == Element::F32 ? startRope<float>(r, context->stream) : startRope<Bf16>(r, context->stream), "rope");
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
    return check(r.element == Element::F32 ? startSearch<float>(r, context->stream) : startSearch<Bf16>(r, context->stream),
                 "looking for values that are not finite");
}

}  // namespace quantscope::cuda::ops
