#include "tensor/dtype.h"

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "base/error.h"
#include "tensor/decode.h"

namespace quantscope {

namespace {

struct DtypeInfo {
    std::string_view name;
    uint8_t bytes;
};

constexpr std::array<DtypeInfo, 22> kInfo{{
    {"BOOL", 1},    {"F4", 0},          {"F6_E2M3", 0},     {"F6_E3M2", 0}, {"U8", 1},   {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1},
    {"F8_E8M0", 1}, {"F8_E4M3FNUZ", 0}, {"F8_E5M2FNUZ", 0}, {"I16", 2},     {"U16", 2},  {"F16", 2}, {"BF16", 2},    {"I32", 4},
    {"U32", 4},     {"F32", 4},         {"C64", 0},         {"F64", 8},     {"I64", 8},  {"U64", 8},
}};

template <class T, class Convert>
void decodeEach(const std::byte* source, double* target, size_t count, Convert convert) {
    const T* values = reinterpret_cast<const T*>(source);
    for (size_t i = 0; i < count; ++i) {
        target[i] = convert(values[i]);
    }
}

template <class T>
void widen(const std::byte* source, double* target, size_t count) {
    decodeEach<T>(source, target, count, [](T v) { return static_cast<double>(v); });
}

double decodeE8M0(uint8_t bits) {
    return bits == 255 ? std::numeric_limits<double>::quiet_NaN() : std::ldexp(1.0, static_cast<int>(bits) - 127);
}

}  // namespace

std::string_view nameOf(Dtype dtype) { return kInfo[static_cast<size_t>(dtype)].name; }

std::optional<Dtype> parseDtype(std::string_view name) {
    for (size_t i = 0; i < kInfo.size(); ++i) {
        if (kInfo[i].name == name) {
            return static_cast<Dtype>(i);
        }
    }
    return std::nullopt;
}

size_t elementBytes(Dtype dtype) { return kInfo[static_cast<size_t>(dtype)].bytes; }

bool isWeightDtype(Dtype dtype) {
    switch (dtype) {
        case Dtype::F32: case Dtype::F16: case Dtype::BF16: case Dtype::F64:
        case Dtype::F8E4M3: case Dtype::F8E5M2: case Dtype::I8: case Dtype::U8: return true;
        default: return false;
    }
}

void decodeToDouble(Dtype dtype, const std::byte* source, double* target, size_t count) {
    switch (dtype) {
        case Dtype::F64: return widen<double>(source, target, count);
        case Dtype::F32: return widen<float>(source, target, count);
        case Dtype::F16: return decodeEach<uint16_t>(source, target, count, decodeF16);
        case Dtype::BF16: return decodeEach<uint16_t>(source, target, count, decodeBF16);
        case Dtype::F8E4M3: return decodeEach<uint8_t>(source, target, count, decodeE4M3);
        case Dtype::F8E5M2: return decodeEach<uint8_t>(source, target, count, decodeE5M2);
        case Dtype::F8E8M0: return decodeEach<uint8_t>(source, target, count, decodeE8M0);
        case Dtype::Bool: return decodeEach<uint8_t>(source, target, count, [](uint8_t v) { return v != 0 ? 1.0 : 0.0; });
        case Dtype::U8: return widen<uint8_t>(source, target, count);
        case Dtype::I8: return widen<int8_t>(source, target, count);
        case Dtype::U16: return widen<uint16_t>(source, target, count);
        case Dtype::I16: return widen<int16_t>(source, target, count);
        case Dtype::U32: return widen<uint32_t>(source, target, count);
        case Dtype::I32: return widen<int32_t>(source, target, count);
        case Dtype::U64: return widen<uint64_t>(source, target, count);
        case Dtype::I64: return widen<int64_t>(source, target, count);
        default: failArgument("dtype " + std::string(nameOf(dtype)) + " cannot be read as numbers here");
    }
}

}  // namespace quantscope
