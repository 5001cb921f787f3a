// Element types as safetensors names them, and their conversion to double.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace quantscope {

enum class Dtype : uint8_t {
    Bool, F4, F6E2M3, F6E3M2, U8, I8, F8E5M2, F8E4M3, F8E8M0, F8E4M3Fnuz, F8E5M2Fnuz,
    I16, U16, F16, BF16, I32, U32, F32, C64, F64, I64, U64,
};

/// The safetensors name, e.g. "BF16".
std::string_view nameOf(Dtype dtype);
std::optional<Dtype> parseDtype(std::string_view name);

/// Bytes of one element; 0 for types that cannot be read as single numbers here (sub-byte, complex, FNUZ).
size_t elementBytes(Dtype dtype);

/// True for the types a weight can be measured in: F32, F16, BF16, F64, F8_E4M3, F8_E5M2, I8, U8.
bool isWeightDtype(Dtype dtype);

/// Reads `count` little-endian elements as doubles. I64 and U64 beyond 2^53 round to nearest. F8_E4M3 is the OCP "fn" variant
/// (S.1111.111 is NaN, no infinity, largest 448), F8_E5M2 is IEEE-like, F8_E8M0 is 2^(e-127) with 255 = NaN (OCP MX 1.0).
/// `elementBytes(dtype)` must not be 0; source must be aligned to the element.
void decodeToDouble(Dtype dtype, const std::byte* source, double* target, size_t count);

}  // namespace quantscope
