// Rows in memory as tile copies of compute capability 9.0 take them (hopper.cuh).
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

namespace quantscope::cuda {

/// Passed to kernels by value, as a __grid_constant__ parameter.
struct alignas(64) TensorMap {
    unsigned char bytes[128];
};

/// Tiles of 128 bytes of `boxRows` rows, at most 256; base and pitch are multiples of 16. What a tile has beyond `rows` and `bytes` is zeros.
/// The emulator has its own.
cudaError_t describeRows(TensorMap& map, const void* base, uint64_t rows, uint64_t bytes, uint64_t pitch, uint32_t boxRows);

/// Tiles of 64 bytes in the place of 128, whose pieces are exchanged by an XOR with half the row.
cudaError_t describeCodes(TensorMap& map, const void* base, uint64_t rows, uint64_t bytes, uint64_t pitch, uint32_t boxRows);

/// As describeRows, of rows of `heads` times `bytes`, of which a tile has one; bytes is a multiple of 16, and pitch one of bytes: the driver's description
/// of tensor maps has each stride as a multiple of the one before.
cudaError_t describeHeads(TensorMap& map, const void* base, uint64_t rows, uint64_t heads, uint64_t bytes, uint64_t pitch, uint32_t boxRows);

}  // namespace quantscope::cuda
