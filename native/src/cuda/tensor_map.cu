#include "cuda/tensor_map.h"

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

cudaError_t describe(TensorMap& map, const void* base, uint64_t rows, uint64_t bytes, uint64_t pitch, uint32_t boxRows, uint32_t boxBytes, CUtensorMapSwizzle swizzle) {
    const auto encode = encoder();
    if (encode == nullptr) {
        return cudaErrorNotSupported;
    }
    const cuuint64_t sizes[2] = {bytes, rows};
    const cuuint64_t pitches[1] = {pitch};
    const cuuint32_t box[2] = {boxBytes, boxRows};
    const cuuint32_t steps[2] = {1, 1};
    CUtensorMap encoded;
    if (encode(&encoded, CU_TENSOR_MAP_DATA_TYPE_UINT8, 2, const_cast<void*>(base), sizes, pitches, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
               swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) != CUDA_SUCCESS) {
        return cudaErrorInvalidValue;
    }
    static_assert(sizeof map.bytes == sizeof encoded);
    std::memcpy(map.bytes, &encoded, sizeof encoded);
    return cudaSuccess;
}

}  // namespace

cudaError_t describeRows(TensorMap& map, const void* base, uint64_t rows, uint64_t bytes, uint64_t pitch, uint32_t boxRows) {
    return describe(map, base, rows, bytes, pitch, boxRows, 128, CU_TENSOR_MAP_SWIZZLE_128B);
}

cudaError_t describeCodes(TensorMap& map, const void* base, uint64_t rows, uint64_t bytes, uint64_t pitch, uint32_t boxRows) {
    return describe(map, base, rows, bytes, pitch, boxRows, 64, CU_TENSOR_MAP_SWIZZLE_64B);
}

}  // namespace quantscope::cuda
