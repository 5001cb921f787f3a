// Convolutions as products: patches of the image become rows, a strip of positions at a time, and the weights take the place of activations, so that
// the product comes out channel by channel. Bias is three more inputs: three bfloat16 numbers add up to a float32.
#include <algorithm>

#include "cuda/linear/plain.cuh"
#include "cuda/linear/product.cuh"
#include "cuda/ops/ops.cuh"

namespace quantscope::cuda::ops {

namespace {

constexpr uint32_t kTile = 32;

template <class T>
struct Strip {
    ConvRequest conv;
    uint64_t patch;
    uint64_t pitch;
    uint64_t frame;  ///< of out
    uint64_t first;  ///< position in it
    uint32_t count;
    T* patches;      ///< [count, pitch]
    Divisor width, kernelW, kernelH, kernelT;
};

/// Element k of the patch of a position.
template <class T>
__device__ inline T patchAt(const Strip<T>& s, uint64_t position, uint32_t k) {
    const ConvRequest& c = s.conv;
    if (k >= s.patch) {
        return fromFloat<T>(k < s.patch + 3 ? 1.0f : 0.0f);
    }
    uint32_t channel = k, y = static_cast<uint32_t>(position);
    const uint32_t kw = s.kernelW.split(channel), kh = s.kernelH.split(channel), kt = s.kernelT.split(channel);
    // Below zero wraps round to what is beyond the end.
    const uint32_t x = s.width.split(y) + kw - s.kernelW.by / 2;
    y += kh - s.kernelH.by / 2;
    if (x >= s.width.by || y >= static_cast<uint32_t>(c.height)) {
        return fromFloat<T>(0.0f);
    }
    return static_cast<const T*>(c.x)[((channel * c.frames + s.frame + kt) * c.height + y) * c.width + x];
}

/// Read along positions, written along patches.
template <class T>
__global__ void gatherPatches(const __grid_constant__ Strip<T> s) {
    QUANTSCOPE_SHARED(T, tile, [kTile * (kTile + 1)]);
    const uint32_t firstPosition = blockIdx.x * kTile;
    const uint32_t firstK = blockIdx.y * kTile;
    for (uint32_t i = threadIdx.y; i < kTile; i += blockDim.y) {
        const uint32_t position = firstPosition + threadIdx.x;
        if (position < s.count && firstK + i < s.pitch) {
            tile[i * (kTile + 1) + threadIdx.x] = patchAt(s, s.first + position, firstK + i);
        }
    }
    __syncthreads();
    for (uint32_t i = threadIdx.y; i < kTile; i += blockDim.y) {
        const uint32_t position = firstPosition + i;
        if (position < s.count && firstK + threadIdx.x < s.pitch) {
            s.patches[position * s.pitch + firstK + threadIdx.x] = tile[threadIdx.x * (kTile + 1) + i];
        }
    }
}

cudaError_t multiply(const Strip<Bf16>& s, Bf16* out, uint64_t stride, int multiprocessors, cudaStream_t stream) {
    ProductArguments p{};
    p.rows = static_cast<uint32_t>(s.conv.outputs);
    p.outputs = s.count;
    const uint64_t bytes = s.pitch * sizeof(Bf16);
    p.panels[0] = {{static_cast<const uint8_t*>(s.conv.weight), bytes}, {reinterpret_cast<const uint8_t*>(s.patches), bytes}, static_cast<uint32_t>(bytes)};
    p.y = out;
    p.yStride = stride;
    p.yBf16 = true;
    return launchProduct(p, Form::None, false, multiprocessors, stream);
}

cudaError_t multiply(const Strip<float>& s, float* out, uint64_t stride, int, cudaStream_t stream) {
    return launchPlain<float, float, float, float>({static_cast<const float*>(s.conv.weight), s.pitch, s.patches, s.pitch, false,
                                                    static_cast<uint32_t>(s.conv.outputs), s.count, static_cast<uint32_t>(s.pitch), 1.0f, 0.0f, nullptr, out, stride},
                                                   stream);
}

template <class T>
cudaError_t run(const ConvRequest& r, const Context& context) {
    Strip<T> strip{r, r.channels * r.kernelT * r.kernelH * r.kernelW, 0, 0, 0, 0, static_cast<T*>(r.scratch), Divisor(r.width), Divisor(r.kernelW),
                   Divisor(r.kernelH), Divisor(r.kernelT)};
    strip.pitch = convPitch(strip.patch);
    const uint64_t area = r.height * r.width;
    const uint64_t frames = r.frames - r.kernelT + 1;
    const uint64_t fits = r.scratchBytes / (strip.pitch * sizeof(T));
    const uint64_t most = fits >= kTile ? fits / kTile * kTile : fits;
    for (strip.frame = 0; strip.frame < frames; ++strip.frame) {
        for (strip.first = 0; strip.first < area; strip.first += strip.count) {
            strip.count = static_cast<uint32_t>(std::min(most, area - strip.first));
            const dim3 tiles(divideUp(strip.count, kTile), divideUp(strip.pitch, kTile));
            const cudaError_t gathered = launch(gatherPatches<T>, tiles, dim3(kTile, 8), 0, context.stream, strip);
            if (gathered != cudaSuccess) {
                return gathered;
            }
            T* const out = static_cast<T*>(r.out) + strip.frame * area + strip.first;
            if (const cudaError_t error = multiply(strip, out, frames * area, context.description.multiprocessors, context.stream); error != cudaSuccess) {
                return error;
            }
        }
    }
    return cudaSuccess;
}

}  // namespace

Status conv(Context* context, const ConvRequest* request) {
    const ConvRequest& r = *request;
    const uint64_t bytes = r.element == Element::F32 ? 4 : 2;
    const uint64_t patch = r.channels * r.kernelT * r.kernelH * r.kernelW;
    if (r.kernelT < 1 || r.kernelT > r.frames || r.kernelH % 2 == 0 || r.kernelW % 2 == 0 || patch > 32 * 65535 - 8 || r.height * r.width >= uint64_t{1} << 31) {
        return fail(Status::Argument, "a convolution whose sizes make no sense, or are too large");
    }
    if (r.scratchBytes < convPitch(patch) * bytes) {
        return fail(Status::Argument, "a convolution needs at least " + std::to_string(convPitch(patch) * bytes) + " bytes of scratch memory");
    }
    if (r.outputs == 0 || r.channels == 0 || r.height * r.width == 0) {
        return Status::Ok;
    }
    return check(r.element == Element::F32 ? run<float>(r, *context) : run<Bf16>(r, *context), "convolution");
}

}  // namespace quantscope::cuda::ops
