#include "cuda/tensor_map.h"

#include <algorithm>
#include <cstring>

#include <cuda.h>

namespace quantscope::cuda {

namespace {

/// cuTensorMapEncodeTiled of the driver that is there; the library is not linked with it.
auto encoder() {
    static const auto found = [] {
        void* function = nullptr;
        cudaDriverEntryPointQueryResult result{};
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &result);
        return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(result == cudaDriverEntryPointSuccess ? function : nullptr);
    }();
    return found;
}

/// Sizes innermost first, pitches of all but that one.
template <int kAxes>
cudaError_t describe(TensorMap& map, const void* base, const cuuint64_t (&sizes)[kAxes], const cuuint64_t (&pitches)[kAxes - 1], const cuuint32_t (&box)[kAxes],
                     CUtensorMapSwizzle swizzle) {
    const auto encode = encoder();
    if (encode == nullptr) {
        return cudaErrorNotSupported;
    }
    cuuint32_t steps[kAxes];
    std::fill_n(steps, kAxes, 1);
    CUtensorMap encoded;
    if (encode(&encoded, CU_TENSOR_MAP_DATA_TYPE_UINT8, kAxes, const_cast<void*>(base), sizes, pitches, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
               swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) != CUDA_SUCCESS) {
        return cudaErrorInvalidValue;
    }
    static_assert(sizeof map.bytes == sizeof encoded);
    std::memcpy(map.bytes, &encoded, sizeof encoded);
    return cudaSuccess;
}

}  // namespace

cudaError_t describeRows(TensorMap& map, const void* base, uint64_t rows, uint64_t bytes, uint64_t pitch, uint32_t boxRows) {
    return describe<2>(map, base, {bytes, rows}, {pitch}, {128, boxRows}, CU_TENSOR_MAP_SWIZZLE_128B);
}

cudaError_t describeCodes(TensorMap& map, const void* base, uint64_t rows, uint64_t bytes, uint64_t pitch, uint32_t boxRows) {
    return describe<2>(map, base, {bytes, rows}, {pitch}, {64, boxRows}, CU_TENSOR_MAP_SWIZZLE_64B);
}

cudaError_t describeHeads(TensorMap& map, const void* base, uint64_t rows, uint64_t heads, uint64_t bytes, uint64_t pitch, uint32_t boxRows) {
    return describe<3>(map, base, {bytes, heads, rows}, {bytes, pitch}, {128, 1, boxRows}, CU_TENSOR_MAP_SWIZZLE_128B);
}

}  // namespace quantscope::cuda
