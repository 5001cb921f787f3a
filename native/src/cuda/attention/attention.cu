// Attention: what is refused, and which kernel runs.
#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "cuda/attention/flash.cuh"
#include "cuda/attention/float32.cuh"
#include "cuda/attention/hopper.h"
#include "cuda/context.cuh"

namespace quantscope::cuda {

namespace {

/// Of heads. Tensor cores have the columns of a result in registers, as many as there are.
constexpr uint64_t kMostBf16 = 256;
constexpr uint64_t kMostF32 = 4096;
constexpr uint64_t kMostHeads = 65535;   // blocks along y
constexpr uint64_t kMostRows = uint64_t{1} << 31;

Status checkShape(const AttentionShape* shape) {
    const auto refuse = [](const std::string& reason) { return fail(Status::Argument, "no attention on the device: " + reason); };
    const uint64_t most = shape->element == Element::F32 ? kMostF32 : kMostBf16;
    if (shape->width < 1 || shape->width > most) {
        return refuse("heads of " + std::to_string(shape->width) + " values; it takes 1 to " + std::to_string(most));
    }
    if (shape->heads < 1 || shape->heads > kMostHeads) {
        return refuse(std::to_string(shape->heads) + " heads; it takes 1 to " + std::to_string(kMostHeads));
    }
    if (shape->keys < 1 || shape->keys >= kMostRows || shape->queries >= kMostRows) {
        return refuse(std::to_string(shape->queries) + " queries and " + std::to_string(shape->keys) + " keys; it takes less than 2^31, and at least one key");
    }
    return Status::Ok;
}

bool isMultiple(uint64_t by, std::initializer_list<uint64_t> numbers) {
    return std::all_of(numbers.begin(), numbers.end(), [by](uint64_t number) { return number % by == 0; });
}
uint64_t addressOf(const void* at) { return reinterpret_cast<uintptr_t>(at); }

template <class T>
AttentionArguments<T> argumentsOf(const AttentionShape& shape, const AttentionRequest& request) {
    AttentionArguments<T> p{};
    p.q = static_cast<const T*>(request.q);
    p.k = static_cast<const T*>(request.k);
    p.v = static_cast<const T*>(request.v);
    p.bias = static_cast<const T*>(request.bias);
    p.out = static_cast<T*>(request.out);
    p.qStride = request.qStride;
    p.kStride = request.kStride;
    p.vStride = request.vStride;
    p.outStride = request.outStride;
    p.queries = static_cast<uint32_t>(shape.queries);
    p.keys = static_cast<uint32_t>(shape.keys);
    p.width = static_cast<uint32_t>(shape.width);
    p.scale = 1.0f / std::sqrt(static_cast<float>(shape.width));
    p.inPieces = isMultiple(16, {shape.width * sizeof(T), request.qStride * sizeof(T), request.kStride * sizeof(T), request.vStride * sizeof(T),
                                 addressOf(request.q), addressOf(request.k), addressOf(request.v)});
    p.inPairs = isMultiple(4, {shape.width * sizeof(T), request.outStride * sizeof(T), addressOf(request.out)});
    return p;
}

template <int kWidth>
cudaError_t startFlash(const AttentionArguments<Bf16>& p, uint64_t heads, cudaStream_t stream) {
    using Tiling = flash::Tiling<kWidth>;
    return launch(flash::attend<kWidth>, dim3(divideUp(p.queries, Tiling::kRows), static_cast<unsigned>(heads)), flash::kThreads, Tiling::kShared, stream, p);
}

/// Heads are filled up to one of a few widths, those of diffusion transformers: each costs a kernel.
cudaError_t launchFlash(const AttentionArguments<Bf16>& p, uint64_t heads, cudaStream_t stream) {
    return p.width <= 64    ? startFlash<64>(p, heads, stream)
           : p.width <= 80  ? startFlash<80>(p, heads, stream)
           : p.width <= 128 ? startFlash<128>(p, heads, stream)
                            : startFlash<256>(p, heads, stream);
}

Status run(Context* context, const AttentionShape* shape, const AttentionRequest* request) {
    if (const Status status = checkShape(shape); status != Status::Ok || shape->queries == 0) {
        return status;
    }
    if (shape->element == Element::F32) {
        const auto p = argumentsOf<float>(*shape, *request);
        const dim3 grid(divideUp(p.queries, float32Attention::kTile), static_cast<unsigned>(shape->heads), divideUp(p.width, float32Attention::kAcross));
        return check(launch(float32Attention::attend, grid, float32Attention::kThreads, 0, context->stream, p), "attention");
    }
    const auto p = argumentsOf<Bf16>(*shape, *request);
    return check(takesHopperAttention(*context, p) ? launchHopperAttention(*context, p, static_cast<uint32_t>(shape->heads)) : launchFlash(p, shape->heads, context->stream), "attention");
}

}  // namespace

const AttentionCalls& attentionCalls() {
    static constexpr AttentionCalls kCalls{checkShape, onDevice<run>};
    return kCalls;
}

}  // namespace quantscope::cuda
