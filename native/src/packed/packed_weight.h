// The file form of a coded weight: what server/src/engine/graph.ts calls PackedWeight. Lossless, so that a layer computes the same
// from a file as from codes it makes itself.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cpu/kernels.h"
#include "quantizer/row_codec.h"
#include "tensor/tensor.h"

namespace quantscope {

struct StoredTensor {
    std::string name;
    Dtype dtype;
    std::vector<uint64_t> shape;
    std::vector<std::byte> bytes;
};

/// Exact: the values are of that type already.
StoredTensor storeAs(FloatType type, std::string name, std::vector<uint64_t> shape, const float* values);

/// `codes` U8 [rows, packedBytes].
StoredTensor storeCodes(const RowCodec& codec, uint64_t rows, const std::vector<uint8_t>& codes);

/// Side numbers [rows, codec.sides()] by quantizer. Integers: `scales` [rows, groups] of the scale's type, and `zeros` U8, the codes
/// of 0, packed like codes, when asymmetric. Codebook and mid-rise: `norms` [rows] of the norm's type. Twin-log: `ranges` F16
/// [rows, 5]. fp4, fp8: `scales` F16 [rows, groups]; mxfp4, mxfp8: their exponents plus 127 as U8; nvfp4: `scales` as E4M3 patterns in
/// U8 and `tensor_scale` F32 [1]. `range` is what the codec was made with.
std::vector<StoredTensor> storeSides(const Quantizer& quantizer, const RowCodec& codec, const TensorRange& range, uint64_t rows,
                                     const std::vector<float>& sides);

/// All that is stored of one layer, as a safetensors file that appears when it is whole. Throws Error(Io).
void writeLayer(const std::string& path, const std::vector<StoredTensor>& tensors);

/// Throws Error(Io), and Error(Argument) naming the file when shape or dtype are not those of such a weight.
std::vector<uint8_t> loadCodes(const TensorRef& codes, const RowCodec& codec, uint64_t rows);
std::vector<float> loadSides(const std::map<std::string, TensorRef>& sides, const std::string& file, const Quantizer& quantizer,
                             const RowCodec& codec, uint64_t rows, const Kernels& kernels);
/// BF16 [rows, width], as stored.
std::vector<uint16_t> loadTail(const TensorRef& tail, uint64_t rows, uint64_t width);

}  // namespace quantscope
