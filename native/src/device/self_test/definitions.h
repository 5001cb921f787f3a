// What kernels are to compute, written as it is defined: the self-test and the tests hold a device to it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cuda/api.h"
#include "quantizer/row_codec.h"

namespace quantscope {

/// Standard normal numbers, the same for a seed everywhere.
std::vector<float> gaussians(size_t count, uint64_t seed);

/// Codes and sides that a device made of `values` [rows, width], which are rotated already, against RowCodec's. Sums of float32 are added up in another
/// order there, so that a value at a threshold may fall to either side and a norm to the next number of its type. What is beyond that, in words with the
/// place; nothing when all is well. `packed` [rows, packedBytes(width, bits)], `sides` [rows, codec.sides()].
std::optional<std::string> compareCodes(const RowCodec& codec, const float* values, size_t rows, const uint8_t* packed, const float* sides);

/// Packed codes of 4 bits as the bytes that they stand for.
std::vector<uint8_t> asBytes(const std::vector<uint8_t>& packed, const cuda::CodeBytes& form);

/// Rows of floats on the host, `stride` elements apart.
struct PlainRows {
    const float* at;
    size_t stride;
};

/// Attention in float64: [queries, heads * width] of the result, and of sum p |v|, which its rounding errors are measured in.
struct PlainAttention {
    std::vector<double> out;
    std::vector<double> magnitude;
};
PlainAttention attendPlainly(const cuda::AttentionShape& shape, PlainRows q, PlainRows k, PlainRows v, const float* bias);

/// A sweep of GPTQ without given values, step by step: codes [rows, size] and losses [rows]. All addresses of the request are the host's; it writes to none.
struct PlainSweep {
    std::vector<uint8_t> codes;
    std::vector<double> losses;
};
PlainSweep sweepPlainly(const cuda::SweepRequest& request);

}  // namespace quantscope
