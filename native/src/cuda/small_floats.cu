// Rows rounded to small floats with scales, as bfloat16: a block for each row, which is read again from the caches.
#include <cmath>

#include "cuda/context.cuh"
#include "cuda/rotation.cuh"

namespace quantscope::cuda {

namespace {

constexpr int kThreads = 256;

/// The element types of quantizer/small_float.h: E2M1 and E4M3, by their bits of mantissa.
struct ElementType {
    int mantissa;
    int least;      ///< exponent of the smallest normal number
    int top;        ///< of the largest number
    float largest;
    __device__ explicit ElementType(int bits) : mantissa(bits), least(bits == 1 ? 0 : -6), top(bits == 1 ? 2 : 8), largest(bits == 1 ? 6.0f : 448.0f) {}

    /// The nearest element, ties to even, saturating. magnitude >= 0.
    __device__ float nearest(float magnitude) const {
        const float clamped = fminf(magnitude, largest);
        const float anchor = ldexpf(1.0f, 23 + least - mantissa);  // its last bit is the subnormals' step
        const uint32_t bits = __float_as_uint(clamped);
        const int dropped = 23 - mantissa;
        const uint32_t bias = ((bits >> dropped) & 1u) + ((1u << (dropped - 1)) - 1u);
        return clamped < ldexpf(1.0f, least) ? (clamped + anchor) - anchor : __uint_as_float((bits + bias) >> dropped << dropped);
    }
};

/// The scale of values whose largest magnitude has these bits.
__device__ inline float scaleOf(const SmallFloatRequest& request, const ElementType& type, uint32_t bits) {
    const double largest = __uint_as_float(bits);
    if (request.scale == FloatScale::PowerOfTwo) {
        const int exponent = largest > 0 ? ilogb(largest) - type.top : 0;
        return largest > 0 ? static_cast<float>(ldexp(1.0, exponent < -127 ? -127 : exponent)) : 0.0f;
    }
    const double ideal = largest / static_cast<double>(type.largest);
    if (request.scale == FloatScale::Fp16) {
        return static_cast<float>(roundToStored(Stored::Fp16, ideal));
    }
    const float whole = static_cast<float>(__uint_as_float(*request.largest) / (6.0 * 448.0));
    return whole > 0 ? static_cast<float>(roundToFormat(ideal / static_cast<double>(whole), 3, -6, 448.0)) * whole : 0.0f;
}

template <class T>
__global__ void __launch_bounds__(kThreads) roundRows(const __grid_constant__ SmallFloatRequest r) {
    QUANTSCOPE_SHARED(uint32_t, partial, [kThreads / kWarpLanes]);
    const T* const x = static_cast<const T*>(r.x) + uint64_t{blockIdx.x} * r.stride;
    Bf16* const y = static_cast<Bf16*>(r.y) + uint64_t{blockIdx.x} * r.width;
    const uint32_t width = static_cast<uint32_t>(r.width);
    const uint32_t group = static_cast<uint32_t>(r.group);
    const uint32_t warp = threadIdx.x / kWarpLanes;
    const uint32_t lane = threadIdx.x % kWarpLanes;
    const auto largestOf = [&](uint32_t first, uint32_t end, uint32_t stride) {
        uint32_t largest = 0;
        for (uint32_t i = first; i < end; i += stride) {
            const uint32_t bits = __float_as_uint(toFloat(x[i])) & 0x7FFFFFFFu;
            largest = bits > largest ? bits : largest;
        }
        return warpMax(largest);
    };
    uint32_t largest = largestOf(threadIdx.x, width, kThreads);
    if (lane == 0) {
        partial[warp] = largest;
    }
    __syncthreads();
    for (uint32_t w = 0; w < kThreads / kWarpLanes; ++w) {
        largest = partial[w] > largest ? partial[w] : largest;
    }
    const bool finite = largest < kInfinityBits;
    if (r.observes != 0) {
        if (threadIdx.x == 0 && finite) {
            atomicMax(r.largest, largest);
        }
        return;
    }
    const ElementType type(r.mantissa);
    const auto round = [&](uint32_t first, uint32_t end, uint32_t stride, float scale) {
        for (uint32_t i = first; i < end; i += stride) {
            const float value = toFloat(x[i]);
            const float rounded = scale > 0 ? copysignf(type.nearest(fabsf(value / scale)) * scale, value) : 0.0f;
            y[i] = fromFloat<Bf16>(finite ? rounded : __uint_as_float(0x7FC00000u));
        }
    };
    if (group == width) {
        round(threadIdx.x, width, kThreads, scaleOf(r, type, r.largest != nullptr && r.scale == FloatScale::Fp16 ? *r.largest : largest));
        return;
    }
    for (uint32_t first = warp * group; first < width; first += kThreads / kWarpLanes * group) {
        const uint32_t own = largestOf(first + lane, first + group, kWarpLanes);
        round(first + lane, first + group, kWarpLanes, scaleOf(r, type, own));
    }
}

Status round(Context* context, const SmallFloatRequest* request) {
    const SmallFloatRequest& r = *request;
    if (r.rows == 0) {
        return Status::Ok;
    }
    if (r.width < 1 || r.width >= uint64_t{1} << 31 || r.rows >= uint64_t{1} << 31 || r.group < 1 || r.width % r.group != 0) {
        return fail(Status::Argument, "small floats: groups of " + std::to_string(r.group) + " in " + std::to_string(r.rows) + " rows of " + std::to_string(r.width));
    }
    if ((r.mantissa != 1 && r.mantissa != 3) || (r.largest == nullptr && (r.observes != 0 || r.scale == FloatScale::Nvfp4))) {
        return fail(Status::Argument, "small floats: " + std::to_string(r.mantissa) + " bits of mantissa, or no place for the largest value");
    }
    const dim3 grid(static_cast<unsigned>(r.rows));
    return check(r.element == Element::F32 ? launch(roundRows<float>, grid, kThreads, 0, context->stream, r) : launch(roundRows<Bf16>, grid, kThreads, 0, context->stream, r),
                 "small floats");
}

}  // namespace

const SmallFloatCalls& smallFloatCalls() {
    static const SmallFloatCalls calls{onDevice<round>};
    return calls;
}

}  // namespace quantscope::cuda
